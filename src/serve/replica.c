#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "core/mem.h"
#include "loop/log.h"
#include "policy/backoff.h"
#include "serve/memory.h"
#include "serve/replica_parts.h"
#include "serve/swap.h"
#include "serve/told.h"

enum {
	PING_MS = 5000,	   /* nothing heard for so long: asked */
	SILENT_PINGS = 25, /* ... once a second; then taken for stuck */
	STUCK_GRACE_MS = 2000,
};

static void on_timer(uv_timer_t *timer);
static void on_timer_closed(uv_handle_t *handle);
static void on_upstream_closed(struct http_upstream *up);
static void died(struct replica *r, const char *cause, bool launched,
		 uint64_t peak);

static void set_text(char **field, const char *text)
{
	free(*field);
	*field = mem_strdup(text);
}

const char *replica_state_word(const struct replica *r)
{
	static const char *const words[] = {[REPLICA_IDLE] = "starting",
					    [REPLICA_STARTING] = "starting",
					    [REPLICA_READY] = "ready",
					    [REPLICA_FROZEN] = "frozen",
					    [REPLICA_BACKOFF] = "backoff",
					    [REPLICA_DRAINING] = "draining",
					    [REPLICA_STOPPING] = "stopping",
					    [REPLICA_GONE] = "stopping"};

	/* Of the revision before the one that serves. */
	if (r->state == REPLICA_READY && rollout_is_prior(r->rev))
		return "kept";
	return words[r->state];
}

bool replica_is_ready(const struct replica *r)
{
	return r->state == REPLICA_READY && r->up_open;
}

struct replica *replica_create(struct revision *rev, unsigned index,
			       unsigned number)
{
	struct replica *r = mem_alloc(sizeof *r);

	r->rev = rev;
	r->index = index;
	r->number = number;
	r->id = number ? mem_printf("%s-%lld-%u.%u", rev->api->name,
				    (long long)rev->number, index, number)
		       : mem_printf("%s-%lld-%u", rev->api->name,
				    (long long)rev->number, index);
	r->there_ns = uv_hrtime();
	replica__room_init(r);
	list_init(&r->link);
	list_init(&r->mourners);
	uv_timer_init(rev->api->serve->loop, &r->timer);
	r->timer.data = r;
	r->timer_open = true;
	replica__inherit(r);
	return r;
}

/* ---- starting ---- */

static void watch_start(struct replica *r)
{
	if (replica__is_ours(r)) {
		uint32_t limit = r->rev->spec->predictor.start_timeout_ms;

		if (limit)
			uv_timer_start(&r->timer, on_timer, limit, 0);
		return;
	}
	replica__probe_first(r);
}

void replica_start(struct replica *r)
{
	struct err err = {0};

	/* Its last connections may have ended just now. */
	if (replica__serve(r)->yielded)
		return;
	assert(r->state == REPLICA_IDLE && !r->process && !r->up_open);
	r->state = REPLICA_STARTING;
	r->spawned_at = r->heard_at = replica__now(r);
	r->started_ns = uv_hrtime();
	r->tier = COLD_PROCESS;
	r->thawed_ns = 0;
	r->stopped = r->yielding = r->warming.over = false;
	r->yield_ns = 0;
	work_begin(&r->work, false);
	set_text(&r->detail, NULL);
	set_text(&r->failed, NULL);
	if (replica__launch(r, &err)) {
		if (r->process)
			process_signal(r->process, SIGKILL);
		else
			died(r, err.msg, false, 0);
		return;
	}
	/* Several processes of a replica are one start. */
	r->rev->api->scale.starts += !r->number;
	api_event(r->rev->api, r->rev->number, "replica_start", r->id, NULL,
		  "starting");
	watch_start(r);
}

/* Its zygote has failed it, and nothing of it was ever there: once more, from
 * its program. */
static void start_otherwise(struct replica *r, const char *cause)
{
	log_warn(LOG_F(F_S("api", r->rev->api->name), F_S("replica", r->id),
		       F_S("cause", cause)),
		 "not forked; starting it from its program");
	uv_timer_stop(&r->timer);
	r->spurned = true;
	r->state = REPLICA_IDLE;
	if (r->up_open)
		replica__close_upstream(r); /* and goes on from there */
	else
		replica_start(r);
}

