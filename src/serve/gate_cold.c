/*
 * What is said of a start that somebody waits for.
 */
#include <math.h>
#include <stdio.h>

#include "core/json.h"
#include "core/mem.h"
#include "serve/gate_parts.h"
#include "serve/serve.h"
#include "serve/wish.h"

void gate__tell_cold(struct waiter *w)
{
	uint64_t us = (w->sent_ns - w->req->start_ns) / 1000;
	char text[64];

	if (!w->tell_cold)
		return;
	w->tell_cold = false; /* once */
	if (w->cold)
		snprintf(text, sizeof text, "%s;ms=%llu.%03u",
			 cold_tier_word(w->replica->tier),
			 (unsigned long long)(us / 1000),
			 (unsigned)(us % 1000));
	http_reply_header(w->req, WISH_COLD, w->cold ? text : "none");
}

enum {
	EARLY_MS = 5 * 1000, /* who waits longer hears that he does, ... */
	HEAR_MS = 10 * 1000, /* ... and so often */
};

bool gate__takes_events(const struct http_req *req)
{
	static const char type[] = "text/event-stream";
	struct str accept = http_req_header(req, "Accept");

	for (size_t i = 0; i + sizeof type - 1 <= accept.n; i++)
		if (strncasecmp(accept.p + i, type, sizeof type - 1) == 0)
			return true;
	return false;
}

/* Proxies on the way cut a connection on which nothing comes. */
static void let_hear(struct waiter *w, uint64_t now)
{
	uint64_t since = w->said_at ? w->said_at : w->req->start_ns / 1000000;

	if (now - since < (w->said_at ? HEAR_MS : EARLY_MS) ||
	    !http_reply_early(w->req))
		return;
	w->said_at = now;
	http_reply_comment(w->req, "waiting for a replica");
}

void gate__let_hear(struct api *a)
{
	uint64_t now = uv_now(a->serve->loop);
	struct list *it, *tmp;

	for (int i = 0; a->gate.queued && i < PRIORITIES; i++)
		LIST_EACH (&a->gate.queue[i], it, tmp) {
			struct waiter *w =
				CONTAINER_OF(it, struct waiter, queue);

			if (w->events)
				let_hear(w, now);
		}
}

/* The process that has been starting for the longest. */
static const struct replica *first_starting(const struct revision *rev)
{
	const struct replica *first = NULL, *r = NULL;

	while ((r = replica_next(&rev->replicas, r)))
		if (r->state == REPLICA_STARTING &&
		    (!first || r->spawned_at < first->spawned_at))
			first = r;
	return first;
}

static bool is_fetching(const struct revision *rev)
{
	uint64_t done, total;
	double eta;

	return model_set_loading(&rev->models, &done, &total, &eta);
}

static const char *stage_of(const struct revision *rev, const struct replica *r)
{
	if (is_fetching(rev))
		return "models";
	if (rev->env && rev->env->state == ENVIRONMENT_BUILDING)
		return "installing the environment";
	if (r)
		return r->detail ? r->detail : "starting";
	return revision_places(rev) ? "waiting to be started again"
				    : "waiting to be started";
}

/* Seconds until it is ready; below 0: not known. */
static double eta_of(const struct api *a, const struct revision *rev,
		     const struct replica *r)
{
	uint64_t ns = r	    ? a->scale.loads[r->tier].mean_ns
		      : rev ? scale_load_ns(rev)
			    : 0;
	double load = (double)ns / 1e9;
	double since =
		r ? (double)(uv_now(a->serve->loop) - r->spawned_at) / 1000 : 0;
	uint64_t done, total;
	double fetch;

	/* What a start takes comes behind that. */
	if (rev && model_set_loading(&rev->models, &done, &total, &fetch))
		return fetch < 0 ? -1 : fetch + load;
	if (!r && rev)
		load += load > 0 ? (double)revision_again_ms(rev) / 1000 : 0;
	return load > 0 ? fmax(load - since, 0) : -1;
}

uint32_t gate__ready_in_s(const struct api *a, const struct revision *rev)
{
	double eta = eta_of(a, rev, rev ? first_starting(rev) : NULL);

	return eta > 0 ? (uint32_t)fmin(ceil(eta), RETRY_AFTER_MAX_S) : 1;
}

void gate__come_again(struct waiter *w, const struct revision *rev)
{
	const struct replica *r = first_starting(rev);
	const char *stage = stage_of(rev, r);
	double eta = eta_of(w->api, rev, r);
	uint32_t seconds = gate__ready_in_s(w->api, rev);
	uint64_t done, total;
	double fetch;
	struct buf b;

	buf_init(&b, 4096);
	buf_adds(&b, "\"loading\":{\"stage\":");
	json_quote(&b, str_of(stage));
	/* How far it is by bytes only a fetch can tell. */
	if (model_set_loading(&rev->models, &done, &total, &fetch) && total)
		buf_addf(&b, ",\"bytes_done\":%llu,\"bytes_total\":%llu",
			 (unsigned long long)done, (unsigned long long)total);
	else
		buf_adds(&b, ",\"bytes_done\":null,\"bytes_total\":null");
	buf_adds(&b, ",\"eta_s\":");
	if (eta >= 0)
		buf_addf(&b, "%.3f}", eta);
	else
		buf_adds(&b, "null}");
	gate__retry_after(w, seconds);
	scale_on_promise(w->api, seconds);
	gate__fail_with(w, E_UNAVAILABLE, buf_cstr(&b),
			arena_printf(w->req->arena,
				     "'%s' has no ready replica yet (%s); come "
				     "again in %u s",
				     w->api->name, stage, seconds));
	buf_fini(&b);
}

bool gate__is_hopeless(const struct api *a, const struct revision *rev)
{
	bool other = a->want && a->want != rev &&
		     a->want->state == REVISION_UPDATING;

	return !other && revision_cannot_start(rev);
}

bool gate__rests(const struct api *a, const struct revision *rev)
{
	return gate__is_hopeless(a, rev) &&
	       (rev->blocked || revision_is_refused(rev) ||
		revision_again_ms(rev));
}

/* When it is worth coming again, where nothing is tried by itself. */
enum { BLOCKED_S = 60 };

static uint32_t refused_s(const struct revision *rev)
{
	uint64_t now = uv_now(rev->api->serve->loop);

	return (uint32_t)((rev->refused_until - now + 999) / 1000);
}

void gate__cannot_start(struct waiter *w, const struct revision *rev)
{
	const char *cause = rev->message ? rev->message : "it ends at once";
	uint32_t seconds = (uint32_t)(revision_again_ms(rev) + 999) / 1000;
	struct arena *mem = w->req->arena;
	struct api *a = w->api;
	const char *next;

	if (rev->blocked && !seconds) {
		seconds = BLOCKED_S;
		next = "mend that and deploy it again";
	} else if (revision_is_refused(rev)) {
		seconds = refused_s(rev);
		next = arena_printf(mem,
				    "it is looked at again in %u s; 'soma "
				    "explain %s' says more",
				    seconds, a->name);
	} else {
		seconds = MAX(seconds, 1u);
		next = arena_printf(mem,
				    "it is tried again in %u s; 'soma logs %s' "
				    "says more, and a deploy of what is mended "
				    "starts at once",
				    seconds, a->name);
	}
	gate__retry_after(w, seconds);
	gate__fail(w, E_UNAVAILABLE, cause,
		   arena_printf(mem, "'%s' cannot start: %s\n%s", a->name,
				cause, next));
	/* Last: it may answer others. */
	scale_on_promise(a, seconds);
}
