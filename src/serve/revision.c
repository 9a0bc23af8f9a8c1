#include "serve/revision.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "core/mem.h"
#include "loop/log.h"
#include "serve/revision_parts.h"
#include "serve/serve.h"
#include "serve/swap.h"

static void on_env_line(struct environment_user *u, const char *line);
static void on_env_settled(struct environment_user *u);

struct revision *revision_create(struct api *api, int64_t number,
				 const char *spec_json, const char *project,
				 struct err *err)
{
	struct revision *rev = mem_alloc(sizeof *rev);

	list_init(&rev->link);
	list_init(&rev->replicas);
	list_init(&rev->gone);
	list_init(&rev->frozen.replicas);
	list_init(&rev->user.link);
	if (spec_from_json(&rev->set, spec_json, strlen(spec_json), err)) {
		spec_set_fini(&rev->set);
		free(rev);
		return NULL;
	}
	rev->zygote.rev = rev;
	rev->api = api;
	rev->number = number;
	rev->spec = &rev->set.specs[0];
	schedule_init(&rev->schedule, rev->spec->scale.schedule_json);
	warmup_init(&rev->warmup, rev->spec->warmup_json);
	/* As this Soma writes it: one that knows more keys than the one that
	 * kept it sees no change in that. */
	rev->spec_json = spec_to_json(rev->spec);
	rev->project = mem_strdup(project);
	rev->begun_at = uv_now(api->serve->loop);
	rev->user.on_line = on_env_line;
	rev->user.on_settled = on_env_settled;
	if (project)
		rev->project_dir = project_dir(&api->serve->blobs, project);
	model_set_init(&rev->models, rev);
	return rev;
}

void revision_free(struct revision *rev)
{
	revision__sated(rev);
	zygote_leave(&rev->zygote);
	environment_leave(&rev->user);
	environment_unref(rev->env);
	model_warm_leave(rev);
	model_set_fini(&rev->models);
	list_remove(&rev->link);
	schedule_fini(&rev->schedule);
	warmup_fini(&rev->warmup);
	spec_set_fini(&rev->set);
	free(rev->spec_json);
	free(rev->project);
	free(rev->project_dir);
	free(rev->message);
	free(rev->sample);
	free(rev->imports);
	free(rev->answer);
	free(rev->past.last_exit);
	free(rev);
}

unsigned revision_asked(const struct revision *rev)
{
	const struct scale *scale = &rev->api->scale;
	unsigned n = MAX(scale->wanted, rev->spec->scale.min_replicas);

	if (rev->leaving)
		return 0;
	n = scale->asleep ? 0 : MIN(n, rev->spec->scale.max_replicas);
	/* One that never was live has to prove that it can start. */
	return rev->state == REVISION_LIVE ? n : MAX(n, 1u);
}

unsigned revision_requested(const struct revision *rev)
{
	const struct api *a = rev->api;
	unsigned n = revision_asked(rev);

	/* One that is rolled out is whole with all of its own. */
	return rev == a->want || rev->leaving ? n : rollout_places(rev, n);
}

bool revision_names_secret(const struct revision *rev, const char *name)
{
	const struct spec *spec = rev->spec;

	for (uint32_t i = 0; i < spec->predictor.n_env; i++) {
		const char *secret = spec->predictor.env[i].from_secret;

		if (secret && strcmp(secret, name) == 0)
			return true;
	}
	return false;
}

/* Among the others, by index and number. */
static void put(struct revision *rev, struct replica *r)
{
	struct list *at = rev->replicas.prev;

	for (; at != &rev->replicas; at = at->prev) {
		const struct replica *b = LIST_ENTRY(at, struct replica, link);

		if (b->index < r->index ||
		    (b->index == r->index && b->number < r->number))
			break;
	}
	list_add_after(at, &r->link);
	api_is_busy(rev->api);
}

