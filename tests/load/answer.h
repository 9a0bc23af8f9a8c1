/* answer.h: takes one HTTP answer apart, as its bytes come. */
#ifndef LOAD_ANSWER_H
#define LOAD_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ANSWER_TEXT = 1024 };

enum answer_state {
	ANSWER_HEAD,
	ANSWER_BODY, /* of a known length */
	ANSWER_SIZE, /* of a chunk */
	ANSWER_CHUNK,
	ANSWER_TAIL, /* the end of a chunk's line, or of the last one */
	ANSWER_WHOLE,
	ANSWER_BAD,
};

struct answer {
	enum answer_state state;
	unsigned status;
	bool close;    /* it says that the connection ends */
	uint64_t left; /* of the body, or of this chunk */
	bool last;     /* this chunk */
	char line[256];
	size_t n_line;
	/* What of its body has come and was not taken; what does not fit is
	 * left out, which an answer as it should be never needs. */
	char text[ANSWER_TEXT];
	size_t n_text;
};

void answer_begin(struct answer *a);
/* Returns the state after it. Behind the end nothing may come. */
enum answer_state answer_take(struct answer *a, const char *p, size_t n);
/* Moves the first line of the text, without its end, to line; false: none is
 * whole. */
bool answer_line(struct answer *a, char *line, size_t size);

#endif
