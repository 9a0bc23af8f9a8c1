#include "serve/model_warm.h"

#include "core/json.h"
#include "core/mem.h"
#include "core/str.h"
#include "loop/log.h"
#include "serve/environ.h"
#include "serve/memory.h"
#include "serve/serve.h"
#include "warm/warm.h"

/* A replica reads less than that about as fast by itself. */
static const uint64_t LEAST_BYTES = 32 << 20;

/* On its way through the pool. The revision may be gone meanwhile, Soma is not.
 */
struct look {
	uv_work_t work;
	struct serve *serve;
	char *api; /* owned */
	int64_t revision;
	char **paths;  /* owned, NULL-ended */
	uint64_t most; /* bytes that there is room for */
	struct warm_look found;
};

static void free_paths(char **paths)
{
	for (char **p = paths; *p; p++)
		free(*p);
	free(paths);
}

/* Where its models are, NULL-ended; those of which it loads only what it is
 * asked for are left out. */
static char **paths_of(const struct revision *rev)
{
	const struct spec *spec = rev->spec;
	cleanup_free const char **places =
		mem_alloc((rev->models.n + 1) * sizeof *places);
	char **paths = mem_alloc((rev->models.n + 2) * sizeof *paths);
	size_t n = rev->models.some ? 0 : model_set_needs(&rev->models, places);
	const char *model = spec->predictor.model;

	for (size_t i = 0; i < n; i++)
		paths[i] = mem_strdup(places[i]);
	if (spec->predictor.type == PREDICTOR_ENGINE && model)
		paths[n] =
			model[0] == '/' || !rev->project_dir
				? mem_strdup(model)
				: mem_printf("%s/%s", rev->project_dir, model);
	return paths;
}

/* ---- reading ---- */

static void on_line(struct process *p, struct str line, struct str id)
{
	struct revision *rev = p->data;
	cleanup_json yyjson_doc *doc = json_parse(line.p, line.n, NULL);
	yyjson_val *root = yyjson_doc_get_root(doc);

	(void)id;
	rev->warm.bytes = (uint64_t)json_int(root, "bytes", 0);
	rev->warm.ms = (uint64_t)json_int(root, "ms", 0);
}

static void on_gone(struct process *p, const char *cause, bool launched)
{
	struct revision *rev = p->data;
	struct model_warm *w = &rev->warm;
	struct api *a = rev->api;
	char bytes[32], took[32], rate[32];

	(void)launched;
	w->process = NULL;
	process_close(p);
	if (!w->bytes) {
		log_warn(LOG_F(F_S("api", a->name), F_S("cause", cause)),
			 "its models could not be read ahead, ignoring");
		return;
	}
	str_human_bytes(w->bytes, bytes);
	str_human_ms((int64_t)w->ms, took);
	str_human_bytes(w->bytes * 1000 / MAX(w->ms, (uint64_t)1), rate);
	api_event(a, rev->number, "model_warmed", NULL, NULL,
		  "its models, %s, were not in memory: read from the disk in "
		  "%s, %s/s",
		  bytes, took, rate);
}

static const struct process_ops warm_ops = {
	.on_line = on_line,
	.on_exit = on_gone,
};

/* As the api's user, who may read them; in a group of its own, which is charged
 * for what it reads, so that no replica is. */
static int start(struct revision *rev, char **paths, struct err *err)
{
	struct serve *s = rev->api->serve;
	cleanup_free char *name = mem_printf(
		"warm-%s-%lld-%llu", rev->api->name, (long long)rev->number,
		(unsigned long long)s->local.next_id);
	cleanup_free char *meta =
		mem_printf("{\"name\":\"%s\",\"kind\":\"warm\"}", name);
	/* This program, wherever it lies: its user may not get there. */
	static char self[] = "/proc/self/exe", word[] = "warm";
	char **argv, **env = environ_own(s->own_dir, NULL);
	struct process_spec spec;
	size_t n = 0;
	int rc;

	while (paths[n])
		n++;
	argv = mem_alloc((n + 3) * sizeof *argv);
	argv[0] = self;
	argv[1] = word;
	for (size_t i = 0; i < n; i++)
		argv[i + 2] = paths[i];
	spec = (struct process_spec){.name = name,
				     .meta = meta,
				     .argv = argv,
				     .env = env,
				     .dir = "/",
				     .uid = rev->api->uid};
	rev->warm.bytes = rev->warm.ms = 0;
	rc = process_start(&rev->warm.process, &s->local, &spec, &warm_ops, rev,
			   err);
	free(argv);
	environ_free(env);
	return rc;
}

/* ---- whether to ---- */

static void tell_too_large(struct revision *rev, const struct look *l)
{
	char has[32], room[32];

	api_event(rev->api, rev->number, "model_large", NULL, NULL,
		  "its models, %s, are not read ahead, for %s of memory are "
		  "free for them: they are read from the disk where they are "
		  "used, and again where they have not stayed in memory",
		  str_human_bytes(l->found.bytes, has),
		  str_human_bytes(l->most, room));
}

static void on_look(uv_work_t *work)
{
	struct look *l = work->data;

	l->found = warm_look((const char *const *)l->paths, l->most,
			     &l->serve->looks_end);
}

static void decide(struct revision *rev, const struct look *l)
{
	struct err err = {0};

	if (rev->leaving || rev->warm.process || rev->api->serve->stopping ||
	    !revision_places(rev))
		return;
	if (l->found.bytes > l->most)
		tell_too_large(rev, l);
	else if (l->found.missing >= LEAST_BYTES && start(rev, l->paths, &err))
		log_warn(LOG_F(F_S("api", rev->api->name)),
			 "its models cannot be read ahead: %s, ignoring",
			 err.msg);
}

static void on_looked(uv_work_t *work, int status)
{
	struct look *l = work->data;
	struct api *a = map_get(&l->serve->apis, l->api);
	struct revision *rev = a ? api_revision(a, l->revision) : NULL;

	l->serve->measuring--;
	if (rev) {
		rev->warm.looking = false;
		if (!status)
			decide(rev, l);
	}
	free_paths(l->paths);
	free(l->api);
	free(l);
}

/* They are in the memory that the fork shares, or nearly. */
static bool has_them(const struct revision *rev)
{
	const struct zygote *z = &rev->zygote;

	return zygote_process(z) && zygote_tier(z) == COLD_ZYGOTE_INIT;
}

void model_warm_start(struct revision *rev)
{
	struct serve *s = rev->api->serve;
	uint64_t own = memory_need(rev).own, room = memory_observed(s);
	struct look *l;
	char **paths;

	if (rev->warm.looking || rev->warm.process || has_them(rev))
		return;
	paths = paths_of(rev);
	if (!paths[0]) {
		free_paths(paths);
		return;
	}
	l = mem_alloc(sizeof *l);
	*l = (struct look){.serve = s,
			   .api = mem_strdup(rev->api->name),
			   .revision = rev->number,
			   .paths = paths,
			   .most = room - MIN(own, room)};
	l->work.data = l;
	if (uv_queue_work(s->loop, &l->work, on_look, on_looked)) {
		free_paths(l->paths);
		free(l->api);
		free(l);
		return;
	}
	rev->warm.looking = true;
	s->measuring++;
}

void model_warm_leave(struct revision *rev)
{
	if (rev->warm.process)
		process_abandon(mem_take(&rev->warm.process));
}
