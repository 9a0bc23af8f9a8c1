#include "fetch/transfer.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/mem.h"
#include "fetch/transfer_parts.h"

enum { TICK_MS = 250 };

int transfer__fail(struct transfer *t)
{
	t->failed = true;
	return -1;
}

uint64_t transfer__free_bytes(const struct transfer *t)
{
	struct statvfs fs;

	if (statvfs(t->job->shelf->dir, &fs) != 0)
		return UINT64_MAX;
	return (uint64_t)fs.f_bavail * fs.f_frsize;
}

/* ---- items ---- */

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

/* What an earlier pull left of it. Of all, before the first is asked for, so
 * that it is known how much there is to come. */
static void recall(struct transfer *t, struct item *it)
{
	struct part_note note;

	parts_read(t->job->parts, it->n, it->f, &note);
	it->have = note.have;
	if (is_there(t, it, it->f->sha256[0] ? it->f->sha256 : note.done))
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

static void hear_workers(struct transfer *t)
{
	pthread_mutex_lock(&t->lock);
	if (t->news) {
		t->news = false;
		for (size_t i = t->oldest; i < t->reached && !t->failed; i++)
			hear(t, &t->items[i]);
	}
	pthread_mutex_unlock(&t->lock);
}

/* ---- each quarter of a second ---- */

/* What has come, and what of that is hashed. */
static uint64_t count(struct transfer *t, uint64_t *ret_hashed)
{
	uint64_t done = t->done, hashed = t->done;

	pthread_mutex_lock(&t->lock);
	for (size_t i = t->oldest; i < t->n; i++) {
		if (t->items[i].state == ITEM_DONE)
			continue;
		done += ranges_total(&t->items[i].have);
		hashed += t->items[i].hashed;
	}
	pthread_mutex_unlock(&t->lock);
	*ret_hashed = hashed;
	return done;
}

static void check_space(struct transfer *t, uint64_t done)
{
	uint64_t left = t->total - done, room = transfer__free_bytes(t);
	char needs[32], there[32];

	if (t->total == SIZE_UNKNOWN || t->total <= done ||
	    room >= left + ROOM_BYTES)
		return;
	failure_set(t->why, FAIL_NO_SPACE, true,
		    "%s needs %s, %s are free at %s: make room there, or "
		    "remove models that nobody needs ('soma models rm')%s",
		    t->job->source->shown, str_human_bytes(left, needs),
		    str_human_bytes(room, there), t->job->shelf->dir,
		    done > 0 ? "; what came so far is kept" : "");
	transfer__fail(t);
}

static void write_notes(struct transfer *t)
{
	struct failure why;
	int rc = 0;

	pthread_mutex_lock(&t->lock);
	for (size_t i = t->oldest; rc == 0 && i < t->reached; i++) {
		struct item *it = &t->items[i];
		uint64_t now = ranges_total(&it->have);

		if (it->state != ITEM_OPEN || it->complete || it->whole ||
		    it->local || now == it->noted)
			continue;
		rc = parts_write(t->job->parts, i, it->f, &it->have, "", &why);
		it->noted = now;
	}
	pthread_mutex_unlock(&t->lock);
	if (rc != 0 && !t->failed) {
		*t->why = why;
		transfer__fail(t);
	}
}

static void tick(struct transfer *t)
{
	uint64_t hashed, done = count(t, &hashed);
	uint64_t total = t->total == SIZE_UNKNOWN ? 0 : t->total;

	if (done == t->total)
		report_verifying(t->job->report, hashed, total);
	else
		report_fetching(t->job->report, done, total);
	write_notes(t);
	if (!t->failed)
		check_space(t, done);
}

/* ---- the loop ---- */

static void fill_slots(struct transfer *t)
{
	int64_t now = report_now_ms();

	for (size_t i = 0; i < SLOTS && !t->failed; i++) {
		struct slot *slot = &t->slots[i];

		if (slot->state == SLOT_RESTING && slot->due_ms <= now)
			slot__start(slot);
		if (slot->state == SLOT_FREE && transfer__next(t, slot))
			slot__start(slot);
	}
}

static void end_requests(struct transfer *t)
{
	CURLMsg *m;
	int left;

	while (!t->failed && (m = curl_multi_info_read(t->multi, &left))) {
		struct slot *slot = NULL;

		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &slot);
		slot__end(slot, m->data.result);
	}
}

