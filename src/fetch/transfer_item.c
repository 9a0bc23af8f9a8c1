/* transfer_item.c: the files of a pull: what is there of each, what of it is
 * asked for next, and what the workers found. On the loop's thread. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/mem.h"
#include "fetch/transfer_parts.h"

/* ---- their ends ---- */

void transfer__begin_anew(struct transfer *t, struct item *it)
{
	pthread_mutex_lock(&t->lock);
	ranges_fini(&it->have);
	it->generation++;
	/* A worker that reads meanwhile sees the generation, and not this. */
	if (ftruncate(it->fd, 0) != 0)
		errno = 0; /* it is cut to its size at the end, too */
	it->hashed = it->woken = 0;
	it->complete = false;
	it->cursor = it->noted = 0;
	it->size = it->f->size;
	pthread_mutex_unlock(&t->lock);
}

static void item_done(struct transfer *t, struct item *it)
{
	if (it->state == ITEM_OPEN) {
		close(it->fd);
		it->fd = -1;
		t->open--;
	}
	it->state = ITEM_DONE;
	t->done += it->size;
	ranges_fini(&it->have);
	free(mem_take(&it->at));
	while (t->oldest < t->n && t->items[t->oldest].state == ITEM_DONE)
		t->oldest++;
}

/* ---- what is there ---- */

/* On the shelf already, from an earlier try or by another model? The note comes
 * first: gc leaves what it names. */
static bool is_there(struct transfer *t, struct item *it, const char *sha256)
{
	const struct transfer_job *job = t->job;
	struct failure why;

	if (!*sha256 || it->size == SIZE_UNKNOWN ||
	    !shelf_has(job->shelf, sha256, it->size))
		return false;
	if (parts_write(job->parts, it->n, it->f, &it->have, sha256, &why) !=
		    0 ||
	    !shelf_has(job->shelf, sha256, it->size))
		return false;
	memcpy(it->sha256, sha256, SHA256_HEX);
	return true;
}

static void cannot_open(struct transfer *t, int sys)
{
	failure_set(t->why, sys == ENOSPC ? FAIL_NO_SPACE : FAIL_BROKEN, true,
		    "cannot write in %s (%s): look at the disk",
		    t->job->shelf->dir, strerror(sys));
	transfer__fail(t);
}

/* Of all, before the first is asked for, so that it is known how much there is
 * to come. */
void transfer__recall(struct transfer *t, struct item *it)
{
	const char *sha256 = it->f->sha256;
	struct part_note note;

	parts_read(t->job->parts, it->n, it->f, &note);
	it->have = note.have;
	if (!*sha256)
		sha256 = *note.done ? note.done : it->f->before;
	if (is_there(t, it, sha256))
		item_done(t, it);
	else if (it->whole)
		ranges_fini(&it->have);
}

static void open_item(struct transfer *t, struct item *it)
{
	cleanup_free char *path = parts_path(t->job->parts, it->n);

	it->fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (it->fd < 0) {
		cannot_open(t, errno);
		return;
	}
	if (it->have.n == 0 && ftruncate(it->fd, 0) != 0) {
		cannot_open(t, errno);
		return;
	}
	it->noted = ranges_total(&it->have);
	if (it->have.n == 0 && !it->spurned)
		it->local = it->f->local;
	it->state = ITEM_OPEN;
	t->open++;
	t->reached = MAX(t->reached, it->n + 1);
	pthread_cond_broadcast(&t->more);
}

/* Where an earlier try brought more than there is. */
static bool cut(struct transfer *t, struct item *it)
{
	if (ftruncate(it->fd, (off_t)it->size) == 0)
		return true;
	cannot_open(t, errno);
	return false;
}

void transfer__check_complete(struct transfer *t, struct item *it)
{
	struct failure why;

	pthread_mutex_lock(&t->lock);
	if (!it->complete && it->state == ITEM_OPEN && !it->local &&
	    it->size != SIZE_UNKNOWN && ranges_front(&it->have) == it->size &&
	    cut(t, it)) {
		/* It is hashed again and not fetched again. That this cannot
		 * be noted will be told when more cannot. */
		parts_write(t->job->parts, it->n, it->f, &it->have, "", &why);
		it->complete = true;
		pthread_cond_broadcast(&t->more);
	}
	pthread_mutex_unlock(&t->lock);
}

