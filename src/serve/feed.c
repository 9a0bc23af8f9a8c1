#include "serve/feed.h"

#include <string.h>

void feed_init(struct feed *f, size_t max_lines, size_t max_bytes)
{
	*f = (struct feed){.max_lines = max_lines, .max_bytes = max_bytes};
	list_init(&f->lines);
	list_init(&f->followers);
}

static void drop_oldest(struct feed *f)
{
	struct feed_line *l = LIST_ENTRY(f->lines.next, struct feed_line, link);

	list_remove(&l->link);
	f->n--;
	f->bytes -= l->len;
	free(l);
}

void feed_fini(struct feed *f)
{
	while (!list_empty(&f->lines))
		drop_oldest(f);
	while (!list_empty(&f->followers)) {
		struct feed_follower *follower = LIST_ENTRY(
			f->followers.next, struct feed_follower, link);

		list_remove(&follower->link);
		follower->on_end(follower);
	}
}

void feed_add_seq(struct feed *f, int64_t seq, const char *text, size_t len)
{
	struct feed_line *l = mem_alloc(sizeof *l + len + 1);
	struct list *it, *tmp;

	l->seq = f->last_seq = seq;
	l->len = len;
	memcpy(l->text, text, len);
	list_push_back(&f->lines, &l->link);
	f->n++;
	f->bytes += len;
	LIST_EACH (&f->followers, it, tmp) {
		struct feed_follower *follower =
			LIST_ENTRY(it, struct feed_follower, link);

		follower->on_line(follower, l);
	}
	while (f->n > 1 && (f->n > f->max_lines || f->bytes > f->max_bytes))
		drop_oldest(f);
}

int64_t feed_add(struct feed *f, const char *text, size_t len)
{
	feed_add_seq(f, f->last_seq + 1, text, len);
	return f->last_seq;
}

void feed_follow(struct feed *f, struct feed_follower *follower)
{
	list_push_back(&f->followers, &follower->link);
}

void feed_unfollow(struct feed_follower *follower)
{
	list_remove(&follower->link);
}
