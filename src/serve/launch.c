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

/* The names of enum python_class. */
static const char *const class_names[] = {"PythonPredictor", "ONNXPredictor",
					  "Handler"};

/* JSON text as a value of doc; NULL is null. */
static yyjson_mut_val *json_text(yyjson_mut_doc *doc, const char *text)
{
	cleanup_json yyjson_doc *parsed =
		text ? json_parse(text, strlen(text), NULL) : NULL;

	return text ? yyjson_val_mut_copy(doc, yyjson_doc_get_root(parsed))
		    : yyjson_mut_null(doc);
}

/* docs/internals/control-channel.md */
static char *worker_config(const struct replica *r)
{
	const struct spec *spec = r->rev->spec;
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);

	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_strcpy(doc, root, "api", r->rev->api->name);
	yyjson_mut_obj_add_strcpy(doc, root, "replica", r->id);
	yyjson_mut_obj_add_strcpy(doc, root, "project", r->rev->project_dir);
	yyjson_mut_obj_add_strcpy(doc, root, "path", spec->predictor.path);
	if (spec->predictor.python_path)
		yyjson_mut_obj_add_strcpy(doc, root, "python_path",
					  spec->predictor.python_path);
	else
		yyjson_mut_obj_add_null(doc, root, "python_path");
	yyjson_mut_obj_add_str(doc, root, "class",
			       class_names[spec->predictor.klass]);
	yyjson_mut_obj_add_val(doc, root, "config",
			       json_text(doc, spec->predictor.config_json));
	yyjson_mut_obj_add_val(doc, root, "models",
			       json_text(doc, spec->predictor.models_json));
	yyjson_mut_obj_add_uint(doc, root, "threads", spec->predictor.threads);
	yyjson_mut_obj_add_uint(doc, root, "processes",
				spec->predictor.processes);
	yyjson_mut_obj_add_uint(doc, root, "predict_timeout_ms",
				spec->predictor.predict_timeout_ms);
	yyjson_mut_obj_add_bool(doc, root, "expose_tracebacks",
				spec->predictor.expose_tracebacks);
	yyjson_mut_obj_add_strcpy(
		doc, root, "log_level",
		spec->predictor.log_level ? spec->predictor.log_level : "info");
	yyjson_mut_obj_add_uint(doc, root, "max_body", 0);
	return json_write(doc, NULL);
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

static int launch(struct replica *r, char **argv, const char *port,
		  struct err *err)
{
	struct serve *s = replica__serve(r);
	const struct spec *spec = r->rev->spec;
	cleanup_free char *name = mem_printf(
		"%s-%lld-%u-%llu", r->rev->api->name, (long long)r->rev->number,
		r->index, (unsigned long long)s->local.next_id);
	cleanup_free char *meta = meta_of(r, name);
	cleanup_free char *config =
		replica__is_python(r) ? worker_config(r) : NULL;
	char **env = variables(r, port, err);
	const char *need[4] = {0};
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
	if (replica__is_python(r))
		need[n++] = argv[1];
	if (r->rev->project_dir)
		need[n++] = r->rev->project_dir;
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
		.listen = replica__is_python(r),
		.control = replica__is_python(r),
		.config = config,
		.notify = !replica__is_python(r),
	};
	rc = process_start(&r->process, &s->local, &p, &replica__process_ops, r,
			   err);
	environ_free(env);
	return rc;
}

int replica__open_upstream(struct replica *r, struct err *err)
{
	struct serve *s = replica__serve(r);
	int rc = http_upstream_init(&r->up, s->lane,
				    replica__is_python(r) ? r->process->socket
							  : NULL,
				    r->port, err);

	if (rc)
		return rc;
	r->up_open = true;
	r->up.max_idle = POOL;
	r->up.idle_ms = replica__is_python(r) ? 0 : COMMAND_IDLE_MS;
	return 0;
}

int replica__launch(struct replica *r, struct err *err)
{
	struct serve *s = replica__serve(r);
	const struct spec *spec = r->rev->spec;
	cleanup_free char *script = NULL;
	char port[8] = "";
	char **argv;
	int rc;

	if (replica__is_python(r)) {
		char *args[] = {r->rev->env->python, NULL, NULL};

		script = mem_printf("%s/worker_main.py", s->worker_dir);
		args[1] = script;
		rc = launch(r, args, NULL, err);
		return rc ? rc : replica__open_upstream(r, err);
	}
	r->port = free_port();
	if (r->port < 0)
		return err_set(err, E_IO, "no free TCP port on loopback");
	snprintf(port, sizeof port, "%d", r->port);
	argv = mem_alloc((spec->predictor.n_command + 1) * sizeof *argv);
	for (uint32_t i = 0; i < spec->predictor.n_command; i++)
		argv[i] = expand(spec->predictor.command[i], port);
	rc = launch(r, argv, port, err);
	environ_free(argv);
	return rc ? rc : replica__open_upstream(r, err);
}
