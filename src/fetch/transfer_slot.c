/* transfer_slot.c: one request for a range, and what to make of its answer. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "fetch/transfer_parts.h"
#include "fetch/url.h"

enum { THROWN_MAX = 64 << 10, PAGE_BYTES = 4096 };

static bool is_last_try(const struct slot *slot)
{
	return slot->tries >= CLIENT_TRIES;
}

/* ---- judging ---- */

/* From now on it comes in one piece, by this slot. */
static void make_whole(struct slot *slot)
{
	struct item *it = slot->item;

	transfer__begin_anew(slot->t, it);
	it->whole = it->streaming = true;
	it->cursor = it->size;
	slot->at = slot->tried_at = 0;
	slot->end = it->size;
}

static enum verdict judge_whole(struct slot *slot)
{
	struct item *it = slot->item;
	const struct heads *h = &slot->heads;

	if (it->size != SIZE_UNKNOWN && h->length != SIZE_UNKNOWN &&
	    h->length != it->size)
		return VERDICT_CHANGED;
	if (!slot->asked_range)
		return VERDICT_TAKE;
	/* Its ranges were a promise that it does not keep. */
	if (slot->at != 0 || it->whole)
		return VERDICT_WHOLE;
	make_whole(slot);
	return VERDICT_TAKE;
}

static enum verdict judge_range(const struct slot *slot)
{
	const struct heads *h = &slot->heads;

	if (!slot->asked_range || !h->partial || h->from != slot->at)
		return VERDICT_NONSENSE;
	if (h->total != SIZE_UNKNOWN && h->total != slot->item->size)
		return VERDICT_CHANGED;
	return VERDICT_TAKE;
}

static enum verdict judge(struct slot *slot)
{
	const struct heads *h = &slot->heads;
	const struct item *it = slot->item;

	switch (h->status) {
	case 200:
	case 206:
		if (it->f->etag && h->etag && strcmp(it->f->etag, h->etag) != 0)
			return VERDICT_CHANGED;
		return h->status == 200 ? judge_whole(slot) : judge_range(slot);
	case 301:
	case 302:
	case 303:
	case 307:
	case 308:
		return VERDICT_REDIRECT;
	case 412:
	case 416:
		return VERDICT_CHANGED;
	case 401:
	case 403:
		return slot->elsewhere ? VERDICT_EXPIRED : VERDICT_REFUSED;
	case 404:
	case 410: /* it was listed a moment ago */
		return slot->elsewhere ? VERDICT_EXPIRED : VERDICT_CHANGED;
	default:
		return client_is_passing(h->status) ? VERDICT_PASSING
						    : VERDICT_REFUSED;
	}
}

/* ---- taking ---- */

static int write_all(int fd, const char *p, size_t len, uint64_t at)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, p, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		p += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static void note_bytes(struct slot *slot, size_t len)
{
	struct transfer *t = slot->t;
	struct item *it = slot->item;
	uint64_t front;

	pthread_mutex_lock(&t->lock);
	ranges_add(&it->have, slot->at, slot->at + len);
	front = ranges_front(&it->have);
	if (front >= it->woken + WAKE_BYTES) {
		it->woken = front;
		pthread_cond_broadcast(&t->more);
	}
	pthread_mutex_unlock(&t->lock);
	slot->at += len;
}

/* Writes the first `len` of what it holds, and holds the rest. */
static void write_held(struct slot *slot, size_t len)
{
	struct item *it = slot->item;

	if (it->state != ITEM_OPEN || it->complete) {
		slot->held = 0;
		return;
	}
	slot->sys = write_all(it->fd, slot->piece, len, slot->at);
	slot->held -= len;
	memmove(slot->piece, slot->piece + len, slot->held);
	if (slot->sys == 0)
		note_bytes(slot, len);
}

void slot__flush(struct slot *slot)
{
	if (slot->held > 0)
		write_held(slot, slot->held);
}

void slot__flush_pages(struct slot *slot)
{
	uint64_t end = (slot->at + slot->held) / PAGE_BYTES * PAGE_BYTES;

	if (end > slot->at)
		write_held(slot, (size_t)(end - slot->at));
}

/* Each write ends where GATHER_BYTES of the file do: of a page that is written
 * in two halves the first is read again, or filled with zeros for nothing. */
