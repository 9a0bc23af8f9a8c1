/* feed.h: the newest lines of something, and those who follow it live. */
#ifndef SERVE_FEED_H
#define SERVE_FEED_H

#include <stddef.h>
#include <stdint.h>

#include "core/list.h"

struct feed_line {
	struct list link;
	int64_t seq;
	size_t len;
	char text[]; /* a JSON object, no newline; NUL-terminated */
};

struct feed_follower {
	struct list link; /* private */
	void (*on_line)(struct feed_follower *f, const struct feed_line *line);
	/* The feed ends; the follower is out of it already. */
	void (*on_end)(struct feed_follower *f);
};

struct feed {
	struct list lines; /* oldest first; owned */
	struct list followers;
	size_t n, max_lines, bytes, max_bytes;
	int64_t last_seq;
};

void feed_init(struct feed *f, size_t max_lines, size_t max_bytes);
/* Tells followers that it ends. */
void feed_fini(struct feed *f);
/* Numbers the line last_seq + 1 and returns that. */
int64_t feed_add(struct feed *f, const char *text, size_t len);
/* With a number of its own, greater than all before. */
void feed_add_seq(struct feed *f, int64_t seq, const char *text, size_t len);
void feed_follow(struct feed *f, struct feed_follower *follower);
void feed_unfollow(struct feed_follower *follower);

#endif
