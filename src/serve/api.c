#include "serve/api.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/json.h"
#include "core/mem.h"
#include "loop/log.h"
#include "serve/model_pin.h"
#include "serve/seen.h"
#include "serve/serve.h"

enum { EVENT_LINES = 500, EVENT_BYTES = 1 << 20, EVENT_MAX = 64 * 1024 };

static void on_log_full(struct logfile *f, bool full)
{
	struct api *a = CONTAINER_OF(f, struct api, logs.file);
	struct list *rit, *rtmp, *it, *tmp;

	/* Output that the disk cannot take yet stays in the replicas' pipes. */
	LIST_EACH (&a->revisions, rit, rtmp) {
		struct revision *rev = LIST_ENTRY(rit, struct revision, link);

		LIST_EACH (&rev->replicas, it, tmp) {
			struct replica *r =
				LIST_ENTRY(it, struct replica, link);

			if (r->process)
				process_pause_log(r->process, full);
		}
		LIST_EACH (&rev->gone, it, tmp) {
			struct replica *r =
				LIST_ENTRY(it, struct replica, link);

			if (r->process)
				process_pause_log(r->process, full);
		}
	}
}

struct api *api_create(struct serve *s, const char *name, uid_t uid)
{
	struct api *a = mem_alloc(sizeof *a);

	a->serve = s;
	a->name = mem_strdup(name);
	a->uid = uid;
	list_init(&a->busy);
	list_init(&a->revisions);
	gate_init(&a->gate);
	feed_init(&a->events, EVENT_LINES, EVENT_BYTES);
	logbook_init(&a->logs, s->loop, s->data_dir, name);
	a->logs.file.on_full = on_log_full;
	return a;
}

static void on_logs_closed(struct logbook *b)
{
	struct api *a = CONTAINER_OF(b, struct api, logs);

	feed_fini(&a->events);
	free(a->name);
	free(a->endpoint);
	free(a->broken);
	free(a->ramp_kept);
	free(a);
}

void api_free(struct api *a)
{
	list_remove(&a->busy);
	gate_fini(&a->gate);
	history_fini(&a->history);
	rollout_fini(&a->rollout);
	scale_fini(a);
	splitter_free(a->splitter);
	logbook_close(&a->logs, on_logs_closed);
}

void api_is_busy(struct api *a)
{
	if (!list_empty(&a->busy))
		return;
	list_push_back(&a->serve->busy, &a->busy);
	serve_is_busy(a->serve);
}

static void route(struct api *a, const char *endpoint)
{
	struct serve *s = a->serve;

	if (a->endpoint && map_get(&s->routes, a->endpoint) == a)
		map_del(&s->routes, a->endpoint);
	free(a->endpoint);
	a->endpoint = mem_strdup(endpoint);
	if (endpoint)
		map_set(&s->routes, endpoint, a);
}

void api_want(struct api *a, struct revision *rev, int64_t updated_ms)
{
	struct revision *old = a->want;
	/* A splitter is live within its step, and the old one gone then. */
	bool was_live = old && old == a->live;

	list_push_back(&a->revisions, &rev->link);
	/* Who is watched is not what is asked for any more. */
	rollout_drop_prior(a);
	a->want = rev;
	a->updated_ms = updated_ms;
	if (a->live)
		measure_guess(rev, a->live);
	/* While an older one serves, it serves where it did. */
	if (!a->live)
		route(a, rev->spec->endpoint);
	scale_begin(a);
	/* First, so that an environment they share stays in use. */
	rollout_step_of(rev);
	/* One that never was live has nothing to hand over. */
	if (old && !was_live) {
		if (old->state == REVISION_UPDATING)
			api_event(a, old->number, "failed", NULL, NULL,
				  "replaced by revision %lld before it was "
				  "live",
				  (long long)rev->number);
		revision_leave(old);
	}
}

void api_restore_live(struct api *a, struct revision *rev)
{
	list_push_front(&a->revisions, &rev->link);
	a->live = rev;
	route(a, rev->spec->endpoint);
}

struct revision *api_revision(struct api *a, int64_t number)
{
	struct list *it, *tmp;

	LIST_EACH (&a->revisions, it, tmp) {
		struct revision *rev = LIST_ENTRY(it, struct revision, link);

		if (rev->number == number)
			return rev;
	}
	return NULL;
}

void api_on_live(struct api *a, struct revision *rev)
{
	struct revision *old = a->live;

	if (rev != a->want || old == rev)
		return;
	a->live = rev;
	history_live(a, rev->number);
	route(a, rev->spec->endpoint);
	if (old && !rollout_keep_prior(a, old))
		revision_leave(old);
}

void api_on_failed(struct api *a, struct revision *rev, const char *why)
{
	bool back = a->live && a->live != rev && rev == a->want;

	history_failed(a, rev->number, why, back ? a->live->number : 0);
	/* The tick does it. */
	if (back)
		api_is_busy(a);
}

