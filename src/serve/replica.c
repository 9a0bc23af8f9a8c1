#include "serve/replica.h"

#include <assert.h>
#include <ctype.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "core/json.h"
#include "core/mem.h"
#include "loop/log.h"
#include "policy/backoff.h"
#include "policy/balance.h"
#include "serve/serve.h"

enum {
	PROBE_FIRST_MS = 5,
	PROBE_MOST_MS = 250,
	PROBE_TIMEOUT_MS = 5000,
	PING_MS = 5000,	   /* nothing heard for so long: asked */
	SILENT_PINGS = 25, /* ... once a second; then taken for stuck */
	STUCK_GRACE_MS = 2000,
	TERM_GRACE_MS = 5000, /* a little more than asked for, before SIGKILL */
	TRIES_LIVE = 3,	      /* exits in a row before READY fail a rollout */
	CONFIG_MAX = FRAME_PAYLOAD_MAX,
	COMMAND_IDLE_MS = 4000, /* uvicorn closes idle connections at 5 s */
	POOL = 64,
};

static void on_timer(uv_timer_t *timer);
static void on_timer_closed(uv_handle_t *handle);
static void on_probe_connected(uv_connect_t *req, int status);
static void on_probe_closed(uv_handle_t *handle);
static void on_probe_answer(void *data, unsigned status);
static void on_upstream_closed(struct http_upstream *up);
static void died(struct replica *r, const char *cause, bool launched);
static void replica_free(struct replica *r);

static struct serve *serve_of(const struct replica *r)
{
	return r->rev->api->serve;
}

static uint64_t now_of(const struct replica *r)
{
	return uv_now(serve_of(r)->loop);
}

static bool is_python(const struct replica *r)
{
	return r->rev->spec->predictor.type == PREDICTOR_PYTHON;
}

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
					    [REPLICA_BACKOFF] = "backoff",
					    [REPLICA_DRAINING] = "draining",
					    [REPLICA_STOPPING] = "stopping",
					    [REPLICA_GONE] = "stopping"};

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
	const struct spec *spec = rev->spec;

	r->rev = rev;
	r->index = index;
	r->number = number;
	r->id = number ? mem_printf("%s-%lld-%u.%u", rev->api->name,
				    (long long)rev->number, index, number)
		       : mem_printf("%s-%lld-%u", rev->api->name,
				    (long long)rev->number, index);
	r->room = is_python(r) ? balance_room(spec->predictor.threads)
			       : spec->predictor.max_concurrency;
	list_init(&r->link);
	list_init(&r->mourners);
	uv_timer_init(rev->api->serve->loop, &r->timer);
	r->timer.data = r;
	r->timer_open = true;
	return r;
}

/* ---- starting ---- */

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

/* docs/internals/control-channel.md */
static char *worker_config(const struct replica *r)
{
	const struct spec *spec = r->rev->spec;
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	cleanup_json yyjson_doc *config =
		json_parse(spec->predictor.config_json,
			   strlen(spec->predictor.config_json), NULL);

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
	yyjson_mut_obj_add_val(
		doc, root, "config",
		yyjson_val_mut_copy(doc, yyjson_doc_get_root(config)));
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
			struct secret *s =
				map_get(&serve_of(r)->secrets, v->from_secret);

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

static const struct process_ops replica_process_ops;

static int launch(struct replica *r, char **argv, const char *port,
		  struct err *err)
{
	struct serve *s = serve_of(r);
	const struct spec *spec = r->rev->spec;
	cleanup_free char *name = mem_printf(
		"%s-%lld-%u-%llu", r->rev->api->name, (long long)r->rev->number,
		r->index, (unsigned long long)s->local.next_id);
	cleanup_free char *meta = meta_of(r, name);
	cleanup_free char *config = is_python(r) ? worker_config(r) : NULL;
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
	if (is_python(r))
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
		.listen = is_python(r),
		.control = is_python(r),
		.config = config,
		.notify = !is_python(r),
	};
	rc = process_start(&r->process, &s->local, &p, &replica_process_ops, r,
			   err);
	environ_free(env);
	return rc;
}

static int open_upstream(struct replica *r, struct err *err)
{
	struct serve *s = serve_of(r);
	int rc = http_upstream_init(&r->up, s->lane,
				    is_python(r) ? r->process->socket : NULL,
				    r->port, err);

	if (rc)
		return rc;
	r->up_open = true;
	r->up.max_idle = POOL;
	r->up.idle_ms = is_python(r) ? 0 : COMMAND_IDLE_MS;
	return 0;
}