void replica_adopt(struct replica *r, struct process *p, int port)
{
	struct err err = {0};

	r->process = p;
	p->ops = &replica__process_ops;
	p->data = r;
	r->port = port;
	r->state = REPLICA_STARTING;
	r->spawned_at = r->heard_at = replica__now(r);
	r->proved = true; /* the last daemon may have seen it */
	r->warming.over = process_is_warm(p);
	work_begin(&r->work, true);
	if (replica__open_upstream(r, &err)) {
		log_warn(LOG_F(F_S("replica", r->id)),
			 "cannot adopt: %s; replacing it", err.msg);
		process_signal(p, SIGKILL);
		return;
	}
	if (p->zygote) {
		/* The last daemon may have died before it let it begin; one
		 * that has begun takes no notice. */
		cleanup_free char *config = replica__config(r);

		process_send(p, FRAME_CONFIG, 0, config);
	}
	/* It may have been frozen. */
	process_signal(p, SIGCONT);
	if (replica__is_ours(r))
		process_send(p, FRAME_QUERY, 0, NULL);
	watch_start(r);
}

/* ---- becoming ready ---- */

void replica__ready(struct replica *r)
{
	uint64_t now = replica__now(r);

	/* A probe may still come back when the next daemon has asked, too. */
	if (r->state != REPLICA_STARTING || replica__serve(r)->yielded ||
	    replica__warmup_waits(r))
		return;
	uv_timer_stop(&r->timer);
	r->state = REPLICA_READY;
	r->ready_at = now;
	r->unready = 0;
	r->hopeless = false;
	work_sample(&r->work, uv_hrtime());
	set_text(&r->detail, NULL);
	log_info(LOG_F(F_S("api", r->rev->api->name), F_S("replica", r->id),
		       F_I("pid", r->process->pid),
		       F_I("took_ms", now - r->spawned_at)),
		 "replica ready");
	revision_on_ready(r->rev, r);
}

static void on_notify(struct process *p)
{
	replica__ready(p->data);
}

static void stuck(struct replica *r, const char *why)
{
	struct revision *rev = r->rev;

	if (r->state != REPLICA_READY)
		return;
	log_warn(LOG_F(F_S("api", rev->api->name), F_S("replica", r->id)),
		 "%s; replacing it", why);
	set_text(&r->last_exit, why);
	if (cold_tier_is_forked(r->tier) && !r->proved)
		zygote_blame(&rev->zygote, why, true);
	rev->api->restarts++;
	r->stuck = true;
	api_event(rev->api, rev->number, "replica_exit", r->id, NULL,
		  "%s; it is being replaced", why);
	replica_leave(r, STUCK_GRACE_MS);
	revision_step(rev);
}

static void keep(char **field, char *told)
{
	if (!told)
		return;
	free(*field);
	*field = told;
}

/* What READY says about the model. */
static void learn(struct revision *rev, struct str payload)
{
	if (payload.n <= strlen("{}"))
		return;
	keep(&rev->sample, told_sample(payload));
	keep(&rev->imports, told_imports(payload));
}

static void on_frame(struct process *p, const struct frame *f,
		     struct str payload)
{
	struct replica *r = p->data;
	char why[96];

	r->heard_at = replica__now(r);
	r->pings = 0;
	switch (f->type) {
	case FRAME_LOADING:
		if (r->state != REPLICA_STARTING || r->warming.on)
			break;
		free(r->detail);
		r->detail = told_loading(payload);
		revision_on_loading(r->rev, r);
		break;
	case FRAME_READY:
		learn(r->rev, payload);
		if (replica__proof_waits(r))
			break;
		replica__ready(r);
		if (r->state == REPLICA_READY) {
			free(r->detail);
			r->detail = told_note(payload);
			replica__proof_learn(r);
		}
		break;
	case FRAME_FAILED:
		free(r->failed);
		r->failed = told_failed(payload);
		break;
	case FRAME_STUCK:
		snprintf(why, sizeof why,
			 "a predict has been running for %u ms and cannot be "
			 "stopped",
			 f->arg);
		stuck(r, why);
		break;
	case FRAME_STAGES:
		replica__room_learn(r, payload);
		break;
	case FRAME_BATCHING:
		replica__room_batching(r, payload);
		break;
	case FRAME_SLOT_FREE:
		r->released = f->arg;
		gate_flush(r->rev->api);
		break;
	default:
		break;
	}
}

void replica_tick(struct replica *r)
{
	uint64_t now = replica__now(r);

	if (!replica__is_ours(r) || r->state != REPLICA_READY || !r->process)
		return;
	work_sample(&r->work, uv_hrtime());
	if (now - r->heard_at < PING_MS) {
		r->pings = 0;
		return;
	}
	/* Counted in questions, not in time: a daemon that was held up itself
	 * has asked nothing meanwhile. */
	if (++r->pings > SILENT_PINGS)
		stuck(r, "it has not answered its heartbeat for 30 s");
	else
		process_send(r->process, FRAME_PING, r->pings, NULL);
}

