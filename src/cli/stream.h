/* stream.h: answers that go on: a JSON object a line, several at once. */
#ifndef CLI_STREAM_H
#define CLI_STREAM_H

#include "cli/admin.h"

struct stream {
	CURL *curl;		    /* owned; NULL: not started */
	struct curl_slist *headers; /* owned */
	struct buf rest; /* a line without its end yet, or an error's body */
	void (*on_line)(void *data, yyjson_val *line);
	void *data;
	bool ended; /* result and status hold */
	CURLcode result;
	long status;
	char detail[CURL_ERROR_SIZE];
};

void stream_start(struct stream *s, CURLM *multi, const struct admin *ad,
		  const char *path,
		  void (*on_line)(void *data, yyjson_val *line), void *data);
void stream_stop(struct stream *s, CURLM *multi);

/* Waits at most so long for something to arrive, and calls on_line for what
 * did. Returns early on a signal. */
void streams_turn(CURLM *multi, int wait_ms);

#endif