struct replica *revision_add(struct revision *rev, unsigned index,
			     unsigned number)
{
	struct replica *r = replica_create(rev, index, number);

	put(rev, r);
	return r;
}

struct replica *revision_find(struct revision *rev, unsigned index,
			      unsigned number)
{
	struct list *it, *tmp;

	LIST_EACH (&rev->replicas, it, tmp) {
		struct replica *r = LIST_ENTRY(it, struct replica, link);

		if (r->index == index && r->number == number)
			return r;
	}
	return NULL;
}

void revision__set_message(struct revision *rev, const char *text)
{
	free(rev->message);
	rev->message = mem_strdup(text);
}

void revision__failed(struct revision *rev, const char *replica,
		      const char *text)
{
	cleanup_free char *log = NULL;

	/* What was under way on the pool goes on, and finds that it may start
	 * nothing: that is no word on the revision. */
	if (rev->api->serve->yielded)
		return;
	revision__set_message(rev, text);
	if (rev->state != REVISION_UPDATING)
		return;
	rev->state = REVISION_FAILED;
	log = logbook_tail(&rev->api->logs, replica, 20);
	api_event(rev->api, rev->number, "failed", replica, log, "%s", text);
	api_on_failed(rev->api, rev, text);
}

/* Nothing of it can be started, until something else is done about that. */
static void block(struct revision *rev, const char *text)
{
	rev->blocked = true;
	revision__failed(rev, NULL, text);
	gate_give_up(rev->api);
}

static void on_env_line(struct environment_user *u, const char *line)
{
	struct revision *rev = CONTAINER_OF(u, struct revision, user);

	api_event(rev->api, rev->number, "env_output", NULL, NULL, "%s", line);
}

static void on_env_settled(struct environment_user *u)
{
	struct revision *rev = CONTAINER_OF(u, struct revision, user);

	rev->waiting_env = false;
	if (rev->env->state == ENVIRONMENT_READY)
		api_event(rev->api, rev->number, "env_ready", NULL, NULL,
			  "environment ready");
	else
		api_event(rev->api, rev->number, "env_failed", NULL, NULL, "%s",
			  rev->env->message);
	revision_step(rev);
}

/* Whether the environment is there; starts or awaits it, or fails. */
static bool step_environment(struct revision *rev)
{
	struct serve *s = rev->api->serve;
	struct err err = {0};

	if (!rev->env) {
		if (environment_get(&s->environments, rev->spec,
				    rev->project_dir, rev->api->uid, &rev->env,
				    &err)) {
			block(rev, err.msg);
			return false;
		}
		if (rev->env->state == ENVIRONMENT_BUILDING) {
			rev->waiting_env = true;
			rev->disk_ns = uv_hrtime();
			environment_wait(rev->env, &rev->user);
			api_event(rev->api, rev->number, "env_start", NULL,
				  NULL, "installing the environment");
		}
	}
	switch (rev->env->state) {
	case ENVIRONMENT_NONE:
	case ENVIRONMENT_READY:
		return true;
	case ENVIRONMENT_FAILED:
		block(rev, rev->env->message);
		return false;
	default:
		return false;
	}
}

/* Whether the models are there; starts or awaits them, or fails. *ret_lost:
 * they will not be. */
static bool step_models(struct revision *rev, bool *ret_lost)
{
	enum model_set_state state = model_set_step(&rev->models);
	cleanup_free char *text = NULL;

	*ret_lost = state == MODELS_MISSING;
	if (*ret_lost) {
		text = model_set_trouble(&rev->models);
		block(rev, text);
	} else if (state == MODELS_COMING && !rev->disk_ns) {
		rev->disk_ns = uv_hrtime();
	}
	return state == MODELS_THERE;
}

/* Places that may be there. Those of a revision that dies again and again
 * would die, too: one tries. */
static unsigned places_allowed(const struct revision *rev)
{
	unsigned n = rollout_places(rev, revision_requested(rev));

	return revision_is_dying(rev) ? MIN(n, revision_ready(rev) + 1) : n;
}

