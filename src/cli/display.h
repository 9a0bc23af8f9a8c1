/* display.h: a deploy as it goes: redrawn on a terminal, a line an event
 * elsewhere, silent for --output json. */
#ifndef CLI_DISPLAY_H
#define CLI_DISPLAY_H

#include "cli/progress.h"

enum display_mode { DISPLAY_LIVE, DISPLAY_PLAIN, DISPLAY_QUIET };

struct display {
	enum display_mode mode;
	size_t drawn; /* lines on the terminal that are drawn over next time */
	int64_t drawn_ms;
	int64_t fetch_ms; /* a fetch was told of last */
};

void display_init(struct display *d, bool quiet);
/* A line that stays. */
void display_say(struct display *d, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* A line that the next one replaces; on a terminal only. */
void display_progress(struct display *d, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void display_event(struct display *d, const struct progress *r,
		   yyjson_val *event);
/* Draws the rollouts; at most ten times a second unless `now`. */
void display_draw(struct display *d, const struct progress *rollouts, size_t n,
		  bool now);
/* What is drawn from now on comes below. */
void display_settle(struct display *d);
/* The end of one rollout: URL and sample, or cause and last lines. */
void display_result(struct display *d, const struct progress *r);

/* The lines of one rollout, each cut to width, for display_draw. */
size_t display_block(const struct progress *r, int64_t now_ms, size_t width,
		     struct buf *out);

#endif
