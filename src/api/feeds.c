/* feeds.c: events and logs as lines of JSON, followed live when asked. */
#include <stdlib.h>
#include <string.h>

#include "api/admin.h"
#include "core/mem.h"
#include "serve/feed.h"

enum { TAIL_DEFAULT = 100, LAG_MAX = 4 << 20 };

/* A client that follows. What it cannot take yet waits here, up to LAG_MAX;
 * then it is cut off, and may ask again from the last line it had. */
struct stream {
	struct feed_follower follower;
	struct http_req *req;
	struct buf waiting;
	bool blocked;
};

static struct stream *stream_of(struct feed_follower *f)
{
	return CONTAINER_OF(f, struct stream, follower);
}

static void stream_free(struct stream *st)
{
	feed_unfollow(&st->follower);
	buf_fini(&st->waiting);
	free(st);
}

static void on_over(struct http_req *req)
{
	if (req->user)
		stream_free(req->user);
}

static void end(struct stream *st, bool whole)
{
	struct http_req *req = st->req;

	req->user = NULL;
	stream_free(st);
	if (whole)
		http_reply_end(req);
	else
		http_reply_abort(req);
}

static void flush(struct stream *st)
{
	if (!st->waiting.len)
		return;
	st->blocked =
		!http_reply_chunk(st->req, st->waiting.data, st->waiting.len);
	buf_reset(&st->waiting);
}

static void on_drain(struct http_req *req)
{
	struct stream *st = req->user;

	if (!st)
		return;
	st->blocked = false;
	flush(st);
}

static void on_line(struct feed_follower *f, const struct feed_line *line)
{
	struct stream *st = stream_of(f);

	buf_add(&st->waiting, line->text, line->len);
	buf_addc(&st->waiting, '\n');
	if (st->waiting.full)
		end(st, false);
	else if (!st->blocked)
		flush(st);
}

static void on_feed_end(struct feed_follower *f)
{
	struct stream *st = stream_of(f);

	flush(st);
	end(st, true);
}

static int64_t number(struct http_req *req, const char *name, int64_t fallback)
{
	const char *text = http_req_param(req, name);
	uint64_t v;

	if (!text || !str_u64(str_of(text), &v) || v > INT64_MAX)
		return fallback;
	return (int64_t)v;
}

static bool wants_follow(struct http_req *req)
{
	const char *follow = http_req_param(req, "follow");

	return follow && strcmp(follow, "0") != 0;
}

static void send_feed(struct http_req *req, struct feed *feed, int64_t after,
		      size_t newest)
{
	size_t skip = feed->n > newest ? feed->n - newest : 0;
	struct stream *st = mem_alloc(sizeof *st);
	struct list *it, *tmp;

	st->req = req;
	list_init(&st->follower.link);
	buf_init(&st->waiting, LAG_MAX);
	req->user = st;
	req->on_over = on_over;
	http_reply_start(req, 200, "application/x-ndjson", on_drain);
	LIST_EACH (&feed->lines, it, tmp) {
		struct feed_line *l = LIST_ENTRY(it, struct feed_line, link);

		if (skip) {
			skip--;
			continue;
		}
		if (l->seq <= after)
			continue;
		buf_add(&st->waiting, l->text, l->len);
		buf_addc(&st->waiting, '\n');
	}
	flush(st);
	if (!wants_follow(req)) {
		end(st, true);
		return;
	}
	st->follower.on_line = on_line;
	st->follower.on_end = on_feed_end;
	feed_follow(feed, &st->follower);
}

void admin_events(struct http_req *req, const char *arg)
{
	struct api *a = admin_api(req, arg);

	if (a)
		send_feed(req, &a->events, number(req, "after", 0), SIZE_MAX);
}

void admin_logs(struct http_req *req, const char *arg)
{
	struct api *a = admin_api(req, arg);

	if (a)
		send_feed(req, &a->logs.feed, 0,
			  (size_t)number(req, "tail", TAIL_DEFAULT));
}