static void start(struct replica *r)
{
	replica_start(r);
	if (!r->rev->disk_ns)
		return;
	/* Who waits for it has waited for its environment, too. */
	r->tier = COLD_DISK;
	r->started_ns = r->rev->disk_ns;
}

/* The processes that a place lacks, or all of a new one. */
static void fill_place(struct revision *rev, unsigned index)
{
	for (unsigned p = 0; p < rev->spec->predictor.processes; p++)
		if (!revision_find(rev, index, p))
			start(revision_add(rev, index, p));
}

static bool is_taken(struct revision *rev, unsigned index)
{
	for (unsigned p = 0; p < rev->spec->predictor.processes; p++)
		if (revision_find(rev, index, p))
			return true;
	return false;
}

/* Frozen ones first: these are ready at once, and have their memory. */
static void thaw(struct revision *rev)
{
	struct replica *r;

	while (revision_places(rev) < places_allowed(rev) &&
	       (r = frozen_take(rev)))
		put(rev, r);
}

/* Not while places are made: whoever hears of it may want others. */
static void tell_of_thawed(struct revision *rev)
{
	bool any = true;

	while (any) {
		struct list *it, *tmp;

		any = false;
		LIST_EACH (&rev->replicas, it, tmp) {
			struct replica *r =
				LIST_ENTRY(it, struct replica, link);

			if (!r->thawed)
				continue;
			r->thawed = false;
			any = true;
			revision_on_ready(rev, r);
			break;
		}
	}
}

static void make_places(struct revision *rev)
{
	unsigned here = revision_places(rev), allowed = places_allowed(rev);
	unsigned missing = revision__lacking(rev, allowed - MIN(here, allowed));

	if (missing && !here)
		model_warm_start(rev);
	for (unsigned i = 0; here || missing; i++) {
		unsigned *left = is_taken(rev, i) ? &here : &missing;

		if (!*left)
			continue;
		--*left;
		fill_place(rev, i);
	}
	rev->disk_ns = 0;
}

static void end_place(struct revision *rev, unsigned index)
{
	struct replica *r;

	for (unsigned p = 0; p < rev->spec->predictor.processes; p++)
		if ((r = revision_find(rev, index, p)))
			replica_leave(r, rev->spec->grace_ms);
}

/* Too many are there: one of them is kept, or leaves. */
static void leave_place(struct revision *rev, unsigned index)
{
	if (!frozen_keep(rev, index))
		end_place(rev, index);
}

static void drop_places(struct revision *rev)
{
	unsigned index;

	while (revision_places(rev) > revision_requested(rev))
		leave_place(rev, revision__least_missed(rev));
	/* A rollout tells of all that it was to start. */
	while (rev->state == REVISION_LIVE &&
	       revision_places(rev) > places_allowed(rev) &&
	       revision__surplus(rev, &index))
		leave_place(rev, index);
}

/* All are ready that are asked for, or for which there is room. */
static bool is_whole(const struct revision *rev)
{
	unsigned ready = revision_ready(rev);

	return ready >= revision_requested(rev) ||
	       (rev->starving && ready && ready == revision_places(rev) &&
		!(rollout_is_on(rev->api) && revision_places(rev->api->live)));
}

static void check_live(struct revision *rev)
{
	bool first = rev->state == REVISION_UPDATING;
	bool was_live = rev->state == REVISION_LIVE;
	struct api *a = rev->api;

	if (rev->leaving || !is_whole(rev))
		return;
	/* It serves until another can, and is good no more. */
	if (rev->state == REVISION_FAILED && rev != a->want)
		return;
	rev->state = REVISION_LIVE;
	revision__set_message(rev, NULL);
	if (first)
		api_event(a, rev->number, "live", NULL, NULL, "live");
	api_on_live(a, rev);
	if (!was_live)
		scale_on_live(a);
}

