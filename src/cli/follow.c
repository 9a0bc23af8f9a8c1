#include "cli/follow.h"

#include <stdlib.h>
#include <string.h>

#include "cli/term.h"
#include "core/mem.h"

/* A daemon that was killed is back in well under LOST_MS. */
enum {
	TURN_MS = 100,
	RETRY_MS = 200,
	LOST_MS = 20000,
	LOOK_MS = 1000,
	QUIET_MS = 3000, /* without a request a watch has nothing to see */
};

static void on_line(void *data, yyjson_val *event)
{
	struct progress *r = data;

	r->lost_ms = 0;
	if (progress_event(r, event))
		display_event(r->data, r, event);
}

static void connect_stream(const struct admin *ad, CURLM *multi,
			   struct progress *r)
{
	cleanup_free char *query =
		mem_printf("/events?after=%lld&follow=1", (long long)r->seq);
	cleanup_free char *path = admin_path("apis", r->name, query);

	stream_start(&r->stream, multi, ad, path, on_line, r);
}

/* A new revision that is live is watched against the one before; as long as
 * requests come that is worth waiting for. */
static void take_watch(struct progress *r, yyjson_val *api)
{
	yyjson_val *w = yyjson_obj_get(api, "watch");
	int64_t requests = json_int(w, "requests", 0), now = term_now_ms();
	double per_s = yyjson_get_num(yyjson_obj_get(w, "per_s"));
	char left[32];

	free(mem_take(&r->watch));
	if (r->state != PROGRESS_LIVE)
		return;
	if (requests != r->watched || !r->quiet_ms)
		r->quiet_ms = now + QUIET_MS;
	r->watched = requests;
	if (json_int(w, "revision", 0) != r->revision || per_s <= 0 ||
	    now >= r->quiet_ms)
		return;
	r->watch = mem_printf("%lld requests, %lld failed; %s left",
			      (long long)requests,
			      (long long)json_int(w, "failed", 0),
			      str_human_ms(json_int(w, "left_ms", 0), left));
}

/* What the api is now: how many replicas it wants, and where its events may
 * not tell (`ends`), how it fares. */
static void take_in(struct progress *r, yyjson_val *api, bool ends)
{
	const char *status = json_str(api, "status", "");
	yyjson_val *back = yyjson_obj_get(api, "rolled_back");

	r->requested = json_int(api, "requested", 0);
	take_watch(r, api);
	if (json_int(back, "revision", 0) == r->revision)
		r->serves = json_int(back, "serves", 0);
	free(r->sample);
	r->sample = mem_strdup(json_str(api, "sample", NULL));
	if (!ends || json_int(api, "revision", 0) != r->revision)
		return;
	if (strcmp(status, "live") == 0)
		progress_end(r, PROGRESS_LIVE, NULL);
	else if (strcmp(status, "error") == 0)
		progress_end(r, PROGRESS_FAILED,
			     json_str(api, "message", "it is in error"));
}

static int look(struct admin *ad, struct progress *r, bool ends)
{
	cleanup_free char *path = admin_path("apis", r->name, "");
	struct answer an;
	int rc = admin_call(ad, "GET", path, NULL, &an);

	if (rc != CLI_OK)
		return rc;
	take_in(r, answer_root(&an), ends);
	answer_fini(&an);
	return CLI_OK;
}

/* A daemon that was started again while the rollout ran may see only its end
 * state: from then on that is asked for now and then. */
static void look_again(struct admin *ad, struct progress *r)
{
	cleanup_free char *path = admin_path("apis", r->name, "");
	struct answer an;
	int64_t now = term_now_ms();

	if ((r->look_ms == 0 && !r->watch) || now < r->look_ms)
		return;
	r->look_ms = now + LOOK_MS;
	if (admin_try(ad, "GET", path, NULL, &an) == CURLE_OK &&
	    an.status == 200)
		take_in(r, answer_root(&an), r->state == PROGRESS_RUNNING);
	answer_fini(&an);
}

/* Nothing is to be expected of it any more. */
static bool has_ended(const struct progress *r)
{
	return r->state != PROGRESS_RUNNING && !r->watch;
}

