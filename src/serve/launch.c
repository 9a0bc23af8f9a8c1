#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "box/ports.h"
#include "core/json.h"
#include "core/mem.h"
#include "serve/environ.h"
#include "serve/replica_parts.h"
#include "serve/weigh.h"

enum {
	CONFIG_MAX = FRAME_PAYLOAD_MAX,
	NEED_MAX = 4,
	COMMAND_IDLE_MS = 4000, /* uvicorn closes idle connections at 5 s */
	POOL = 64,
};

/* A word of a command, with $PORT, ${PORT} and $(CORTEX_PORT) filled in. */
static char *expand(const char *word, const char *port)
{
	static const char *const names[] = {"$PORT", "${PORT}",
					    "$(CORTEX_PORT)", "$CORTEX_PORT"};
	struct buf b;

	buf_init(&b, 1 << 20);
	while (*word) {
		size_t i, n = 0;

		for (i = 0; i < ARRAY_LEN(names) && !n; i++) {
			size_t len = strlen(names[i]);
			unsigned char next = (unsigned char)word[len];

			if (strncmp(word, names[i], len) != 0)
				continue;
			/* $PORTFOLIO is another name. */
			if (names[i][len - 1] == 'T' &&
			    (isalnum(next) || next == '_'))
				continue;
			n = len;
		}
		if (n) {
			buf_adds(&b, port);
			word += n;
		} else {
			buf_addc(&b, *word++);
		}
	}
	return buf_take(&b, NULL);
}

/* Its variables: the spec's, secrets, and what the program may want to know. */
static char **variables(struct revision *rev, const char *port, struct err *err)
{
	const struct spec *spec = rev->spec;
	char **extra = mem_alloc((spec->predictor.n_env + 10) * sizeof *extra);
	cleanup_free char *hub = model_set_hub(&rev->models);
	char **env = NULL;
	size_t n = 0;

	/* Each run of a model takes and gives back hundreds of small pieces of
	 * memory: of a size malloc keeps seven at hand for each thread. This
	 * many take 3% to 7% off a small model's run, and 2 MiB at most. */
	if (spec->predictor.type == PREDICTOR_ENGINE &&
	    !getenv("GLIBC_TUNABLES"))
		extra[n++] = mem_strdup(
			"GLIBC_TUNABLES=glibc.malloc.tcache_count=64");
	/* What was fetched of the hub is found by its name, too; what was not
	 * is not fetched here. */
	if (hub) {
		extra[n++] = mem_printf("HF_HUB_CACHE=%s", hub);
		extra[n++] = mem_strdup("HF_HUB_OFFLINE=1");
	}
	for (uint32_t i = 0; i < spec->predictor.n_env; i++) {
		const struct spec_var *v = &spec->predictor.env[i];
		const char *value = v->value;

		if (v->from_secret) {
			struct secret *s = map_get(&rev->api->serve->secrets,
						   v->from_secret);

			if (!s) {
				err_set(err, E_NOTFOUND,
					"the secret '%s' that env %s wants is "
					"not there; set it with 'soma secret "
					"set %s'",
					v->from_secret, v->name,
					v->from_secret);
				goto done;
			}
			value = s->value;
		}
		extra[n++] = mem_printf("%s=%s", v->name, value);
	}
	if (port) {
		extra[n++] = mem_printf("PORT=%s", port);
		extra[n++] = mem_printf("CORTEX_PORT=%s", port);
	}
	extra[n++] = mem_printf("SOMA_API=%s", rev->api->name);
	extra[n++] = mem_printf("SOMA_REVISION=%lld", (long long)rev->number);
	env = environ_make(rev->env->bin, extra);
done:
	while (n)
		free(extra[--n]);
	free(extra);
	return env;
}

int64_t launch__secrets_ms(const struct revision *rev)
{
	const struct spec *spec = rev->spec;
	int64_t newest = 0;

	for (uint32_t i = 0; i < spec->predictor.n_env; i++) {
		const char *name = spec->predictor.env[i].from_secret;
		const struct secret *s =
			name ? map_get(&rev->api->serve->secrets, name) : NULL;

		if (name && !s)
			return -1;
		if (s)
			newest = MAX(newest, s->updated_ms);
	}
	return newest;
}

/* zygote: what it is forked from, or NULL. */
static char *meta_of(const struct replica *r, const char *name,
		     const struct process *zygote)
{
	const struct spec *spec = r->rev->spec;
	cleanup_free char *birth =
		zygote ? mem_printf(",\"zygote\":\"%s\",\"mem_limit\":%lld,"
				    "\"cpu_millis\":%lld,\"tier\":%d",
				    zygote->name,
				    (long long)spec->compute.mem_limit,
				    (long long)weigh_replica(r), (int)r->tier)
		       : mem_strdup("");

	return mem_printf(
		"{\"name\":\"%s\",\"kind\":\"replica\",\"api\":\"%s\","
		"\"revision\":%lld,\"index\":%u,\"number\":%u,"
		"\"port\":%d%s}",
		name, r->rev->api->name, (long long)r->rev->number, r->index,
		r->number, r->port, birth);
}

static char *name_of(const struct replica *r)
{
	return mem_printf("%s-%lld-%u-%llu", r->rev->api->name,
			  (long long)r->rev->number, r->index,
			  (unsigned long long)replica__serve(r)->local.next_id);
}

static int check_config(const char *config, struct err *err)
{
	if (!config || strlen(config) <= CONFIG_MAX)
		return 0;
	return err_set(err, E_TOOBIG,
		       "predictor.config is larger than %d KiB; put large data "
		       "in a file of the project",
		       CONFIG_MAX / 1024);
}

