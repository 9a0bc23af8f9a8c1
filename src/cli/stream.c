#include "cli/stream.h"

#include <stdlib.h>
#include <string.h>

enum { LINE_BYTES_MAX = 8 << 20 };

static void one_line(struct stream *s, const char *line, size_t len)
{
	cleanup_json yyjson_doc *doc = NULL;

	if (len == 0)
		return; /* a sign of life */
	doc = yyjson_read(line, len, 0);
	if (doc)
		s->on_line(s->data, yyjson_doc_get_root(doc));
}

static size_t on_data(char *data, size_t one, size_t len, void *to)
{
	struct stream *s = to;
	long status = 0;
	char *end;
	size_t from = 0;

	(void)one;
	if (buf_add(&s->rest, data, len) != 0)
		return 0;
	curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status >= 300)
		return len;
	while ((end = memchr(s->rest.data + from, '\n', s->rest.len - from))) {
		size_t n = (size_t)(end - s->rest.data) - from;

		one_line(s, s->rest.data + from, n);
		from += n + 1;
		if (from == s->rest.len)
			break;
	}
	buf_drop(&s->rest, from);
	return len;
}

void stream_start(struct stream *s, CURLM *multi, const struct admin *ad,
		  const char *path,
		  void (*on_line)(void *data, yyjson_val *line), void *data)
{
	*s = (struct stream){.on_line = on_line, .data = data};
	buf_init(&s->rest, LINE_BYTES_MAX);
	s->curl = curl_easy_init();
	if (!s->curl)
		abort();
	admin_prepare(ad, s->curl, path, &s->headers);
	curl_easy_setopt(s->curl, CURLOPT_HTTPHEADER, s->headers);
	curl_easy_setopt(s->curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(s->curl, CURLOPT_WRITEDATA, s);
	curl_easy_setopt(s->curl, CURLOPT_PRIVATE, s);
	curl_easy_setopt(s->curl, CURLOPT_ERRORBUFFER, s->detail);
	curl_multi_add_handle(multi, s->curl);
}

void stream_stop(struct stream *s, CURLM *multi)
{
	if (!s->curl)
		return;
	curl_multi_remove_handle(multi, s->curl);
	curl_easy_cleanup(s->curl);
	curl_slist_free_all(s->headers);
	buf_fini(&s->rest);
	s->curl = NULL;
	s->headers = NULL;
}

static void reap(CURLM *multi)
{
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(multi, &left))) {
		struct stream *s = NULL;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &s);
		curl_easy_getinfo(msg->easy_handle, CURLINFO_RESPONSE_CODE,
				  &s->status);
		s->result = msg->data.result;
		s->ended = true;
		if (s->status < 300 && s->rest.len > 0)
			one_line(s, s->rest.data, s->rest.len);
	}
}

void streams_turn(CURLM *multi, int wait_ms)
{
	int running;

	curl_multi_perform(multi, &running);
	reap(multi);
	curl_multi_poll(multi, NULL, 0, running > 0 ? wait_ms : 0, NULL);
	curl_multi_perform(multi, &running);
	reap(multi);
}