static void gather(struct slot *slot, const char *data, size_t len)
{
	while (len > 0 && slot->sys == 0) {
		size_t room = GATHER_BYTES - (size_t)(slot->at % GATHER_BYTES);
		size_t n = MIN(len, room - slot->held);

		memcpy(slot->piece + slot->held, data, n);
		slot->held += n;
		data += n;
		len -= n;
		if (slot->held == room)
			slot__flush(slot);
	}
}

static size_t on_body(char *data, size_t one, size_t len, void *to)
{
	struct slot *slot = to;
	uint64_t at, limit = slot->t->job->limit;

	(void)one;
	if (slot->item->complete) { /* by another, which has all of it */
		slot->verdict = VERDICT_WHOLE;
		return 0;
	}
	if (slot->verdict == VERDICT_NONE)
		slot->verdict = judge(slot);
	if (slot->verdict != VERDICT_TAKE) {
		slot->thrown += len;
		return slot->thrown > THROWN_MAX ? 0 : len;
	}
	at = slot->at + slot->held;
	if (slot->end != SIZE_UNKNOWN && len > slot->end - at) {
		slot->verdict = VERDICT_CHANGED; /* more than there was */
		return 0;
	}
	if (slot->end == SIZE_UNKNOWN && limit > 0 && at + len > limit)
		slot->sys = EFBIG;
	else
		gather(slot, data, len);
	return slot->sys == 0 ? len : 0;
}

/* ---- asking ---- */

void slot__start(struct slot *slot)
{
	struct transfer *t = slot->t;
	const struct item *it = slot->item;
	const char *url = it->at ? it->at : it->f->url;
	struct curl_slist *headers = NULL;
	CURL *easy = slot->easy;

	slot->asked_range =
		!it->whole && (slot->at > 0 || slot->end != it->size);
	slot->elsewhere = it->at != NULL;
	slot->verdict = VERDICT_NONE;
	slot->thrown = 0;
	slot->held = 0;
	slot->sys = 0;
	slot->detail[0] = '\0';
	heads_fini(&slot->heads);
	curl_easy_reset(easy);
	if (slot->asked_range) {
		cleanup_free char *line = mem_printf(
			"Range: bytes=%llu-%llu", (unsigned long long)slot->at,
			(unsigned long long)slot->end - 1);

		headers = curl_slist_append(headers, line);
	}
	/* Elsewhere it may have an ETag of that place's own. */
	if (it->f->etag && !it->at) {
		cleanup_free char *line =
			mem_printf("If-Match: %s", it->f->etag);

		headers = curl_slist_append(headers, line);
	}
	slot->headers = client_prepare(t->job->client, easy, t->job->source,
				       "GET", url, headers, &slot->heads);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, slot->detail);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, slot);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, slot);
	slot->state = SLOT_ASKING;
	if (curl_multi_add_handle(t->multi, easy) != CURLM_OK)
		abort();
}

static void give_up(struct slot *slot, CURLcode rc)
{
	struct transfer *t = slot->t;
	const char *url = slot->item->at ? slot->item->at : slot->item->f->url;

	if (slot->verdict == VERDICT_PASSING ||
	    slot->verdict == VERDICT_EXPIRED)
		client_refused(t->job->source, url, slot->heads.status, t->why);
	else
		client_unreachable(url, slot->easy,
				   rc == CURLE_OK ? CURLE_PARTIAL_FILE : rc,
				   slot->detail, t->why);
	transfer__fail(t);
}

/* Later, from where it is. */
static void rest(struct slot *slot, CURLcode rc)
{
	struct item *it = slot->item;

	if (it->whole) {
		/* What is there of it cannot be gone on with. */
		transfer__begin_anew(slot->t, it);
		it->streaming = true;
		it->cursor = it->size;
		slot->at = 0;
	} else if (slot->at >= slot->tried_at + COUNTS_BYTES) {
		slot->tries = 0;
		slot->tried_at = slot->at;
	}
	slot->tries++;
	if (is_last_try(slot) || rc == CURLE_PEER_FAILED_VERIFICATION) {
		give_up(slot, rc);
		return;
	}
	slot->redirects = 0;
	slot->due_ms = report_now_ms() +
		       client_wait_ms(slot->tries, slot->heads.retry_after_s);
	slot->state = SLOT_RESTING;
}

/* ---- the end ---- */