/* needs: files that its user must be able to read, beside those that it is told
 * here; NEED_MAX - 2 at most. */
static int start(struct process **ret, struct revision *rev,
		 struct process_spec *p, const char *port,
		 const char *const *needs, const struct process_ops *ops,
		 void *data, struct err *err)
{
	const struct spec *spec = rev->spec;
	cleanup_free const char **need =
		mem_alloc((NEED_MAX + rev->models.n + 1) * sizeof *need);
	size_t n = 0;
	int rc;

	if (check_config(p->config, err))
		return err->code;
	p->env = variables(rev, port, err);
	if (!p->env)
		return err->code;
	if (p->argv[0][0] == '/')
		need[n++] = p->argv[0];
	if (rev->project_dir)
		need[n++] = rev->project_dir;
	for (; needs && *needs; needs++)
		need[n++] = *needs;
	assert(n <= NEED_MAX);
	model_set_needs(&rev->models, need + n);
	p->dir = rev->project_dir;
	p->uid = rev->api->uid;
	p->cpu_millis = spec->compute.cpu_millis;
	p->mem_limit = spec->compute.mem_limit;
	p->need = need;
	rc = process_start(ret, &rev->api->serve->local, p, ops, data, err);
	environ_free(p->env);
	return rc;
}

int replica__open_upstream(struct replica *r, struct err *err)
{
	struct serve *s = replica__serve(r);
	int rc = http_upstream_init(
		&r->up, s->lane,
		replica__is_ours(r) ? r->process->socket : NULL, r->port, err);

	if (rc)
		return rc;
	r->up_open = true;
	r->up.max_idle = POOL;
	r->up.idle_ms = replica__is_ours(r) ? 0 : COMMAND_IDLE_MS;
	return 0;
}

static int start_worker(struct process **ret, struct revision *rev,
			struct process_spec *p, const struct process_ops *ops,
			void *data, struct err *err)
{
	cleanup_free char *script =
		mem_printf("%s/worker_main.py", rev->api->serve->worker_dir);
	char *argv[] = {rev->env->python, script, NULL};
	const char *needs[] = {script, NULL};

	p->argv = argv;
	return start(ret, rev, p, NULL, needs, ops, data, err);
}

static int start_host(struct process **ret, struct revision *rev,
		      struct process_spec *p, const struct process_ops *ops,
		      void *data, struct err *err)
{
	const char *library = rev->spec->predictor.onnxruntime;
	cleanup_free char *program =
		mem_printf("%s/soma-host", rev->api->serve->host_dir);
	char *argv[] = {program, NULL};
	/* One of the project is where the project is. */
	const char *needs[] = {library && library[0] == '/' ? library : NULL,
			       NULL};

	p->argv = argv;
	return start(ret, rev, p, NULL, needs, ops, data, err);
}

int launch__ours(struct process **ret, struct revision *rev,
		 struct process_spec *spec, const struct process_ops *ops,
		 void *data, struct err *err)
{
	return rev->spec->predictor.type == PREDICTOR_ENGINE
		       ? start_host(ret, rev, spec, ops, data, err)
		       : start_worker(ret, rev, spec, ops, data, err);
}

static int start_command(struct replica *r, struct process_spec *p,
			 struct err *err)
{
	const struct spec *spec = r->rev->spec;
	char port[8];
	int rc;

	snprintf(port, sizeof port, "%d", r->port);
	p->argv = mem_alloc((spec->predictor.n_command + 1) * sizeof *p->argv);
	for (uint32_t i = 0; i < spec->predictor.n_command; i++)
		p->argv[i] = expand(spec->predictor.command[i], port);
	p->notify = true;
	rc = start(&r->process, r->rev, p, port, NULL, &replica__process_ops, r,
		   err);
	environ_free(p->argv);
	return rc;
}

static int start_ours(struct replica *r, struct process_spec *p,
		      struct process *zygote, struct err *err)
{
	const struct spec *spec = r->rev->spec;
	cleanup_free char *config = replica__config(r);

	p->listen = p->control = true;
	p->config = config;
	if (!zygote)
		return launch__ours(&r->process, r->rev, p,
				    &replica__process_ops, r, err);
	if (check_config(config, err))
		return err->code;
	p->uid = r->rev->api->uid;
	p->cpu_millis = spec->compute.cpu_millis;
	p->mem_limit = spec->compute.mem_limit;
	p->soon = r->tier != COLD_ZYGOTE_INIT;
	r->detail = zygote_next_word(&r->rev->zygote);
	return process_fork(&r->process, zygote, p, &replica__process_ops, r,
			    err);
}

int replica__launch(struct replica *r, struct err *err)
{
	struct process *zygote =
		r->spurned ? NULL : zygote_process(&r->rev->zygote);
	cleanup_free char *name = name_of(r), *meta = NULL;
	struct process_spec p = {.name = name};
	int rc;

	r->batching = (struct batching){0};
	r->tier = zygote ? zygote_tier(&r->rev->zygote) : COLD_PROCESS;
	r->proved = r->spurned = false;
	zygote__used(&r->rev->zygote);
	if (!replica__is_ours(r)) {
		/* Somebody else may take it before the program does; then the
		 * program exits and is started again with another. */
		r->port = ports_pick();
		if (r->port < 0)
			return err_set(err, E_IO, "no free TCP port");
	}
	p.meta = meta = meta_of(r, name, zygote);
	p.weight = weigh_replica(r);
	rc = replica__is_ours(r) ? start_ours(r, &p, zygote, err)
				 : start_command(r, &p, err);
	return rc ? rc : replica__open_upstream(r, err);
}
