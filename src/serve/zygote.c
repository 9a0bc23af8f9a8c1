#include "serve/zygote.h"

#include <signal.h>
#include <string.h>

#include "core/json.h"
#include "core/mem.h"
#include "loop/log.h"
#include "policy/backoff.h"
#include "serve/replica_parts.h"
#include "serve/told.h"

/* A fork takes milliseconds; one that is not made within this is not waited
 * for: its requests are better served by a process. */
enum { FORK_PATIENCE_MS = 2000, BAD_FORKS = 2 };

static const struct process_ops zygote_ops;

/* Where it stands at that level, for people. */
static const char *place(const struct zygote *z, enum zygote_level level)
{
	static const char *const words[] = {
		[ZYGOTE_INIT] = "after __init__",
		[ZYGOTE_IMPORTS] = "after the imports",
		[ZYGOTE_WORKER] = "after the start of the interpreter",
	};

	return z->rev->spec->predictor.type == PREDICTOR_ENGINE
		       ? "with the model loaded"
		       : words[level];
}

const char *zygote_level_word(enum zygote_level level)
{
	static const char *const words[] = {
		[ZYGOTE_AUTO] = "auto",	      [ZYGOTE_INIT] = "init",
		[ZYGOTE_IMPORTS] = "imports", [ZYGOTE_WORKER] = "worker",
		[ZYGOTE_NONE] = "none",
	};

	return words[level];
}

static uint64_t now_of(const struct zygote *z)
{
	return uv_now(z->rev->api->serve->loop);
}

static void move(struct zygote *z, enum zygote_state state)
{
	z->state = state;
	z->since = now_of(z);
	api_is_busy(z->rev->api);
}

/* The level that the next one is to load to. */
static enum zygote_level level_of(const struct zygote *z)
{
	const struct spec *spec = z->rev->spec;

	if (spec->predictor.type == PREDICTOR_COMMAND)
		return ZYGOTE_NONE;
	if (z->level != ZYGOTE_AUTO)
		return z->level;
	if (spec->predictor.zygote == ZYGOTE_NONE)
		return ZYGOTE_NONE;
	/* Without Python there is one level. */
	if (spec->predictor.zygote != ZYGOTE_AUTO)
		return spec->predictor.type == PREDICTOR_ENGINE
			       ? ZYGOTE_INIT
			       : spec->predictor.zygote;
	return spec->scale.min_replicas ? ZYGOTE_NONE : ZYGOTE_INIT;
}

/* Not before the revision has shown that it can be loaded, and not of one that
 * is on its way out. */
static bool is_wanted(const struct zygote *z)
{
	const struct revision *rev = z->rev;

	return rev->state == REVISION_LIVE && !rev->leaving &&
	       rev == rev->api->want && !rev->api->serve->stopping &&
	       level_of(z) != ZYGOTE_NONE;
}

static bool has_environment(const struct revision *rev)
{
	return rev->env && (rev->env->state == ENVIRONMENT_NONE ||
			    rev->env->state == ENVIRONMENT_READY);
}

/* As logs and CONFIG name it; free() it. */
static char *id_of(const struct zygote *z)
{
	return mem_printf("%s-%lld-zygote", z->rev->api->name,
			  (long long)z->rev->number);
}

static void tell(const struct zygote *z, const char *text)
{
	api_event(z->rev->api, z->rev->number, "zygote", NULL, NULL, "%s",
		  text);
}

/* ---- its start ---- */

static int start(struct zygote *z, struct err *err)
{
	struct revision *rev = z->rev;
	struct serve *s = rev->api->serve;
	const char *level = zygote_level_word(level_of(z));
	/* Longer than those of its replicas, which go where it stands
	 * (loop/fork.c). */
	cleanup_free char *name = mem_printf(
		"%s-%lld-zygote-%012llu", rev->api->name,
		(long long)rev->number, (unsigned long long)s->local.next_id);
	cleanup_free char *meta = mem_printf(
		"{\"name\":\"%s\",\"kind\":\"zygote\",\"api\":\"%s\","
		"\"revision\":%lld,\"level\":\"%s\",\"secrets_ms\":%lld}",
		name, rev->api->name, (long long)rev->number, level,
		(long long)launch__secrets_ms(rev));
	cleanup_free char *id = id_of(z);
	cleanup_free char *config = launch__config(rev, id, 1, level);
	struct process_spec p = {.name = name,
				 .meta = meta,
				 .control = true,
				 .config = config,
				 .forks = true};

	return launch__ours(&z->process, rev, &p, &zygote_ops, z, err);
}