/* The stream ended and the rollout has not. Returns -1 to go on. */
static int on_ended(const struct admin *ad, CURLM *multi, struct progress *r)
{
	int64_t now = term_now_ms();
	int rc = -1;

	if (r->stream.status == 404) {
		progress_end(r, PROGRESS_FAILED,
			     "the api was deleted meanwhile");
		r->over = true;
	} else if (r->stream.status >= 300) {
		display_settle(r->data);
		rc = term_fail(CLI_FAILED,
			       "%s answered with status %ld to 'events of %s'",
			       ad->url, r->stream.status, r->name);
	} else if (r->lost_ms == 0) {
		r->lost_ms = now;
	} else if (now > r->lost_ms + LOST_MS) {
		display_settle(r->data);
		rc = admin_unreachable(ad, r->stream.curl, r->stream.result,
				       r->stream.detail);
	}
	if (rc >= 0 || has_ended(r))
		return rc;
	stream_stop(&r->stream, multi);
	usleep(RETRY_MS * 1000);
	r->look_ms = now + LOOK_MS;
	connect_stream(ad, multi, r);
	return -1;
}

static bool all_ended(const struct progress *rollouts, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!has_ended(&rollouts[i]))
			return false;
	return true;
}

/* Returns -1 to go on. */
static int turn(struct admin *ad, CURLM *multi, struct progress *r,
		bool watches)
{
	int rc = CLI_OK;

	if (!has_ended(r))
		look_again(ad, r);
	if (r->stream.ended && !has_ended(r))
		return on_ended(ad, multi, r);
	/* It has just become live. */
	if (r->state == PROGRESS_LIVE && !r->quiet_ms && watches &&
	    strcmp(r->change, "unchanged") != 0)
		rc = look(ad, r, false);
	return rc == CLI_OK ? -1 : rc;
}

static bool any_running(const struct progress *rollouts, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (rollouts[i].state == PROGRESS_RUNNING)
			return true;
	return false;
}

static int watch(struct admin *ad, CURLM *multi, struct progress *rollouts,
		 size_t n, int64_t timeout_ms, bool watches, struct display *d)
{
	int64_t started = term_now_ms();
	int rc = -1;
	char took[32];

	while (rc < 0 && !all_ended(rollouts, n)) {
		streams_turn(multi, TURN_MS);
		for (size_t i = 0; rc < 0 && i < n; i++)
			rc = turn(ad, multi, &rollouts[i], watches);
		display_draw(d, rollouts, n, false);
		if (rc < 0 && timeout_ms > 0 &&
		    term_now_ms() > started + timeout_ms) {
			if (!any_running(rollouts, n))
				break;
			display_settle(d);
			rc = term_fail(CLI_FAILED,
				       "not live after %s; the rollout goes "
				       "on: 'soma get' shows it",
				       str_human_ms(timeout_ms, took));
		}
	}
	return rc < 0 ? CLI_OK : rc;
}

int follow_rollouts(struct admin *ad, struct progress *rollouts, size_t n,
		    int64_t timeout_ms, bool watches, struct display *d)
{
	CURLM *multi = curl_multi_init();
	int rc = CLI_OK;

	for (size_t i = 0; rc == CLI_OK && i < n; i++) {
		struct progress *r = &rollouts[i];

		r->data = d;
		rc = look(ad, r, strcmp(r->change, "unchanged") == 0);
		if (rc == CLI_OK && r->state == PROGRESS_RUNNING)
			connect_stream(ad, multi, r);
	}
	if (rc == CLI_OK)
		rc = watch(ad, multi, rollouts, n, timeout_ms, watches, d);
	/* After a failure the last drawing stays above its message. */
	if (rc == CLI_OK)
		display_draw(d, rollouts, n, true);
	display_settle(d);
	for (size_t i = 0; i < n; i++) {
		stream_stop(&rollouts[i].stream, multi);
		/* The sample may be known only now, and who goes on serving. */
		if (rc == CLI_OK && rollouts[i].state != PROGRESS_RUNNING)
			rc = look(ad, &rollouts[i], false);
	}
	curl_multi_cleanup(multi);
	return rc;
}
