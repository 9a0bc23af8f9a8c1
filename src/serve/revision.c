#include "serve/revision.h"

#include <stdio.h>
#include <string.h>

#include "core/mem.h"
#include "loop/log.h"
#include "serve/serve.h"

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
	list_init(&rev->user.link);
	if (spec_from_json(&rev->set, spec_json, strlen(spec_json), err)) {
		spec_set_fini(&rev->set);
		free(rev);
		return NULL;
	}
	rev->api = api;
	rev->number = number;
	rev->spec = &rev->set.specs[0];
	rev->spec_json = mem_strdup(spec_json);
	rev->project = mem_strdup(project);
	rev->begun_at = uv_now(api->serve->loop);
	rev->user.on_line = on_env_line;
	rev->user.on_settled = on_env_settled;
	if (project)
		rev->project_dir = project_dir(&api->serve->blobs, project);
	return rev;
}

void revision_free(struct revision *rev)
{
	environment_leave(&rev->user);
	environment_unref(rev->env);
	list_remove(&rev->link);
	spec_set_fini(&rev->set);
	free(rev->spec_json);
	free(rev->project);
	free(rev->project_dir);
	free(rev->message);
	free(rev->sample);
	free(rev);
}

unsigned revision_requested(const struct revision *rev)
{
	unsigned n = MAX(rev->spec->scale.init_replicas,
			 rev->spec->scale.min_replicas);

	/* Scale to zero has no policy yet: one is kept. */
	return rev->leaving ? 0 : MAX(n, 1u);
}

unsigned revision_ready(const struct revision *rev)
{
	unsigned ready = 0, processes = rev->spec->predictor.processes;

	for (unsigned i = 0; i < revision_requested(rev); i++) {
		unsigned n = 0;

		for (unsigned p = 0; p < processes; p++) {
			struct replica *r = revision_find(
				(struct revision *)(uintptr_t)rev, i, p);

			n += r && replica_is_ready(r);
		}
		ready += n == processes;
	}
	return ready;
}

bool revision_is_failing(const struct revision *rev)
{
	enum { AGAIN_AND_AGAIN = 3 };

	for (const struct list *it = rev->replicas.next; it != &rev->replicas;
	     it = it->next) {
		const struct replica *r = CONTAINER_OF(
			(struct list *)(uintptr_t)it, struct replica, link);

		if (r->unready >= AGAIN_AND_AGAIN)
			return true;
	}
	return false;
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

/* The rollout failed: said once, with what the replicas printed last. */
static void rollout_failed(struct revision *rev, const char *replica,
			   const char *text)
{
	cleanup_free char *log = NULL;

	free(rev->message);
	rev->message = mem_strdup(text);
	if (rev->state != REVISION_UPDATING)
		return;
	rev->state = REVISION_FAILED;
	log = logbook_tail(&rev->api->logs, replica, 20);
	api_event(rev->api, rev->number, "failed", replica, log, "%s", text);
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
			rollout_failed(rev, NULL, err.msg);
			return false;
		}
		if (rev->env->state == ENVIRONMENT_BUILDING) {
			rev->waiting_env = true;
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
		rollout_failed(rev, NULL, rev->env->message);
		return false;
	default:
		return false;
	}
}

void revision_step(struct revision *rev)
{
	unsigned processes = rev->spec->predictor.processes;

	if (rev->leaving || rev->api->serve->stopping ||
	    !rev->api->serve->loaded)
		return;
	if (rev->spec->predictor.type != PREDICTOR_COMMAND &&
	    !rev->project_dir) {
		rollout_failed(rev, NULL,
			       "the project's files are gone from the data "
			       "directory; deploy again");
		return;
	}
	if (!step_environment(rev))
		return;
	for (unsigned i = 0; i < revision_requested(rev); i++) {
		for (unsigned p = 0; p < processes; p++) {
			struct replica *r = revision_find(rev, i, p);

			if (r)
				continue;
			r = replica_create(rev, i, p);
			list_push_back(&rev->replicas, &r->link);
			replica_start(r);
		}
	}
}

void revision_leave(struct revision *rev)
{
	uint32_t grace = rev->spec->grace_ms;
	struct list *it, *tmp;

	rev->leaving = true;
	if (rev->waiting_env) {
		rev->waiting_env = false;
		environment_leave(&rev->user);
	}
	/* Those that end at once must not free what this loop stands on. */
	rev->in_leave = true;
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
	if (!rev->leaving && revision_ready(rev) == revision_requested(rev)) {
		bool first = rev->state == REVISION_UPDATING;

		rev->state = REVISION_LIVE;
		free(rev->message);
		rev->message = NULL;
		if (first)
			api_event(rev->api, rev->number, "live", NULL, NULL,
				  "live");
		api_on_live(rev->api, rev);
	}
	gate_flush(rev->api);
}

void revision_on_exit(struct revision *rev, struct replica *r,
		      const char *cause, bool fatal)
{
	cleanup_free char *log = logbook_tail(&rev->api->logs, r->id, 20);

	api_event(rev->api, rev->number, "replica_exit", r->id, log, "%s",
		  cause);
	if (fatal)
		rollout_failed(rev, r->id, cause);
}

void revision_on_gone(struct revision *rev)
{
	if (!rev->leaving) {
		revision_step(rev);
		return;
	}
	if (!rev->in_leave && list_empty(&rev->replicas) &&
	    list_empty(&rev->gone))
		api_on_revision_gone(rev->api, rev);
}