static uint64_t piece_bytes(uint64_t size)
{
	uint64_t piece = size / PIECES >> 20 << 20;

	return MIN(MAX(piece, (uint64_t)PIECE_MIN), (uint64_t)PIECE_MAX);
}

/* A range of it that nobody has asked for. */
static bool take_range(struct item *it, struct slot *slot)
{
	struct range gap;

	if (it->local)
		return false;
	if (it->whole) {
		if (it->streaming)
			return false;
		it->streaming = true;
		slot->at = 0;
		slot->end = it->size;
		return it->size != 0;
	}
	gap = ranges_gap(&it->have, it->cursor, it->size);
	slot->at = gap.from;
	slot->end = MIN(gap.to, gap.from + piece_bytes(it->size));
	it->cursor = slot->end;
	return slot->at < slot->end;
}

bool transfer__next(struct transfer *t, struct slot *slot)
{
	bool found = false;

	while (!found && !t->failed && t->next < t->n) {
		struct item *it = &t->items[t->next];

		pthread_mutex_lock(&t->lock);
		if (it->state == ITEM_WAITING && t->open >= OPEN_MAX) {
			pthread_mutex_unlock(&t->lock);
			return false;
		}
		if (it->state == ITEM_WAITING)
			open_item(t, it);
		found = it->state == ITEM_OPEN && take_range(it, slot);
		pthread_mutex_unlock(&t->lock);
		if (found) {
			slot->item = it;
			slot->tries = slot->redirects = 0;
			slot->tried_at = slot->at;
			return true;
		}
		if (t->failed)
			return false;
		transfer__check_complete(t, it);
		t->next++;
	}
	return found;
}

/* ---- what workers tell ---- */

static void corrupt(struct transfer *t, struct item *it)
{
	if (!it->local && ++it->corrupt > 1) {
		failure_set(t->why, FAIL_CORRUPT, false,
			    "%s: the bytes of '%.200s' have the SHA-256 %s, "
			    "the source states %s, twice over: the file at the "
			    "source is damaged; upload it again",
			    t->job->source->shown, it->f->path, it->sha256,
			    it->f->sha256);
		transfer__fail(t);
		parts_drop(t->job->parts, it->n);
	}
}

static void fetch_anew(struct transfer *t, struct item *it)
{
	parts_drop(t->job->parts, it->n);
	close(it->fd);
	it->fd = -1;
	t->open--;
	it->state = ITEM_WAITING;
	it->streaming = false;
	it->spurned = it->spurned || it->local;
	it->local = NULL;
	ranges_fini(&it->have);
	it->cursor = it->hashed = it->woken = it->noted = 0;
	it->size = it->f->size;
	it->complete = false;
	t->next = MIN(t->next, it->n);
}

/* With the lock held. */
static void hear(struct transfer *t, struct item *it)
{
	enum item_news news = it->news;

	if (news == NEWS_NONE)
		return;
	assert(!it->busy); /* it tells, and lets go, in one hold of the lock */
	it->news = NEWS_NONE;
	switch (news) {
	case NEWS_TAKEN:
		item_done(t, it);
		break;
	case NEWS_CORRUPT:
		corrupt(t, it);
		if (!t->failed)
			fetch_anew(t, it);
		break;
	case NEWS_NO_COPY:
		fetch_anew(t, it);
		break;
	case NEWS_FAILED:
		*t->why = *it->why;
		transfer__fail(t);
		break;
	case NEWS_NONE:
		break;
	}
}

void transfer__hear_workers(struct transfer *t)
{
	pthread_mutex_lock(&t->lock);
	if (t->news) {
		t->news = false;
		for (size_t i = t->oldest; i < t->reached && !t->failed; i++)
			hear(t, &t->items[i]);
	}
	pthread_mutex_unlock(&t->lock);
}