static int start(struct replica *r, struct err *err)
{
	struct serve *s = serve_of(r);
	const struct spec *spec = r->rev->spec;
	cleanup_free char *script = NULL;
	char port[8] = "";
	char **argv;
	int rc;

	if (is_python(r)) {
		char *args[] = {r->rev->env->python, NULL, NULL};

		script = mem_printf("%s/worker_main.py", s->worker_dir);
		args[1] = script;
		rc = launch(r, args, NULL, err);
		return rc ? rc : open_upstream(r, err);
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
	return rc ? rc : open_upstream(r, err);
}

static void watch_start(struct replica *r)
{
	if (is_python(r)) {
		uint32_t limit = r->rev->spec->predictor.start_timeout_ms;

		if (limit)
			uv_timer_start(&r->timer, on_timer, limit, 0);
		return;
	}
	r->probe_ms = PROBE_FIRST_MS;
	uv_timer_start(&r->timer, on_timer, r->probe_ms, 0);
}

void replica_start(struct replica *r)
{
	struct err err = {0};

	assert(r->state == REPLICA_IDLE && !r->process && !r->up_open);
	r->state = REPLICA_STARTING;
	r->spawned_at = r->heard_at = now_of(r);
	set_text(&r->detail, NULL);
	set_text(&r->failed, NULL);
	if (start(r, &err)) {
		if (r->process)
			process_signal(r->process, SIGKILL);
		else
			died(r, err.msg, false);
		return;
	}
	api_event(r->rev->api, r->rev->number, "replica_start", r->id, NULL,
		  "starting");
	watch_start(r);
}

void replica_adopt(struct replica *r, struct process *p, int port)
{
	struct err err = {0};

	r->process = p;
	p->ops = &replica_process_ops;
	p->data = r;
	r->port = port;
	r->state = REPLICA_STARTING;
	r->spawned_at = r->heard_at = now_of(r);
	if (open_upstream(r, &err)) {
		log_warn(LOG_F(F_S("replica", r->id)),
			 "cannot adopt: %s; replacing it", err.msg);
		process_signal(p, SIGKILL);
		return;
	}
	if (is_python(r))
		process_send(p, FRAME_QUERY, 0, NULL);
	watch_start(r);
}

/* ---- becoming ready ---- */

static void ready(struct replica *r)
{
	uint64_t now = now_of(r);

	if (r->state != REPLICA_STARTING)
		return;
	uv_timer_stop(&r->timer);
	r->state = REPLICA_READY;
	r->ready_at = now;
	r->unready = 0;
	set_text(&r->detail, NULL);
	log_info(LOG_F(F_S("api", r->rev->api->name), F_S("replica", r->id),
		       F_I("pid", r->process->pid),
		       F_I("took_ms", now - r->spawned_at)),
		 "replica ready");
	revision_on_ready(r->rev, r);
}

static void close_probe(struct replica *r)
{
	if (r->probe_open && !uv_is_closing((uv_handle_t *)&r->probe))
		uv_close((uv_handle_t *)&r->probe, on_probe_closed);
}

/* Again in a while, longer each time; or the start has taken too long. */
static void probe_later(struct replica *r)
{
	uint64_t limit;

	/* A replica that is gone may have outlived its revision. */
	if (r->state != REPLICA_STARTING || !r->process ||
	    r->process->state == PROCESS_EXITED)
		return;
	limit = r->rev->spec->predictor.start_timeout_ms;
	if (limit && now_of(r) - r->spawned_at >= limit) {
		uv_timer_start(&r->timer, on_timer, 0, 0);
		return;
	}
	r->probe_ms =
		MIN(r->probe_ms + r->probe_ms / 2 + 1, (unsigned)PROBE_MOST_MS);
	uv_timer_start(&r->timer, on_timer, r->probe_ms, 0);
}

static void probe(struct replica *r)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_port = htons((uint16_t)r->port),
				   .sin_addr = {htonl(INADDR_LOOPBACK)}};

	if (r->probing || r->probe_open)
		return;
	r->probing = true;
	if (r->rev->spec->predictor.readiness_path) {
		http_probe(&r->up, r->rev->spec->predictor.readiness_path,
			   PROBE_TIMEOUT_MS, on_probe_answer, r);
		return;
	}
	uv_tcp_init(serve_of(r)->loop, &r->probe);
	r->probe.data = r;
	r->probe_open = true;
	r->probe_req.data = r;
	if (uv_tcp_connect(&r->probe_req, &r->probe, (struct sockaddr *)&addr,
			   on_probe_connected)) {
		r->probing = false;
		close_probe(r);
		probe_later(r);
	}
}

