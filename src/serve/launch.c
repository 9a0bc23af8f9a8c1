#include <assert.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "core/json.h"
#include "core/mem.h"
#include "serve/environ.h"
#include "serve/replica_parts.h"

enum {
	CONFIG_MAX = FRAME_PAYLOAD_MAX,
	NEED_MAX = 4,
	COMMAND_IDLE_MS = 4000, /* uvicorn closes idle connections at 5 s */
	POOL = 64,
};

/* A port that is free now. Somebody else may take it before the program does;
 * then the program exits and is started again with another. */
static int free_port(void)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof addr;
	cleanup_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof addr) < 0 ||
	    getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		return -1;
	return ntohs(addr.sin_port);
}

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
static char **variables(struct replica *r, const char *port, struct err *err)
{
	const struct spec *spec = r->rev->spec;
	char **extra = mem_alloc((spec->predictor.n_env + 8) * sizeof *extra);
	char **env = NULL;
	size_t n = 0;

	for (uint32_t i = 0; i < spec->predictor.n_env; i++) {
		const struct spec_var *v = &spec->predictor.env[i];
		const char *value = v->value;

		if (v->from_secret) {
			struct secret *s = map_get(&replica__serve(r)->secrets,
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
	extra[n++] = mem_printf("SOMA_API=%s", r->rev->api->name);
	extra[n++] =
		mem_printf("SOMA_REVISION=%lld", (long long)r->rev->number);
	env = environ_make(r->rev->env->bin, extra);
done:
	while (n)
		free(extra[--n]);
	free(extra);
	return env;
}

static char *meta_of(const struct replica *r, const char *name)
{
	return mem_printf(
		"{\"name\":\"%s\",\"kind\":\"replica\",\"api\":\"%s\","
		"\"revision\":%lld,\"index\":%u,\"number\":%u,"
		"\"port\":%d}",
		name, r->rev->api->name, (long long)r->rev->number, r->index,
		r->number, r->port);
}

/* need: files that its user must be able to read, beside those that it is told
 * here; NEED_MAX - 2 at most. */
static int launch(struct replica *r, char **argv, const char *port,
		  const char *const *needs, struct err *err)
{
	struct serve *s = replica__serve(r);
	const struct spec *spec = r->rev->spec;
	cleanup_free char *name = mem_printf(
		"%s-%lld-%u-%llu", r->rev->api->name, (long long)r->rev->number,
		r->index, (unsigned long long)s->local.next_id);
	cleanup_free char *meta = meta_of(r, name);
	cleanup_free char *config =
		replica__is_ours(r) ? replica__config(r) : NULL;
	char **env = variables(r, port, err);
	const char *need[NEED_MAX + 1] = {0};
	struct process_spec p;
	size_t n = 0;
	int rc;

	if (!env)
		return err->code;
	if (config && strlen(config) > CONFIG_MAX) {
		environ_free(env);
		return err_set(err, E_TOOBIG,
			       "predictor.config is larger than %d KiB; put "
			       "large data in a file of the project",
			       CONFIG_MAX / 1024);
	}
	if (argv[0][0] == '/')
		need[n++] = argv[0];
	if (r->rev->project_dir)
		need[n++] = r->rev->project_dir;
	for (; needs && *needs; needs++)
		need[n++] = *needs;
	assert(n <= NEED_MAX);
	p = (struct process_spec){
		.name = name,
		.meta = meta,
		.argv = argv,
		.env = env,
		.dir = r->rev->project_dir,
		.uid = r->rev->api->uid,
		.cpu_millis = spec->compute.cpu_millis,
		.mem_limit = spec->compute.mem_limit,
		.need = need,
		.listen = replica__is_ours(r),
		.control = replica__is_ours(r),
		.config = config,
		.notify = !replica__is_ours(r),
	};
	rc = process_start(&r->process, &s->local, &p, &replica__process_ops, r,
			   err);
	environ_free(env);
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

static int launch_worker(struct replica *r, struct err *err)
{
	cleanup_free char *script =
		mem_printf("%s/worker_main.py", replica__serve(r)->worker_dir);
	char *argv[] = {r->rev->env->python, script, NULL};
	const char *needs[] = {script, NULL};

	return launch(r, argv, NULL, needs, err);
}

static int launch_host(struct replica *r, struct err *err)
{
	const char *library = r->rev->spec->predictor.onnxruntime;
	cleanup_free char *program =
		mem_printf("%s/soma-host", replica__serve(r)->host_dir);
	char *argv[] = {program, NULL};
	/* One of the project is where the project is. */
	const char *needs[] = {library && library[0] == '/' ? library : NULL,
			       NULL};

	return launch(r, argv, NULL, needs, err);
}

static int launch_command(struct replica *r, struct err *err)
{
	const struct spec *spec = r->rev->spec;
	char port[8], **argv;
	int rc;

	r->port = free_port();
	if (r->port < 0)
		return err_set(err, E_IO, "no free TCP port on loopback");
	snprintf(port, sizeof port, "%d", r->port);
	argv = mem_alloc((spec->predictor.n_command + 1) * sizeof *argv);
	for (uint32_t i = 0; i < spec->predictor.n_command; i++)
		argv[i] = expand(spec->predictor.command[i], port);
	rc = launch(r, argv, port, NULL, err);
	environ_free(argv);
	return rc;
}

int replica__launch(struct replica *r, struct err *err)
{
	static int (*const launchers[])(struct replica *, struct err *) = {
		[PREDICTOR_PYTHON] = launch_worker,
		[PREDICTOR_COMMAND] = launch_command,
		[PREDICTOR_ENGINE] = launch_host,
	};
	int rc;

	r->batching = (struct batching){0};
	rc = launchers[r->rev->spec->predictor.type](r, err);
	return rc ? rc : replica__open_upstream(r, err);
}
