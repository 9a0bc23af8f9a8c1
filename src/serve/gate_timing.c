/*
 * Server-Timing: how long a request was where, for those who ask.
 */
#include <string.h>

#include "core/mem.h"
#include "serve/gate_parts.h"
#include "serve/replica_parts.h"

#define TOLD "soma-timing"

/* What one of ours tells in microseconds, by its own words: "ready=12 pre=3". A
 * replica runs its user's code: nothing of it is taken as it comes. */
struct told {
	uint64_t us[TIMINGS];
	bool has[TIMINGS];
};

static const char *const words[TIMINGS] = {
	[TIMING_QUEUE] = "ready",	[TIMING_PRE] = "pre",
	[TIMING_BATCH] = "batch",	[TIMING_PREDICT] = "predict",
	[TIMING_UPSTREAM] = "upstream",
};

static struct str next_word(struct str *rest)
{
	struct str s = str_trim(*rest);
	const char *end = s.n ? memchr(s.p, ' ', s.n) : NULL;
	struct str word = {s.p, end ? (size_t)(end - s.p) : s.n};

	*rest = (struct str){word.p + word.n, s.n - word.n};
	return word;
}

static void read_told(struct str value, struct told *ret)
{
	struct str word;

	while ((word = next_word(&value)).n) {
		const char *is = memchr(word.p, '=', word.n);
		size_t n = is ? (size_t)(is - word.p) : word.n;
		struct str number = {word.p + n + 1, is ? word.n - n - 1 : 0};

		for (int i = 0; i < TIMINGS; i++)
			if (str_eq((struct str){word.p, n}, str_of(words[i])) &&
			    str_u64(number, &ret->us[i]))
				ret->has[i] = true;
	}
}

/* "queue;dur=0.045" */
static void add(struct buf *b, const char *name, uint64_t us)
{
	buf_addf(b, "%s%s;dur=%llu.%03u", b->len ? ", " : "", name,
		 (unsigned long long)(us / 1000), (unsigned)(us % 1000));
}

static void write_all(struct waiter *w, uint64_t queue_us, const struct told *t)
{
	static const char *const names[TIMINGS] = {
		[TIMING_QUEUE] = "queue",	[TIMING_PRE] = "pre",
		[TIMING_BATCH] = "batch",	[TIMING_PREDICT] = "predict",
		[TIMING_UPSTREAM] = "upstream",
	};
	struct buf b;

	buf_init(&b, 512);
	add(&b, names[TIMING_QUEUE], queue_us + t->us[TIMING_QUEUE]);
	for (int i = TIMING_QUEUE + 1; i < TIMINGS; i++)
		if (t->has[i])
			add(&b, names[i], t->us[i]);
	http_reply_header(w->req, "Server-Timing", buf_cstr(&b));
	buf_fini(&b);
}

struct http_header gate__ask_timing(void)
{
	return (struct http_header){STR(TOLD), STR("1")};
}

void gate__timing(struct waiter *w)
{
	struct told told = {.has[TIMING_UPSTREAM] = false};
	uint64_t now;

	if (!w->timing)
		return;
	w->timing = false; /* once */
	now = uv_hrtime();
	if (!w->replica && !w->reached) {
		write_all(w, (now - w->req->start_ns) / 1000, &told);
		return;
	}
	if (w->replica && replica__is_ours(w->replica)) {
		http_reply_drop(w->req, STR(TOLD));
		read_told(http_proxy_header(w->req, TOLD), &told);
		told.has[TIMING_UPSTREAM] = false;
	} else if (w->replica) {
		told.us[TIMING_UPSTREAM] = (now - w->sent_ns) / 1000;
		told.has[TIMING_UPSTREAM] = true;
	}
	write_all(w, (w->sent_ns - w->req->start_ns) / 1000, &told);
}