static void on_probe_connected(uv_connect_t *req, int status)
{
	struct replica *r = req->data;

	r->probing = false;
	close_probe(r);
	if (status == 0 && r->state == REPLICA_STARTING)
		ready(r);
	else
		probe_later(r);
}

static void on_probe_answer(void *data, unsigned status)
{
	struct replica *r = data;

	r->probing = false;
	if (r->state == REPLICA_GONE) {
		replica_free(r);
		return;
	}
	if (status >= 200 && status < 400 && r->state == REPLICA_STARTING)
		ready(r);
	else
		probe_later(r);
}

static void on_probe_closed(uv_handle_t *handle)
{
	struct replica *r = handle->data;

	r->probe_open = false;
	replica_free(r);
}

static void on_notify(struct process *p)
{
	ready(p->data);
}

/* {"code","message","traceback","remedy"} in one paragraph. */
static void on_failed(struct replica *r, struct str payload)
{
	cleanup_json yyjson_doc *doc = json_parse(payload.p, payload.n, NULL);
	yyjson_val *root = yyjson_doc_get_root(doc);
	const char *message = json_str(root, "message", "the predictor failed");
	const char *remedy = json_str(root, "remedy", "");

	free(r->failed);
	r->failed = *remedy ? mem_printf("%s. Remedy: %s", message, remedy)
			    : mem_strdup(message);
}

static void stuck(struct replica *r, const char *why)
{
	struct revision *rev = r->rev;

	if (r->state != REPLICA_READY)
		return;
	log_warn(LOG_F(F_S("api", rev->api->name), F_S("replica", r->id)),
		 "%s; replacing it", why);
	set_text(&r->last_exit, why);
	rev->api->restarts++;
	api_event(rev->api, rev->number, "replica_exit", r->id, NULL,
		  "%s; it is being replaced", why);
	replica_leave(r, STUCK_GRACE_MS);
	revision_step(rev);
}

static void on_frame(struct process *p, const struct frame *f,
		     struct str payload)
{
	struct replica *r = p->data;
	char why[96];

	r->heard_at = now_of(r);
	r->pings = 0;
	switch (f->type) {
	case FRAME_LOADING:
		if (r->state != REPLICA_STARTING)
			break;
		free(r->detail);
		r->detail = mem_strndup(payload.p, payload.n);
		revision_on_loading(r->rev, r);
		break;
	case FRAME_READY:
		ready(r);
		break;
	case FRAME_FAILED:
		on_failed(r, payload);
		break;
	case FRAME_STUCK:
		snprintf(why, sizeof why,
			 "a predict has been running for %u ms and cannot be "
			 "stopped",
			 f->arg);
		stuck(r, why);
		break;
	default:
		break;
	}
}

void replica_tick(struct replica *r)
{
	uint64_t now = now_of(r);

	if (!is_python(r) || r->state != REPLICA_READY || !r->process)
		return;
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

static void close_upstream(struct replica *r)
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
		replica_free(r);
		return;
	}
	/* A restart waited for the old connections to be gone. */
	if (r->state == REPLICA_IDLE && !r->rev->leaving)
		replica_start(r);
}

static void gone(struct replica *r)
{
	r->state = REPLICA_GONE;
	uv_timer_stop(&r->timer);
	close_probe(r);
	list_remove(&r->link);
	revision_on_gone(r->rev);
	uv_close((uv_handle_t *)&r->timer, on_timer_closed);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct replica *r = handle->data;

	r->timer_open = false;
	replica_free(r);
}

/* Called by every part that ends; the last one frees. */
static void replica_free(struct replica *r)
{
	if (r->state != REPLICA_GONE || r->timer_open || r->up_closing ||
	    r->probing || r->probe_open || r->in_flight)
		return;
	assert(!r->up_open && !r->process && list_empty(&r->mourners));
	free(r->id);
	free(r->last_exit);
	free(r->detail);
	free(r->failed);
	free(r);
}