/* Until what comes, or must be done, next. */
static int wait_ms(const struct transfer *t, int64_t tick_ms)
{
	int64_t now = report_now_ms(), due = tick_ms;

	for (size_t i = 0; i < SLOTS; i++)
		if (t->slots[i].state == SLOT_RESTING)
			due = MIN(due, t->slots[i].due_ms);
	return due <= now ? 0 : (int)(due - now);
}

static void loop(struct transfer *t)
{
	int64_t tick_ms = 0;
	int running;

	while (!t->failed && t->oldest < t->n) {
		fill_slots(t);
		if (t->failed || t->oldest == t->n)
			break;
		if (report_now_ms() >= tick_ms) {
			tick(t);
			tick_ms = report_now_ms() + TICK_MS;
		}
		curl_multi_perform(t->multi, &running);
		end_requests(t);
		hear_workers(t);
		if (!t->failed && t->oldest < t->n)
			curl_multi_poll(t->multi, NULL, 0, wait_ms(t, tick_ms),
					NULL);
	}
}

static void begin(struct transfer *t)
{
	const struct listing *l = t->job->listing;
	long processors = sysconf(_SC_NPROCESSORS_ONLN);

	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->more, NULL);
	t->multi = curl_multi_init();
	t->n = l->n;
	t->items = mem_alloc(l->n * sizeof *t->items);
	t->total = listing_bytes(l);
	for (size_t i = 0; i < l->n; i++)
		t->items[i] = (struct item){.f = &l->files[i],
					    .n = i,
					    .fd = -1,
					    .size = l->files[i].size,
					    .whole = !l->files[i].ranges};
	for (size_t i = 0; i < SLOTS; i++) {
		t->slots[i].t = t;
		t->slots[i].easy = curl_easy_init();
		heads_init(&t->slots[i].heads);
	}
	for (size_t i = 0; i < l->n; i++)
		recall(t, &t->items[i]);
	t->n_workers = (size_t)MAX(1, MIN(processors, (long)WORKERS_MAX));
	t->n_workers = MIN(t->n_workers, t->n);
	for (size_t i = 0; i < t->n_workers; i++)
		if (pthread_create(&t->workers[i], NULL, transfer__work, t) !=
		    0)
			abort();
}

static void end(struct transfer *t)
{
	pthread_mutex_lock(&t->lock);
	t->stop = true;
	pthread_cond_broadcast(&t->more);
	pthread_mutex_unlock(&t->lock);
	for (size_t i = 0; i < t->n_workers; i++)
		pthread_join(t->workers[i], NULL);
	for (size_t i = 0; i < SLOTS; i++) {
		struct slot *slot = &t->slots[i];

		if (slot->headers)
			curl_multi_remove_handle(t->multi, slot->easy);
		curl_easy_cleanup(slot->easy);
		curl_slist_free_all(slot->headers);
		heads_fini(&slot->heads);
	}
	curl_multi_cleanup(t->multi);
	for (size_t i = 0; i < t->n; i++) {
		struct item *it = &t->items[i];

		if (it->fd >= 0)
			close(it->fd);
		ranges_fini(&it->have);
		free(it->at);
		free(it->why);
	}
	free(t->items);
	pthread_cond_destroy(&t->more);
	pthread_mutex_destroy(&t->lock);
}

static struct shelf_file *rows(const struct transfer *t)
{
	size_t head = t->n * sizeof(struct shelf_file);
	struct shelf_file *all = mem_alloc(head + t->n * SHA256_HEX);
	char *sums = (char *)all + head;

	for (size_t i = 0; i < t->n; i++) {
		const struct item *it = &t->items[i];

		assert(it->state == ITEM_DONE);
		memcpy(sums + i * SHA256_HEX, it->sha256, SHA256_HEX);
		all[i] = (struct shelf_file){it->f->path, sums + i * SHA256_HEX,
					     it->size};
	}
	return all;
}

int transfer_run(const struct transfer_job *job, struct shelf_file **ret,
		 struct failure *why)
{
	struct transfer t = {.job = job, .why = why};

	begin(&t);
	loop(&t);
	if (t.failed)
		write_notes(&t);
	else
		*ret = rows(&t);
	end(&t);
	return t.failed ? -1 : 0;
}