/* ---- its end ---- */

void replica__close_upstream(struct replica *r)
{
	if (!r->up_open)
		return;
	r->up_open = false;
	r->up_closing = true;
	http_upstream_close(&r->up, on_upstream_closed);
}

static void on_upstream_closed(struct http_upstream *up)
{
	struct replica *r = CONTAINER_OF(up, struct replica, up);

	r->up_closing = false;
	if (r->state == REPLICA_GONE) {
		replica__maybe_free(r);
		return;
	}
	/* A restart waited for the old connections to be gone. */
	if (r->state == REPLICA_IDLE && !r->rev->leaving)
		replica_start(r);
}

void replica__gone(struct replica *r)
{
	r->state = REPLICA_GONE;
	scale_on_gone(r->rev->api, r);
	uv_timer_stop(&r->timer);
	replica__probe_stop(r);
	list_remove(&r->link);
	revision_on_gone(r->rev);
	uv_close((uv_handle_t *)&r->timer, on_timer_closed);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct replica *r = handle->data;

	r->timer_open = false;
	replica__maybe_free(r);
}

/* Called by every part that ends; the last one frees. */
void replica__maybe_free(struct replica *r)
{
	if (r->state != REPLICA_GONE || r->timer_open || r->up_closing ||
	    r->probing || r->warming.asking || r->probe_open || r->look ||
	    r->in_flight)
		return;
	assert(!r->up_open && !r->process && list_empty(&r->mourners));
	free(r->id);
	free(r->last_exit);
	free(r->detail);
	free(r->failed);
	free(r->warming.body);
	free(r);
}

static bool ran_out(const char *cause)
{
	return strcmp(cause, PROCESS_RAN_OUT) == 0;
}

/* Whoever kills it from outside, or has no memory for it, has reasons of their
 * own. */
static bool was_ended_by_others(const char *cause)
{
	return strncmp(cause, "signal 9 ", 9) == 0 ||
	       strncmp(cause, "signal 15 ", 10) == 0 || ran_out(cause);
}

/* A fork that has answered nothing: whether that may be because it is one. What
 * it says itself, before __init__ is over, is the user's code's word. */
static bool was_bad_fork(const struct replica *r, const char *cause)
{
	if (!cold_tier_is_forked(r->tier) || r->proved)
		return false;
	if (r->failed)
		return r->tier == COLD_ZYGOTE_INIT;
	return !was_ended_by_others(cause);
}

/* peak: the memory that it had at most; 0: not known. */
static void died(struct replica *r, const char *cause, bool launched,
		 uint64_t peak)
{
	struct revision *rev = r->rev;
	struct api *a = rev->api;
	uint64_t now = replica__now(r), wait_ms;
	int64_t healthy =
		r->state == REPLICA_READY ? (int64_t)(now - r->ready_at) : 0;
	bool was_ready = r->ready_at >= r->spawned_at && r->ready_at != 0;
	bool frozen = r->state == REPLICA_FROZEN;
	bool leaving = frozen || r->state >= REPLICA_DRAINING, stepping,
	     bad_fork, fatal;
	cleanup_free char *said = NULL;

	assert(r->state != REPLICA_GONE);
	uv_timer_stop(&r->timer);
	replica__probe_stop(r);
	if (!was_ended_by_others(cause))
		replica__warmup_blame(r, cause);
	replica__warmup_end(r);
	if (r->failed)
		said = mem_strdup(r->failed);
	if (ran_out(cause)) {
		a->ran_out++;
		measure_ran_out(rev, peak);
	}
	/* First: requests that break off now are answered with it, and find
	 * that there is nothing left to stop. */
	set_text(&r->last_exit, said ? said : cause);
	if (frozen) {
		/* Nobody stands on it, and another is started if need be. */
		frozen_on_gone(r);
		api_event(a, rev->number, "replica_exit", r->id, NULL,
			  "it ended while it was frozen: %s", cause);
	}
	if (leaving)
		r->state = REPLICA_STOPPING;
	/* Requests that are queued again may ask for another number of
	 * replicas: this one is half dead, and is not chosen meanwhile. */
	stepping = rev->stepping;
	rev->stepping = true;
	replica__close_upstream(r);
	gate_on_exit(a, r, r->overdue ? r->overdue : cause);
	rev->stepping = stepping;
	if (leaving) {
		replica__gone(r);
		return;
	}
	r->failures = backoff_count(
		r->failures, healthy,
		was_ready ? (int64_t)(r->ready_at - r->spawned_at) : 0);
	r->restarts++;
	a->restarts++;
	if (was_ready && !was_ended_by_others(cause))
		rollout_died(rev, r->last_exit);
	if (!was_ready)
		r->unready++;
	bad_fork = was_bad_fork(r, cause);
	if (bad_fork)
		zygote_blame(&rev->zygote, r->last_exit, was_ready);
	fatal = said || !launched;
	r->hopeless = !was_ready &&
		      ((fatal && !bad_fork) || r->unready >= REPLICA_TRIES);
	r->state = REPLICA_BACKOFF;
	wait_ms =
		(uint64_t)backoff_wait_ms(r->failures, serve_random(a->serve));
	r->again_at = now + wait_ms;
	uv_timer_start(&r->timer, on_timer, wait_ms, 0);
	log_warn(LOG_F(F_S("api", a->name), F_S("replica", r->id),
		       F_S("cause", r->last_exit),
		       F_I("failures", r->failures)),
		 "replica died");
	if (fatal || r->unready < REPLICA_TRIES) {
		revision_on_exit(rev, r, r->last_exit, fatal);
		return;
	}
	said = mem_printf("it ended %u times before it was ready, the last "
			  "time by %s; its last lines and 'soma logs %s' may "
			  "say why",
			  r->unready, cause, a->name);
	revision_on_exit(rev, r, said, true);
}