void api_step_back(struct api *a)
{
	struct revision *rev = a->want;

	if (!rev || rev->state != REVISION_FAILED || !a->live ||
	    a->live == rev || a->deleting || a->serve->stopping)
		return;
	api_event(a, rev->number, "rolled_back", NULL, NULL,
		  "revision %lld goes on serving; this one is given up",
		  (long long)a->live->number);
	a->want = a->live;
	scale_begin(a);
	revision_leave(rev);
	/* It had been made smaller for the other, or none of it was to start.
	 */
	revision_step(a->live);
}

void api_on_revision_gone(struct api *a, struct revision *rev)
{
	if (a->live == rev)
		a->live = NULL;
	if (a->want == rev)
		a->want = NULL;
	if (a->rollout.prior == rev)
		a->rollout.prior = NULL;
	/* At a stop they are for the next daemon. */
	if (!a->serve->stopping && rev->models.n)
		pins_remove(rev);
	revision_free(rev);
	serve_collect_garbage(a->serve);
}

void api_delete(struct api *a)
{
	struct list *it, *tmp;

	a->deleting = true;
	api_is_busy(a);
	route(a, NULL);
	gate_end(a);
	/* It ends with the others. */
	a->rollout.prior = NULL;
	LIST_EACH (&a->revisions, it, tmp) {
		struct revision *rev = LIST_ENTRY(it, struct revision, link);

		if (!rev->leaving)
			revision_leave(rev);
	}
}

void api_event(struct api *a, int64_t revision, const char *type,
	       const char *replica, const char *log_json, const char *fmt, ...)
{
	struct store_event e = {.api = a->name,
				.seq = a->events.last_seq + 1,
				.time_ms = log_now_ms(),
				.revision = revision,
				.type = type,
				.replica = replica,
				.log_json = log_json};
	cleanup_free char *text = NULL;
	va_list args;

	/* Who follows is to hear of it from the daemon that serves. */
	if (a->serve->yielded)
		return;
	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		text = NULL;
	va_end(args);
	e.text = text ? text : "";
	event_add(&a->events, &e);
	/* An installer may say thousands of lines, and a fetch one a second:
	 * for followers only. */
	if (strcmp(type, "env_output") != 0 &&
	    strcmp(type, "model_fetching") != 0)
		store_add_event(a->serve->store, &e);
}

void event_add(struct feed *feed, const struct store_event *e)
{
	char time[32];
	struct buf b;

	buf_init(&b, EVENT_MAX);
	log_time(e->time_ms, time);
	buf_addf(&b, "{\"seq\":%lld,\"time\":\"%s\",\"revision\":%lld",
		 (long long)e->seq, time, (long long)e->revision);
	buf_addf(&b, ",\"type\":\"%s\",\"replica\":", e->type);
	if (e->replica)
		json_quote(&b, str_of(e->replica));
	else
		buf_adds(&b, "null");
	buf_adds(&b, ",\"text\":");
	json_quote(&b, str_of(e->text));
	if (e->log_json && b.len + strlen(e->log_json) + 16 < EVENT_MAX)
		buf_addf(&b, ",\"log\":%s", e->log_json);
	buf_addc(&b, '}');
	if (!b.full)
		feed_add_seq(feed, e->seq, buf_cstr(&b), b.len);
	buf_fini(&b);
}

const char *api_status(const struct api *a, const char **ret_message)
{
	const struct revision *rev = a->want;
	unsigned ready;

	*ret_message = a->broken;
	if (a->deleting)
		return "deleting";
	if (!rev)
		return a->broken ? "error" : "updating";
	*ret_message = rev->message;
	ready = revision_ready(rev);
	if (ready >= revision_requested(rev))
		return "live";
	if (rev->state == REVISION_FAILED || revision_is_failing(rev) ||
	    revision_cannot_start(rev))
		return "error";
	/* That more are on their way, or the first of none, is no update. */
	return rev->state == REVISION_LIVE &&
			       ready >= rev->spec->scale.min_replicas
		       ? "live"
		       : "updating";
}

static void put_null_or(yyjson_mut_doc *doc, yyjson_mut_val *obj,
			const char *key, const char *text)
{
	if (text)
		yyjson_mut_obj_add_strcpy(doc, obj, key, text);
	else
		yyjson_mut_obj_add_null(doc, obj, key);
}

/* Below 0: not known. */
static void put_share(yyjson_mut_doc *doc, yyjson_mut_val *obj, const char *key,
		      double share)
{
	if (share >= 0)
		yyjson_mut_obj_add_real(doc, obj, key, share);
	else
		yyjson_mut_obj_add_null(doc, obj, key);
}

