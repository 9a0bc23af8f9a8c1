#include "cli/progress.h"

#include <stdlib.h>
#include <string.h>

#include "cli/term.h"
#include "core/mem.h"

void progress_init(struct progress *r, yyjson_val *deployed)
{
	*r = (struct progress){
		.name = mem_strdup(json_str(deployed, "name", "?")),
		.kind = mem_strdup(json_str(deployed, "kind", "RealtimeAPI")),
		.change = mem_strdup(json_str(deployed, "change", "updated")),
		.url = mem_strdup(json_str(deployed, "url", "")),
		.revision = json_int(deployed, "revision", 0),
		.started_ms = term_now_ms(),
	};
}

static void forget(struct progress *r)
{
	for (size_t i = 0; i < r->n_replicas; i++) {
		free(r->replicas[i].id);
		free(r->replicas[i].text);
	}
	r->n_replicas = 0;
	free(mem_take(&r->cause));
	free(mem_take(&r->log));
	free(mem_take(&r->environment));
	free(mem_take(&r->models));
	free(mem_take(&r->watch));
	r->state = PROGRESS_RUNNING;
}

void progress_fini(struct progress *r)
{
	forget(r);
	free(r->replicas);
	free(r->name);
	free(r->kind);
	free(r->change);
	free(r->url);
	free(r->sample);
}

static void set(char **field, const char *text)
{
	free(*field);
	*field = mem_strdup(text);
}

static struct progress_replica *replica(struct progress *r, const char *id)
{
	struct progress_replica *x;

	for (size_t i = 0; i < r->n_replicas; i++)
		if (strcmp(r->replicas[i].id, id) == 0)
			return &r->replicas[i];
	r->replicas = mem_grow(r->replicas,
			       (r->n_replicas + 1) * sizeof *r->replicas);
	x = &r->replicas[r->n_replicas++];
	*x = (struct progress_replica){.id = mem_strdup(id)};
	return x;
}

static void drop_replica(struct progress *r, const char *id)
{
	struct progress_replica *x = replica(r, id);

	free(x->id);
	free(x->text);
	*x = r->replicas[--r->n_replicas];
}

void progress_end(struct progress *r, enum progress_state state,
		  const char *cause)
{
	r->state = state;
	r->ended_ms = term_now_ms();
	set(&r->cause, cause);
}

static void on_replica(struct progress *r, const char *type, const char *id,
		       const char *text)
{
	if (strcmp(type, "replica_exit") == 0) {
		drop_replica(r, id);
		return;
	}
	replica(r, id)->ready = strcmp(type, "replica_ready") == 0;
	set(&replica(r, id)->text,
	    strcmp(type, "replica_start") == 0 ? "starting" : text);
}

static void on_failed(struct progress *r, yyjson_val *event, const char *text)
{
	yyjson_val *log = yyjson_obj_get(event, "log");

	progress_end(r, PROGRESS_FAILED, text);
	free(mem_take(&r->log));
	if (yyjson_is_arr(log))
		r->log = json_write_val(log, NULL);
}

bool progress_event(struct progress *r, yyjson_val *event)
{
	const char *type = json_str(event, "type", "");
	const char *text = json_str(event, "text", "");
	const char *id = json_str(event, "replica", NULL);
	int64_t revision = json_int(event, "revision", 0);
	int64_t seq = json_int(event, "seq", 0);

	if (seq <= r->seq)
		return false;
	r->seq = seq;
	if (strcmp(type, "deleted") == 0 ||
	    (strcmp(type, "delete") == 0 && revision >= r->revision)) {
		progress_end(r, PROGRESS_FAILED,
			     "the api was deleted meanwhile");
		r->over = true;
		return true;
	}
	if (revision > r->revision && strcmp(type, "deploy") == 0 &&
	    r->state == PROGRESS_RUNNING) {
		progress_end(r, PROGRESS_FAILED,
			     "a later deploy of the same api took over");
		r->over = true;
		return true;
	}
	if (revision != r->revision)
		return false;
	if (strcmp(type, "deploy") == 0)
		forget(r); /* what came before was an earlier rollout of it */
	else if (strcmp(type, "env_ready") == 0)
		set(&r->environment, "ready");
	else if (strncmp(type, "env_", 4) == 0)
		set(&r->environment, text);
	else if (strncmp(type, "model_", 6) == 0)
		set(&r->models, text);
	else if (strncmp(type, "replica_", 8) == 0 && id)
		on_replica(r, type, id, text);
	else if (strcmp(type, "live") == 0)
		progress_end(r, PROGRESS_LIVE, NULL);
	else if (strcmp(type, "failed") == 0)
		on_failed(r, event, text);
	return true;
}

const char *progress_word(const struct progress *r)
{
	switch (r->state) {
	case PROGRESS_LIVE:
		return "live";
	case PROGRESS_FAILED:
		return "failed";
	case PROGRESS_RUNNING:
		break;
	}
	return "updating";
}

size_t progress_ready(const struct progress *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n_replicas; i++)
		n += r->replicas[i].ready;
	return n;
}