static void died(struct replica *r, const char *cause, bool launched)
{
	struct revision *rev = r->rev;
	struct api *a = rev->api;
	uint64_t now = now_of(r);
	int64_t healthy =
		r->state == REPLICA_READY ? (int64_t)(now - r->ready_at) : 0;
	bool was_ready = r->ready_at >= r->spawned_at && r->ready_at != 0;
	bool leaving = r->state >= REPLICA_DRAINING;
	cleanup_free char *said = NULL;

	assert(r->state != REPLICA_GONE);
	uv_timer_stop(&r->timer);
	close_probe(r);
	if (r->failed)
		said = mem_strdup(r->failed);
	/* First: requests that break off now are answered with it, and find
	 * that there is nothing left to stop. */
	set_text(&r->last_exit, said ? said : cause);
	if (leaving)
		r->state = REPLICA_STOPPING;
	close_upstream(r);
	gate_on_exit(a, r, cause);
	if (leaving) {
		gone(r);
		return;
	}
	r->failures = backoff_count(
		r->failures, healthy,
		was_ready ? (int64_t)(r->ready_at - r->spawned_at) : 0);
	r->restarts++;
	a->restarts++;
	if (!was_ready)
		r->unready++;
	r->state = REPLICA_BACKOFF;
	uv_timer_start(
		&r->timer, on_timer,
		(uint64_t)backoff_wait_ms(r->failures, serve_random(a->serve)),
		0);
	log_warn(LOG_F(F_S("api", a->name), F_S("replica", r->id),
		       F_S("cause", r->last_exit),
		       F_I("failures", r->failures)),
		 "replica died");
	if (said || !launched || r->unready < TRIES_LIVE) {
		revision_on_exit(rev, r, r->last_exit, said || !launched);
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
	died(r, cause, launched);
	process_close(p);
}

static const struct process_ops replica_process_ops = {
	.on_line = on_line,
	.on_frame = on_frame,
	.on_notify = on_notify,
	.on_exit = on_process_gone,
};

static void stop_process(struct replica *r)
{
	uint64_t now = now_of(r);
	uint64_t left = r->grace_until > now ? r->grace_until - now : 0;

	r->state = REPLICA_STOPPING;
	if (!r->process) {
		close_upstream(r);
		gone(r);
		return;
	}
	if (!left) {
		process_signal(r->process, SIGKILL);
		return;
	}
	if (is_python(r))
		process_send(r->process, FRAME_STOP, (uint32_t)left, NULL);
	else
		process_signal(r->process, SIGTERM);
	uv_timer_start(&r->timer, on_timer, left, 0);
}

void replica_leave(struct replica *r, uint32_t grace_ms)
{
	enum replica_state was = r->state;

	if (was >= REPLICA_DRAINING)
		return;
	uv_timer_stop(&r->timer);
	r->grace_until = now_of(r) + grace_ms;
	list_remove(&r->link);
	list_push_back(&r->rev->gone, &r->link);
	r->state = REPLICA_DRAINING;
	if (was != REPLICA_READY || !r->in_flight) {
		stop_process(r);
		return;
	}
	uv_timer_start(&r->timer, on_timer, grace_ms, 0);
}

void replica_idle(struct replica *r)
{
	if (r->in_flight)
		return;
	if (r->state == REPLICA_DRAINING)
		stop_process(r);
	else
		replica_free(r); /* if it is gone, and waited for this */
}

/* Its start has taken too long: what it was waiting for, for people. */
static void too_slow(struct replica *r, uint32_t limit)
{
	const char *path = r->rev->spec->predictor.readiness_path;
	char after[32];

	free(r->failed);
	str_human_ms(limit, after);
	if (is_python(r))
		r->failed = mem_printf("it was not ready within %s "
				       "(start_timeout), the last step: %s",
				       after, r->detail ? r->detail : "none");
	else if (path)
		r->failed = mem_printf("GET %s on its $PORT (here %d) was not "
				       "answered with 2xx or 3xx within %s "
				       "(readiness_path, start_timeout)",
				       path, r->port, after);
	else
		r->failed = mem_printf("nothing listened on its $PORT (here "
				       "%d) within %s (start_timeout). "
				       "Remedy: make the program listen on "
				       "127.0.0.1:$PORT",
				       r->port, after);
}

static void on_timer(uv_timer_t *timer)
{
	struct replica *r = timer->data;
	uint32_t limit = r->rev->spec->predictor.start_timeout_ms;

	switch (r->state) {
	case REPLICA_BACKOFF:
		r->state = REPLICA_IDLE;
		if (!r->up_closing)
			replica_start(r);
		break;
	case REPLICA_STARTING:
		if (limit && now_of(r) - r->spawned_at >= limit) {
			too_slow(r, limit);
			process_signal(r->process, SIGKILL);
			break;
		}
		probe(r);
		break;
	case REPLICA_DRAINING:
		r->grace_until = 0;
		stop_process(r);
		break;
	case REPLICA_STOPPING:
		if (r->process)
			process_signal(r->process, SIGKILL);
		break;
	default:
		break;
	}
}