static yyjson_mut_val *put_process(yyjson_mut_doc *doc, yyjson_mut_val *arr,
				   const struct replica *r)
{
	yyjson_mut_val *o = yyjson_mut_arr_add_obj(doc, arr);

	yyjson_mut_obj_add_strcpy(doc, o, "id", r->id);
	yyjson_mut_obj_add_int(doc, o, "pid", r->process ? r->process->pid : 0);
	return o;
}

static void put_replicas(yyjson_mut_doc *doc, yyjson_mut_val *arr,
			 const struct list *replicas, uint64_t now)
{
	const struct replica *r = NULL;

	while ((r = replica_next(replicas, r))) {
		yyjson_mut_val *o = put_process(doc, arr, r);

		yyjson_mut_obj_add_strcpy(doc, o, "state",
					  replica_state_word(r));
		yyjson_mut_obj_add_str(doc, o, "tier", cold_tier_word(r->tier));
		yyjson_mut_obj_add_uint(doc, o, "in_flight", r->in_flight);
		yyjson_mut_obj_add_uint(doc, o, "restarts", r->restarts);
		yyjson_mut_obj_add_uint(
			doc, o, "uptime_ms",
			r->state == REPLICA_READY ? now - r->ready_at : 0);
		put_share(doc, o, "busy", seen_busy(r));
		put_null_or(doc, o, "last_exit", r->last_exit);
		put_null_or(doc, o, "detail", r->detail);
		batching_put(doc, o, &r->batching, r->rev->spec);
	}
}

static void put_frozen(yyjson_mut_doc *doc, yyjson_mut_val *arr,
		       const struct frozen *f)
{
	const struct replica *r = NULL;

	while ((r = replica_next(&f->replicas, r))) {
		yyjson_mut_val *o = put_process(doc, arr, r);

		yyjson_mut_obj_add_bool(doc, o, "stopped", r->stopped);
		yyjson_mut_obj_add_uint(doc, o, "bytes", f->bytes);
	}
}

static void put_environment(yyjson_mut_doc *doc, yyjson_mut_val *root,
			    const struct environment *env)
{
	static const char *const words[] = {"none", "building", "ready",
					    "failed"};
	yyjson_mut_val *o = yyjson_mut_obj_add_obj(doc, root, "environment");

	yyjson_mut_obj_add_str(doc, o, "state",
			       env ? words[env->state] : "none");
	put_null_or(doc, o, "hash", env ? env->hash : NULL);
	put_null_or(doc, o, "message", env ? env->message : NULL);
}

/* A command line to begin with. */
static char *sample_of(const struct api *a)
{
	const struct spec *spec = a->want->spec;
	const char *json = a->want->sample ? a->want->sample : "{}";
	struct buf b;

	buf_init(&b, 1 << 20);
	buf_addf(&b, "curl %s%s", a->serve->data_url, spec->endpoint);
	if (spec->split_json) {
		buf_adds(&b, " -H 'Content-Type: application/json' -d '{}'");
	} else if (spec->predictor.type == PREDICTOR_COMMAND) {
		buf_addc(&b, '/');
	} else if (spec->predictor.type != PREDICTOR_ENGINE ||
		   a->want->sample) {
		/* Without a sample a GET tells what an engine takes. */
		buf_adds(&b, " -H 'Content-Type: application/json' -d '");
		for (; *json; json++) {
			if (*json == '\'')
				buf_adds(&b, "'\\''");
			else
				buf_addc(&b, *json);
		}
		buf_addc(&b, '\'');
	}
	return buf_take(&b, NULL);
}

static void put_traffic(yyjson_mut_doc *doc, yyjson_mut_val *root,
			const struct api *a)
{
	yyjson_mut_val *o = yyjson_mut_obj_add_obj(doc, root, "requests");

	yyjson_mut_obj_add_uint(doc, o, "2xx", a->stats.codes[2]);
	yyjson_mut_obj_add_uint(doc, o, "4xx", a->stats.codes[4]);
	yyjson_mut_obj_add_uint(doc, o, "5xx", a->stats.codes[5]);
	o = yyjson_mut_obj_add_obj(doc, root, "latency_ms");
	yyjson_mut_obj_add_real(doc, o, "avg", stats_mean_ms(&a->stats));
	yyjson_mut_obj_add_real(doc, o, "p50",
				stats_quantile_ms(&a->stats, 0.5));
	yyjson_mut_obj_add_real(doc, o, "p99",
				stats_quantile_ms(&a->stats, 0.99));
}