static void rest(struct zygote *z, const char *cause)
{
	struct serve *s = z->rev->api->serve;
	int64_t ms = backoff_wait_ms(++z->failures, serve_random(s));

	log_warn(LOG_F(F_S("api", z->rev->api->name), F_S("cause", cause),
		       F_I("again_in_ms", ms)),
		 "the zygote ended");
	move(z, ZYGOTE_IS_RESTING);
	z->again_at = now_of(z) + (uint64_t)ms;
}

void zygote_step(struct zygote *z)
{
	struct err err = {0};

	if (z->process || !is_wanted(z) || !has_environment(z->rev) ||
	    (z->state == ZYGOTE_IS_RESTING && now_of(z) < z->again_at))
		return;
	free(mem_take(&z->failed));
	if (!zygote__admit(z)) {
		z->state = ZYGOTE_IS_NONE;
		return;
	}
	if (start(z, &err)) {
		rest(z, err.msg);
		return;
	}
	z->admit_at = 0;
	zygote__count_bytes(z);
	move(z, ZYGOTE_IS_LOADING);
}

/* The one that is there may load deeper than is known to be safe. */
static enum zygote_level level_in(yyjson_val *meta)
{
	const char *word = json_str(meta, "level", "");

	for (enum zygote_level l = ZYGOTE_INIT; l < ZYGOTE_NONE; l++)
		if (strcmp(zygote_level_word(l), word) == 0)
			return l;
	return ZYGOTE_NONE;
}

bool zygote_adopt(struct zygote *z, struct process *p, yyjson_val *meta)
{
	enum zygote_level level = level_in(meta);

	if (z->process || !is_wanted(z) || level < level_of(z) ||
	    level == ZYGOTE_NONE ||
	    json_int(meta, "secrets_ms", 0) != launch__secrets_ms(z->rev))
		return false;
	if (level > level_of(z))
		z->level = level;
	z->process = p;
	zygote__count_bytes(z);
	p->ops = &zygote_ops;
	p->data = z;
	move(z, ZYGOTE_IS_LOADING);
	process_send(p, FRAME_QUERY, 0, NULL);
	return true;
}

/* ---- what it says ---- */

static void ready(struct zygote *z)
{
	cleanup_free char *text = NULL;

	if (z->state != ZYGOTE_IS_LOADING)
		return;
	log_info(LOG_F(F_S("api", z->rev->api->name),
		       F_S("level", zygote_level_word(level_of(z))),
		       F_I("pid", z->process->pid),
		       F_I("took_ms", now_of(z) - z->since)),
		 "zygote ready");
	move(z, ZYGOTE_IS_READY);
	zygote__measure(z);
	z->failures = 0;
	text = mem_printf("a zygote is ready: replicas are forked from it %s",
			  place(z, level_of(z)));
	tell(z, text);
}

/* From now on the level above, for as long as the daemon knows it. */
static void retreat(struct zygote *z, const char *why)
{
	enum zygote_level was = level_of(z);
	cleanup_free char *text = NULL;

	z->level = z->rev->spec->predictor.type == PREDICTOR_ENGINE
			   ? ZYGOTE_NONE
			   : was + 1;
	z->proved = false;
	free(z->why);
	z->why = mem_strdup(why);
	text = z->level == ZYGOTE_NONE
		       ? mem_printf("replicas cannot be forked: %s; each is "
				    "started from its program",
				    why)
		       : mem_printf(
				 "replicas cannot be forked %s: %s; they are "
				 "forked %s",
				 place(z, was), why, place(z, z->level));
	log_info(LOG_F(F_S("api", z->rev->api->name)), "%s", text);
	tell(z, text);
}

static void unsafe(struct zygote *z, struct str payload)
{
	cleanup_json yyjson_doc *doc = json_parse(payload.p, payload.n, NULL);
	const char *why = json_str(yyjson_doc_get_root(doc), "why",
				   "it is not safe there");
	cleanup_free char *text = told_loading(str_of(why));

	if (z->state != ZYGOTE_IS_LOADING || level_of(z) == ZYGOTE_NONE)
		return;
	retreat(z, text);
	/* Its exit, which is near, has no fault in it. */
	move(z, ZYGOTE_IS_NONE);
}

void zygote_blame(struct zygote *z, const char *why, bool was_ready)
{
	if (level_of(z) == ZYGOTE_NONE ||
	    (was_ready && ++z->bad_forks < BAD_FORKS))
		return;
	z->bad_forks = 0;
	retreat(z, why);
	move(z, ZYGOTE_IS_NONE);
	if (z->process)
		process_signal(z->process, SIGKILL);
}

static void on_frame(struct process *p, const struct frame *f,
		     struct str payload)
{
	struct zygote *z = p->data;