static void on_line(struct process *p, struct str line, struct str request_id)
{
	struct replica *r = p->data;

	logbook_add(&r->rev->api->logs, r->id, request_id, line);
	process_pause_log(p, r->rev->api->logs.file.full);
}

static void on_process_gone(struct process *p, const char *cause, bool launched)
{
	struct replica *r = p->data;

	r->process = NULL;
	r->elders = r->elders_placed = 0;
	r->released = 0;
	r->rev->api->lost_ns += work_running_ns(&r->work, uv_hrtime());
	work_begin(&r->work, false);
	if ((p->unborn || r->spurned) && r->state == REPLICA_STARTING)
		start_otherwise(r, cause);
	else
		died(r, cause, launched || p->unborn, p->peak);
	process_close(p);
}

const struct process_ops replica__process_ops = {
	.on_line = on_line,
	.on_frame = on_frame,
	.on_notify = on_notify,
	.on_exit = on_process_gone,
};

/* Its start has taken too long: what it was waiting for, for people. */
void replica__too_slow(struct replica *r)
{
	uint32_t limit = r->rev->spec->predictor.start_timeout_ms;
	const char *path = r->rev->spec->predictor.readiness_path;
	cleanup_free char *at = replica__warmup_at(r);
	char after[32];

	free(r->failed);
	str_human_ms(limit, after);
	if (at)
		r->failed = mem_printf("%s was not answered: it was not ready "
				       "within %s (start_timeout)",
				       at, after);
	else if (replica__is_ours(r))
		r->failed = mem_printf("it was not ready within %s "
				       "(start_timeout), the last step: %s",
				       after, r->detail ? r->detail : "none");
	else if (r->detail)
		r->failed = mem_printf("it was not ready within %s "
				       "(start_timeout): %s",
				       after, r->detail);
	else if (path)
		r->failed = mem_printf("GET %s on its $PORT (here %d) was not "
				       "answered with 2xx or 3xx within %s "
				       "(readiness_path, start_timeout)",
				       path, r->port, after);
	else
		r->failed = mem_printf(
			"nothing listened on its $PORT (here "
			"%d) within %s (start_timeout). " REPLICA_LISTEN,
			r->port, after);
	if (cold_tier_is_forked(r->tier))
		zygote_blame(&r->rev->zygote, r->failed, false);
	process_signal(r->process, SIGKILL);
}

static bool may_start_again(const struct replica *r)
{
	return memory_fits_again(r->rev) && swap_allows_again(r->rev);
}

static void on_timer(uv_timer_t *timer)
{
	struct replica *r = timer->data;

	if (r->state == REPLICA_STARTING) {
		replica__too_slow(r);
	} else if (r->state == REPLICA_BACKOFF && !may_start_again(r)) {
		replica_give_way(r);
	} else if (r->state == REPLICA_BACKOFF) {
		r->state = REPLICA_IDLE;
		if (!r->up_closing)
			replica_start(r);
	}
}