static void put_slots(yyjson_mut_doc *doc, yyjson_mut_val *root,
		      const struct api *a)
{
	const struct seen seen = seen_of(a);
	yyjson_mut_val *o = yyjson_mut_obj_add_obj(doc, root, "stages");

	for (unsigned i = 0; i < SEEN_STAGES; i++)
		if (seen_has_stage(a, i))
			yyjson_mut_obj_add_uint(doc, o, seen_words[i],
						seen.stages[i]);
	if (seen_has_slots(a)) {
		o = yyjson_mut_obj_add_obj(doc, root, "slots");
		yyjson_mut_obj_add_uint(doc, o, "count", seen.slots);
		put_share(doc, o, "busy", seen.busy);
		yyjson_mut_obj_add_uint(doc, o, "window_s", WORK_SECONDS);
	} else {
		yyjson_mut_obj_add_null(doc, root, "slots");
	}
	if (seen_has_batches(a)) {
		o = yyjson_mut_obj_add_obj(doc, root, "batches");
		yyjson_mut_obj_add_uint(doc, o, "count", a->done.calls);
		put_share(doc, o, "mean",
			  a->done.calls ? (double)a->done.requests /
						  (double)a->done.calls
					: -1);
	} else {
		yyjson_mut_obj_add_null(doc, root, "batches");
	}
}

/* What runs it, by the word of soma.yaml: an ONNXPredictor is python. */
static const char *predictor_word(const struct spec *spec)
{
	if (spec->split_json)
		return "splitter";
	switch (spec->predictor.type) {
	case PREDICTOR_COMMAND:
		return "command";
	case PREDICTOR_ENGINE:
		return strcmp(spec->predictor.engine, "onnx") == 0 ? "onnx"
								   : "engine";
	default:
		return "python";
	}
}

char *api_json(const struct api *a)
{
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc), *arr, *frozen;
	const struct revision *rev = a->want;
	cleanup_free char *url = NULL, *sample = NULL;
	const char *message, *status = api_status(a, &message);
	char time[32];

	yyjson_mut_doc_set_root(doc, root);
	log_time(a->updated_ms, time);
	yyjson_mut_obj_add_strcpy(doc, root, "name", a->name);
	yyjson_mut_obj_add_str(doc, root, "kind",
			       rev ? rev->spec->kind : "RealtimeAPI");
	yyjson_mut_obj_add_str(doc, root, "predictor",
			       rev ? predictor_word(rev->spec) : "python");
	yyjson_mut_obj_add_int(doc, root, "revision", rev ? rev->number : 0);
	yyjson_mut_obj_add_str(doc, root, "status", status);
	put_null_or(doc, root, "message", message);
	history_put(a, doc, root);
	rollout_put(a, doc, root);
	yyjson_mut_obj_add_uint(doc, root, "requested",
				rev ? revision_requested(rev) : 0);
	yyjson_mut_obj_add_uint(doc, root, "ready",
				rev ? revision_ready(rev) : 0);
	yyjson_mut_obj_add_uint(doc, root, "loading",
				rev ? revision_places(rev) - revision_ready(rev)
				    : 0);
	if (rev) {
		url = mem_printf("%s%s", a->serve->data_url,
				 rev->spec->endpoint);
		sample = sample_of(a);
	}
	put_null_or(doc, root, "url", url);
	put_null_or(doc, root, "endpoint", a->endpoint);
	yyjson_mut_obj_add_strcpy(doc, root, "updated", time);
	yyjson_mut_obj_add_uint(doc, root, "in_flight", a->gate.in_flight);
	yyjson_mut_obj_add_uint(doc, root, "queued", a->gate.queued);
	put_traffic(doc, root, a);
	put_slots(doc, root, a);
	scale_put(doc, root, a);
	if (rev && rev->measure.bytes)
		yyjson_mut_obj_add_uint(doc, root, "replica_bytes",
					rev->measure.bytes);
	else
		yyjson_mut_obj_add_null(doc, root, "replica_bytes");
	swap_put(doc, root, a);
	yyjson_mut_obj_add_uint(doc, root, "restarts", a->restarts);
	put_environment(doc, root, rev ? rev->env : NULL);
	if (rev)
		model_set_put(&rev->models, doc, root);
	else
		yyjson_mut_obj_add_arr(doc, root, "models");
	if (rev)
		zygote_put(&rev->zygote, doc, root, "zygote");
	else
		yyjson_mut_obj_add_null(doc, root, "zygote");
	arr = yyjson_mut_obj_add_arr(doc, root, "replicas");
	frozen = yyjson_mut_obj_add_arr(doc, root, "frozen");
	for (const struct list *it = a->revisions.next; it != &a->revisions;
	     it = it->next) {
		const struct revision *each = CONTAINER_OF(
			(struct list *)(uintptr_t)it, struct revision, link);

		put_replicas(doc, arr, &each->replicas, uv_now(a->serve->loop));
		put_replicas(doc, arr, &each->gone, uv_now(a->serve->loop));
		put_frozen(doc, frozen, &each->frozen);
	}
	put_null_or(doc, root, "sample", sample);
	splitter_put(doc, root, a);
	return json_write(doc, NULL);
}