	switch (f->type) {
	case FRAME_READY:
		ready(z);
		break;
	case FRAME_UNSAFE:
		unsafe(z, payload);
		break;
	case FRAME_FAILED:
		free(z->failed);
		z->failed = told_failed(payload);
		break;
	default:
		break;
	}
}

static void on_line(struct process *p, struct str line, struct str request_id)
{
	struct zygote *z = p->data;
	struct api *a = z->rev->api;
	cleanup_free char *id = id_of(z);

	logbook_add(&a->logs, id, request_id, line);
	api_is_busy(a);
	process_pause_log(p, a->logs.file.full);
}

static void on_gone(struct process *p, const char *cause, bool launched)
{
	struct zygote *z = p->data;

	(void)launched;
	z->process = NULL;
	zygote__forget_bytes(z);
	if (z->state != ZYGOTE_IS_NONE)
		rest(z, z->failed ? z->failed : cause);
	process_close(p);
	zygote_step(z);
}

static const struct process_ops zygote_ops = {
	.on_line = on_line,
	.on_frame = on_frame,
	.on_exit = on_gone,
};

/* ---- its use, its end ---- */

bool zygote_may_be(const struct zygote *z)
{
	return level_of(z) != ZYGOTE_NONE;
}

struct process *zygote_process(const struct zygote *z)
{
	return z->state == ZYGOTE_IS_READY &&
			       z->process->state == PROCESS_RUNNING
		       ? z->process
		       : NULL;
}

enum cold_tier zygote_tier(const struct zygote *z)
{
	return COLD_ZYGOTE_INIT + (level_of(z) - ZYGOTE_INIT);
}

char *zygote_next_word(const struct zygote *z)
{
	switch (level_of(z)) {
	case ZYGOTE_IMPORTS:
		return mem_strdup("running __init__");
	case ZYGOTE_WORKER:
		return mem_printf("importing %s", z->rev->spec->predictor.path);
	default:
		return NULL;
	}
}

/* Another one, and why. */
static void renew(struct zygote *z, const char *why)
{
	tell(z, why);
	zygote__end(z);
	zygote_step(z);
}

void zygote_tick(struct zygote *z)
{
	uint32_t limit = z->rev->spec->predictor.start_timeout_ms;
	cleanup_free char *text = NULL;
	uint64_t now = now_of(z);

	if (!z->process) {
		zygote_step(z);
		return;
	}
	if (z->state == ZYGOTE_IS_READY && (text = zygote__grown(z))) {
		renew(z, text);
		return;
	}
	if (z->process->forks &&
	    now - z->process->forks_since > FORK_PATIENCE_MS) {
		log_warn(LOG_F(F_S("api", z->rev->api->name)),
			 "the zygote does not fork; replacing it");
		process_signal(z->process, SIGKILL);
	} else if (z->state == ZYGOTE_IS_LOADING && limit &&
		   now - z->since > limit) {
		process_signal(z->process, SIGKILL);
	}
}

void zygote__end(struct zygote *z)
{
	if (z->process)
		process_abandon(mem_take(&z->process));
	zygote__forget_bytes(z);
	z->state = ZYGOTE_IS_NONE;
}

void zygote_on_secret(struct zygote *z, const char *name)
{
	cleanup_free char *text = NULL;

	if (!z->process)
		return;
	text = mem_printf("the secret '%s' has changed: another zygote is "
			  "loaded",
			  name);
	renew(z, text);
}

void zygote_leave(struct zygote *z)
{
	zygote__end(z);
	free(mem_take(&z->why));
	free(mem_take(&z->failed));
}

void zygote_put(const struct zygote *z, yyjson_mut_doc *doc,
		yyjson_mut_val *obj, const char *key)
{
	static const char *const states[] = {"none", "loading", "ready",
					     "resting"};
	const char *why = z->why;
	yyjson_mut_val *o;

	if (!z->process && z->admit_at && level_of(z) != ZYGOTE_NONE)
		why = zygote__no_room(z);
	if (level_of(z) == ZYGOTE_NONE && !why) {
		yyjson_mut_obj_add_null(doc, obj, key);
		return;
	}
	o = yyjson_mut_obj_add_obj(doc, obj, key);
	yyjson_mut_obj_add_str(doc, o, "state", states[z->state]);
	yyjson_mut_obj_add_str(doc, o, "level", zygote_level_word(level_of(z)));
	yyjson_mut_obj_add_int(doc, o, "pid", z->process ? z->process->pid : 0);
	yyjson_mut_obj_add_uint(doc, o, "memory_bytes",
				z->process ? z->bytes : 0);
	if (why)
		yyjson_mut_obj_add_strcpy(doc, o, "why", why);
	else
		yyjson_mut_obj_add_null(doc, o, "why");
}