static void write_failed(struct slot *slot)
{
	struct transfer *t = slot->t;
	const char *dir = t->job->shelf->dir;
	char size[32];

	if (slot->sys == EFBIG && slot->end == SIZE_UNKNOWN)
		failure_set(t->why, FAIL_TOO_LARGE, false,
			    "%s is larger than the %s that are allowed: "
			    "raise the limit, or name a smaller model",
			    t->job->source->shown,
			    str_human_bytes(t->job->limit, size));
	else if (slot->sys == ENOSPC || slot->sys == EDQUOT)
		failure_set(t->why, FAIL_NO_SPACE, true,
			    "no space is left in %s, %s are free: make room on "
			    "its file system, or remove models that nobody "
			    "needs ('soma models rm'); what came so far is "
			    "kept",
			    dir,
			    str_human_bytes(transfer__free_bytes(t), size));
	else
		failure_set(t->why, FAIL_BROKEN, true,
			    "cannot write in %s (%s): look at the disk", dir,
			    strerror(slot->sys));
	transfer__fail(t);
}

static void changed(struct slot *slot)
{
	struct transfer *t = slot->t;

	failure_set(t->why, FAIL_CHANGED, true,
		    "%s changes while it is fetched ('%.200s' is no longer "
		    "what it was): fetch it again when it is complete",
		    t->job->source->shown, slot->item->f->path);
	transfer__fail(t);
}

static void redirected(struct slot *slot)
{
	struct item *it = slot->item;
	const char *from = it->at ? it->at : it->f->url;
	char *to = client_redirect(slot->easy, from, &slot->redirects,
				   slot->t->why);

	if (!to) {
		transfer__fail(slot->t);
		return;
	}
	free(it->at);
	it->at = to;
	slot__start(slot);
}

/* All of its range is there. */
static void piece_done(struct slot *slot)
{
	struct transfer *t = slot->t;
	struct item *it = slot->item;

	slot->state = SLOT_FREE;
	slot->item = NULL;
	if (it->size == SIZE_UNKNOWN) {
		pthread_mutex_lock(&t->lock);
		it->size = slot->at;
		pthread_mutex_unlock(&t->lock);
	}
	transfer__check_complete(t, it);
}

static void whole(struct slot *slot)
{
	struct item *it = slot->item;

	if (it->whole || it->complete) { /* another slot has it */
		slot->state = SLOT_FREE;
		slot->item = NULL;
		return;
	}
	make_whole(slot);
	slot__start(slot);
}

static void taken(struct slot *slot, CURLcode rc)
{
	bool all = slot->end == SIZE_UNKNOWN || slot->at == slot->end;

	if (rc == CURLE_OK && all)
		piece_done(slot);
	else if (slot->end != SIZE_UNKNOWN && slot->at == slot->end)
		piece_done(slot); /* it closed too late to matter */
	else
		rest(slot, rc);
}

void slot__end(struct slot *slot, CURLcode rc)
{
	struct transfer *t = slot->t;

	curl_multi_remove_handle(t->multi, slot->easy);
	curl_easy_setopt(slot->easy, CURLOPT_HTTPHEADER, NULL);
	curl_slist_free_all(slot->headers);
	slot->headers = NULL;
	if (slot->verdict == VERDICT_TAKE && slot->sys == 0)
		slot__flush(slot);
	if (slot->sys != 0) {
		write_failed(slot);
		return;
	}
	/* An answer without a body. */
	if (slot->verdict == VERDICT_NONE && rc == CURLE_OK)
		slot->verdict = judge(slot);
	switch (slot->verdict) {
	case VERDICT_TAKE:
		taken(slot, rc);
		break;
	case VERDICT_REDIRECT:
		redirected(slot);
		break;
	case VERDICT_WHOLE:
		whole(slot);
		break;
	case VERDICT_EXPIRED:
		rest(slot, rc);
		free(mem_take(&slot->item->at));
		break;
	case VERDICT_CHANGED:
		changed(slot);
		break;
	case VERDICT_REFUSED:
		client_refused(t->job->source,
			       slot->item->at ? slot->item->at
					      : slot->item->f->url,
			       slot->heads.status, t->why);
		transfer__fail(t);
		break;
	case VERDICT_NONSENSE:
		failure_set(t->why, FAIL_BROKEN, false,
			    "%s: asked for a part of '%.200s', the source "
			    "answers with another: is there a broken proxy?",
			    t->job->source->shown, slot->item->f->path);
		transfer__fail(t);
		break;
	case VERDICT_NONE:
	case VERDICT_PASSING:
		rest(slot, rc);
		break;
	}
}
