#include "fetch/report.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "core/json.h"
#include "core/mem.h"

enum { SAY_EVERY_MS = 250, RATE_MS = 1000, LINE_MAX_BYTES = 64 << 10 };

int64_t report_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Nobody who reads: nobody who wants the model. */
static void say(struct buf *line)
{
	const char *p = line->data;
	size_t left;

	buf_adds(line, "}\n");
	p = line->data;
	left = line->len;
	while (left > 0) {
		ssize_t n = write(STDOUT_FILENO, p, left);

		if (n <= 0)
			_exit(1);
		p += n;
		left -= (size_t)n;
	}
	buf_fini(line);
}

static void begin(struct buf *line, const char *state)
{
	buf_init(line, LINE_MAX_BYTES);
	buf_addf(line, "{\"state\":\"%s\"", state);
}

static void text(struct buf *line, const char *key, const char *value)
{
	buf_addf(line, ",\"%s\":", key);
	json_quote(line, str_of(value));
}

void report_listing(struct report *r)
{
	struct buf line;

	(void)r;
	begin(&line, "listing");
	say(&line);
}

/* As a mean that forgets, over pieces of a second. */
static void measure(struct report *r, int64_t now, uint64_t done)
{
	double rate;

	if (r->begun_ms == 0) {
		r->begun_ms = r->mark_ms = now;
		r->begun = r->mark = done;
	}
	if (done < r->mark) /* something is fetched again */
		r->mark = done;
	if (now - r->mark_ms < RATE_MS) {
		if (r->rate == 0 && now > r->begun_ms && done > r->begun)
			r->rate = (double)(done - r->begun) * 1000 /
				  (double)(now - r->begun_ms);
		return;
	}
	rate = (double)(done - r->mark) * 1000 / (double)(now - r->mark_ms);
	r->rate = r->rate == 0 ? rate : (r->rate + rate) / 2;
	r->mark_ms = now;
	r->mark = done;
}

bool report_fetching(struct report *r, uint64_t done, uint64_t total)
{
	int64_t now = report_now_ms();
	struct buf line;

	if (r->said_ms != 0 && now - r->said_ms < SAY_EVERY_MS)
		return false;
	r->said_ms = now;
	measure(r, now, done);
	begin(&line, "fetching");
	buf_addf(&line, ",\"done\":%llu,\"total\":%llu,\"rate\":%.0f",
		 (unsigned long long)done, (unsigned long long)total, r->rate);
	say(&line);
	return true;
}

bool report_verifying(struct report *r, uint64_t done, uint64_t total)
{
	int64_t now = report_now_ms();
	struct buf line;

	if (r->said_ms != 0 && now - r->said_ms < SAY_EVERY_MS)
		return false;
	r->said_ms = now;
	begin(&line, "verifying");
	buf_addf(&line, ",\"done\":%llu,\"total\":%llu",
		 (unsigned long long)done, (unsigned long long)total);
	say(&line);
	return true;
}

void report_ready(struct report *r, const char *state, const struct shelf *s,
		  const struct shelf_ref *ref)
{
	cleanup_free char *path = shelf_tree_path(s, ref->tree);
	struct buf line;

	(void)r;
	begin(&line, state);
	text(&line, "tree", ref->tree);
	text(&line, "path", path);
	buf_addf(&line, ",\"bytes\":%llu,\"files\":%u",
		 (unsigned long long)ref->bytes, ref->files);
	text(&line, "etag", ref->etag);
	say(&line);
}

void report_changed(struct report *r)
{
	struct buf line;

	(void)r;
	begin(&line, "changed");
	say(&line);
}

void report_failed(struct report *r, const struct failure *why)
{
	struct buf line;

	(void)r;
	begin(&line, "failed");
	text(&line, "code", failure_word(why->code));
	text(&line, "message", why->text);
	buf_addf(&line, ",\"again\":%s", why->again ? "true" : "false");
	say(&line);
}
