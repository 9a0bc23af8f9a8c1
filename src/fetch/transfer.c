/* transfer.c: one pull: what comes at once, what is noted, and its end. */
#include "fetch/transfer.h"

#include <assert.h>
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
	uint64_t hashed, done, total = t->total == SIZE_UNKNOWN ? 0 : t->total;

	/* Of a slow source no more is lost by a kill than of a fast one. */
	for (size_t i = 0; i < SLOTS; i++)
		if (t->slots[i].state == SLOT_ASKING &&
		    t->slots[i].verdict == VERDICT_TAKE && t->slots[i].sys == 0)
			slot__flush_pages(&t->slots[i]);
	done = count(t, &hashed);

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
		transfer__hear_workers(t);
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
		t->slots[i].piece = mem_alloc(GATHER_BYTES);
		heads_init(&t->slots[i].heads);
	}
	for (size_t i = 0; i < l->n; i++)
		transfer__recall(t, &t->items[i]);
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
		free(slot->piece);
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
