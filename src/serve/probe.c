#include <netinet/in.h>

#include "box/ports.h"
#include "core/mem.h"
#include "serve/replica_parts.h"

enum {
	FIRST_MS = 5,
	MOST_MS = 250,
	ANSWER_MS = 5000,
	LOOK_MS = 2000, /* a program that is slow to listen, or listens
			   elsewhere */
	LOOK_PORTS = 8,
};

/* Finding out on which ports a program listens, in libuv's pool. */
struct port_look {
	uv_work_t work;
	struct replica *r; /* waits for us before it is freed */
	pid_t pid;
	uint16_t ports[LOOK_PORTS];
	size_t n;
};

static void on_probe_timer(uv_timer_t *timer);
static void on_probe_connected(uv_connect_t *req, int status);
static void on_probe_answer(void *data, unsigned status);
static void on_probe_closed(uv_handle_t *handle);

void replica__probe_first(struct replica *r)
{
	r->probe_ms = FIRST_MS;
	r->look_at = r->spawned_at + LOOK_MS;
	uv_timer_start(&r->timer, on_probe_timer, r->probe_ms, 0);
}

static void on_probe_timer(uv_timer_t *timer)
{
	replica__probe_again(timer->data);
}

void replica__probe_stop(struct replica *r)
{
	if (r->probe_open && !uv_is_closing((uv_handle_t *)&r->probe))
		uv_close((uv_handle_t *)&r->probe, on_probe_closed);
}

static void on_look(uv_work_t *work)
{
	struct port_look *l = work->data;

	l->n = ports_of(l->pid, l->ports, LOOK_PORTS);
}

/* Somebody who insists on a port of their own would wait for start_timeout. */
static void on_looked(uv_work_t *work, int status)
{
	struct port_look *l = work->data;
	struct replica *r = l->r;
	bool elsewhere = !status && l->n && r->state == REPLICA_STARTING &&
			 r->process && r->process->pid == l->pid;

	for (size_t i = 0; i < l->n; i++)
		elsewhere = elsewhere && l->ports[i] != r->port;
	if (elsewhere && !r->detail) {
		r->detail = mem_printf("it listens on port %u, not on its "
				       "$PORT (here %d). " REPLICA_LISTEN,
				       l->ports[0], r->port);
		revision_on_loading(r->rev, r);
	}
	r->look = NULL;
	free(l);
	replica__maybe_free(r);
}

/* Ever less often, until it is found to listen somewhere. */
static void look_where(struct replica *r)
{
	struct port_look *l;

	if (r->look || r->detail || !r->process->pid ||
	    replica__now(r) < r->look_at)
		return;
	r->look_at = replica__now(r) + (replica__now(r) - r->spawned_at);
	l = mem_alloc(sizeof *l);
	l->work.data = l;
	l->r = r;
	l->pid = r->process->pid;
	if (uv_queue_work(replica__serve(r)->loop, &l->work, on_look,
			  on_looked))
		free(l);
	else
		r->look = l;
}

/* Again in a while, longer each time; or the start has taken too long. */
static void probe_later(struct replica *r)
{
	uint64_t limit;

	/* A replica that is gone may have outlived its revision. */
	if (r->state != REPLICA_STARTING || r->warming.on || !r->process ||
	    r->process->state == PROCESS_EXITED || replica__serve(r)->yielded)
		return;
	limit = r->rev->spec->predictor.start_timeout_ms;
	if (limit && replica__now(r) - r->spawned_at >= limit) {
		replica__too_slow(r);
		return;
	}
	look_where(r);
	r->probe_ms = MIN(r->probe_ms + r->probe_ms / 2 + 1, (unsigned)MOST_MS);
	uv_timer_start(&r->timer, on_probe_timer, r->probe_ms, 0);
}

void replica__probe_again(struct replica *r)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_port = htons((uint16_t)r->port),
				   .sin_addr = {htonl(INADDR_LOOPBACK)}};

	if (r->probing || r->probe_open)
		return;
	r->probing = true;
	if (r->rev->spec->predictor.readiness_path) {
		http_probe(&r->up, r->rev->spec->predictor.readiness_path,
			   ANSWER_MS, on_probe_answer, r);
		return;
	}
	uv_tcp_init(replica__serve(r)->loop, &r->probe);
	r->probe.data = r;
	r->probe_open = true;
	r->probe_req.data = r;
	if (uv_tcp_connect(&r->probe_req, &r->probe, (struct sockaddr *)&addr,
			   on_probe_connected)) {
		r->probing = false;
		replica__probe_stop(r);
		probe_later(r);
	}
}

static void on_probe_connected(uv_connect_t *req, int status)
{
	struct replica *r = req->data;

	r->probing = false;
	replica__probe_stop(r);
	if (status == 0 && r->state == REPLICA_STARTING)
		replica__ready(r);
	else
		probe_later(r);
}

static void on_probe_answer(void *data, unsigned status)
{
	struct replica *r = data;

	r->probing = false;
	if (r->state == REPLICA_GONE) {
		replica__maybe_free(r);
		return;
	}
	if (status >= 200 && status < 400 && r->state == REPLICA_STARTING)
		replica__ready(r);
	else
		probe_later(r);
}

static void on_probe_closed(uv_handle_t *handle)
{
	struct replica *r = handle->data;

	r->probe_open = false;
	replica__maybe_free(r);
}