void revision_step(struct revision *rev)
{
	bool lost, models;

	/* What is there of it stays, and nothing else is to come. */
	if (rollout_is_prior(rev))
		return;
	if (rev->leaving || rev->stepping || rev->api->serve->stopping ||
	    rev->api->serve->yielded || !rev->api->serve->loaded)
		return;
	if (rev->spec->split_json) {
		splitter_step(rev);
		return;
	}
	if (rev->spec->predictor.type != PREDICTOR_COMMAND &&
	    !rev->project_dir) {
		block(rev, "the project's files are gone from the data "
			   "directory; deploy again");
		return;
	}
	/* Both at once: the one waits for the network, the other for pip. */
	models = step_models(rev, &lost);
	if (lost || !step_environment(rev) || !models)
		return;
	rev->blocked = false;
	/* Those that end at once tell, and must not come here again. */
	rev->stepping = true;
	thaw(rev);
	make_places(rev);
	drop_places(rev);
	rev->stepping = false;
	tell_of_thawed(rev);
	if (rev->state != REVISION_LIVE)
		check_live(rev);
	zygote_step(&rev->zygote);
}

void revision_evict(struct revision *rev)
{
	/* Whoever hears of its end must not put another in its place at once:
	 * as many are wanted as are left. */
	rev->stepping = true;
	end_place(rev, revision_next_to_go(rev).index);
	rev->stepping = false;
	/* What it lacked beside that one it no longer waits for. */
	if (rev->starving)
		rev->starving_ns = uv_hrtime();
	scale_on_evicted(rev->api);
}

void revision_leave(struct revision *rev)
{
	uint32_t grace = rev->spec->grace_ms;
	struct list *it, *tmp;

	rev->leaving = true;
	revision__sated(rev);
	zygote_leave(&rev->zygote);
	if (rev->waiting_env) {
		rev->waiting_env = false;
		environment_leave(&rev->user);
	}
	model_set_leave(&rev->models);
	model_warm_leave(rev);
	/* Those that end at once must not free what this loop stands on. */
	rev->in_leave = true;
	frozen_leave(rev);
	LIST_EACH (&rev->replicas, it, tmp)
		replica_leave(LIST_ENTRY(it, struct replica, link), grace);
	rev->in_leave = false;
	revision_on_gone(rev);
}

void revision_on_loading(struct revision *rev, struct replica *r)
{
	api_event(rev->api, rev->number, "replica_loading", r->id, NULL, "%s",
		  r->detail);
}

void revision_on_ready(struct revision *rev, struct replica *r)
{
	api_event(rev->api, rev->number, "replica_ready", r->id, NULL, "ready");
	if (rev->leaving)
		return;
	rollout_look(rev->api);
	if (revision_ready(rev) == 1) {
		rev->in_ns = uv_hrtime();
		gate_lease(rev->api);
	}
	check_live(rev);
	gate_flush(rev->api);
	scale_on_ready(rev->api, r);
	rollout_step_of(rev);
}

void revision_on_exit(struct revision *rev, struct replica *r,
		      const char *cause, bool fatal)
{
	struct api *a = rev->api;
	cleanup_free char *log = logbook_tail(&a->logs, r->id, 20);

	api_event(a, rev->number, "replica_exit", r->id, log, "%s", cause);
	/* In back-off it has no memory. */
	swap_wake(a->serve);
	if (fatal)
		revision__failed(rev, r->id, cause);
	/* It may be that fewer are to try. It may end itself: r is not to be
	 * looked at any more. */
	revision_step(rev);
	gate_give_up(a);
}

void revision_on_gone(struct revision *rev)
{
	swap_wake(rev->api->serve);
	if (!rev->leaving) {
		/* It may have made room for another. */
		rollout_step_of(rev);
		return;
	}
	if (!rev->in_leave && list_empty(&rev->replicas) &&
	    list_empty(&rev->gone))
		api_on_revision_gone(rev->api, rev);
}
