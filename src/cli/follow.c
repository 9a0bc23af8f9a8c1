#include "cli/follow.h"

#include <stdlib.h>
#include <string.h>

#include "cli/term.h"
#include "core/mem.h"

/* A daemon that was killed is back in well under LOST_MS. */
enum { TURN_MS = 100, RETRY_MS = 200, LOST_MS = 20000, LOOK_MS = 1000 };

static void on_line(void *data, yyjson_val *event)
{
	struct rollout *r = data;

	r->lost_ms = 0;
	if (rollout_event(r, event))
		display_event(r->data, r, event);
}

static void connect_stream(const struct admin *ad, CURLM *multi,
			   struct rollout *r)
{
	cleanup_free char *query =
		mem_printf("/events?after=%lld&follow=1", (long long)r->seq);
	cleanup_free char *path = admin_path("apis", r->name, query);

	stream_start(&r->stream, multi, ad, path, on_line, r);
}

/* What the api is now: how many replicas it wants, and where its events may
 * not tell (`ends`), how it fares. */
static void take_in(struct rollout *r, yyjson_val *api, bool ends)
{
	const char *status = json_str(api, "status", "");
	yyjson_val *back = yyjson_obj_get(api, "rolled_back");

	r->requested = json_int(api, "requested", 0);
	if (json_int(back, "revision", 0) == r->revision)
		r->serves = json_int(back, "serves", 0);
	free(r->sample);
	r->sample = mem_strdup(json_str(api, "sample", NULL));
	if (!ends || json_int(api, "revision", 0) != r->revision)
		return;
	if (strcmp(status, "live") == 0)
		rollout_end(r, ROLLOUT_LIVE, NULL);
	else if (strcmp(status, "error") == 0)
		rollout_end(r, ROLLOUT_FAILED,
			    json_str(api, "message", "it is in error"));
}

static int look(struct admin *ad, struct rollout *r, bool ends)
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
static void look_again(struct admin *ad, struct rollout *r)
{
	cleanup_free char *path = admin_path("apis", r->name, "");
	struct answer an;
	int64_t now = term_now_ms();

	if (r->look_ms == 0 || now < r->look_ms)
		return;
	r->look_ms = now + LOOK_MS;
	if (admin_try(ad, "GET", path, NULL, &an) == CURLE_OK &&
	    an.status == 200)
		take_in(r, answer_root(&an), true);
	answer_fini(&an);
}

/* The stream ended and the rollout has not. Returns -1 to go on. */
static int on_ended(const struct admin *ad, CURLM *multi, struct rollout *r)
{
	int64_t now = term_now_ms();
	int rc = -1;

	if (r->stream.status == 404) {
		rollout_end(r, ROLLOUT_FAILED, "the api was deleted meanwhile");
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
	if (rc >= 0 || r->state != ROLLOUT_RUNNING)
		return rc;
	stream_stop(&r->stream, multi);
	usleep(RETRY_MS * 1000);
	r->look_ms = now + LOOK_MS;
	connect_stream(ad, multi, r);
	return -1;
}

static bool all_ended(const struct rollout *rollouts, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (rollouts[i].state == ROLLOUT_RUNNING)
			return false;
	return true;
}

static int watch(struct admin *ad, CURLM *multi, struct rollout *rollouts,
		 size_t n, int64_t timeout_ms, struct display *d)
{
	int64_t started = term_now_ms();
	int rc = -1;
	char took[32];

	while (rc < 0 && !all_ended(rollouts, n)) {
		streams_turn(multi, TURN_MS);
		for (size_t i = 0; rc < 0 && i < n; i++) {
			struct rollout *r = &rollouts[i];

			if (r->state == ROLLOUT_RUNNING)
				look_again(ad, r);
			if (r->stream.ended && r->state == ROLLOUT_RUNNING)
				rc = on_ended(ad, multi, r);
		}
		display_draw(d, rollouts, n, false);
		if (rc < 0 && timeout_ms > 0 &&
		    term_now_ms() > started + timeout_ms &&
		    !all_ended(rollouts, n)) {
			display_settle(d);
			rc = term_fail(CLI_FAILED,
				       "not live after %s; the rollout goes "
				       "on: 'soma get' shows it",
				       str_human_ms(timeout_ms, took));
		}
	}
	return rc < 0 ? CLI_OK : rc;
}

int follow_rollouts(struct admin *ad, struct rollout *rollouts, size_t n,
		    int64_t timeout_ms, struct display *d)
{
	CURLM *multi = curl_multi_init();
	int rc = CLI_OK;

	for (size_t i = 0; rc == CLI_OK && i < n; i++) {
		struct rollout *r = &rollouts[i];

		r->data = d;
		rc = look(ad, r, strcmp(r->change, "unchanged") == 0);
		if (rc == CLI_OK && r->state == ROLLOUT_RUNNING)
			connect_stream(ad, multi, r);
	}
	if (rc == CLI_OK)
		rc = watch(ad, multi, rollouts, n, timeout_ms, d);
	/* After a failure the last drawing stays above its message. */
	if (rc == CLI_OK)
		display_draw(d, rollouts, n, true);
	display_settle(d);
	for (size_t i = 0; i < n; i++) {
		stream_stop(&rollouts[i].stream, multi);
		/* The sample may be known only now, and who goes on serving. */
		if (rc == CLI_OK && rollouts[i].state != ROLLOUT_RUNNING)
			rc = look(ad, &rollouts[i], false);
	}
	curl_multi_cleanup(multi);
	return rc;
}
