/* soma-host: the replica of a native engine. Started by the daemon, with
 * SOMA_LISTEN_FD and SOMA_CONTROL_FD (docs/internals/control-channel.md). */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "core/mem.h"
#include "host/host.h"
#include "loop/fork.h"
#include "loop/log.h"

static int inherited(const char *name)
{
	const char *text = getenv(name);
	uint64_t fd;

	if (!text || !str_u64(str_of(text), &fd) || fd > 1 << 20)
		return -1;
	return fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0 ? -1 : (int)fd;
}

/* ---- loading, by a slot ---- */

static void on_log(void *data, enum soma_log_level level, const char *text)
{
	static const enum log_level levels[] = {LOG_DEBUG, LOG_INFO, LOG_WARN,
						LOG_ERROR};

	(void)data;
	log_emit(levels[(unsigned)level < ARRAY_LEN(levels) ? level
							    : SOMA_LOG_INFO],
		 NULL, "%s", text);
}

static void on_progress(void *data, const char *text)
{
	struct host *h = data;

	pthread_mutex_lock(&h->slots.lock);
	snprintf(h->loading, sizeof h->loading, "%s", text);
	pthread_mutex_unlock(&h->slots.lock);
	uv_async_send(&h->told_loading);
}

static void on_told_loading(uv_async_t *async)
{
	struct host *h = CONTAINER_OF(async, struct host, told_loading);
	char text[sizeof h->loading];

	pthread_mutex_lock(&h->slots.lock);
	memcpy(text, h->loading, sizeof text);
	pthread_mutex_unlock(&h->slots.lock);
	if (h->state == HOST_LOADING)
		control_send(h, FRAME_LOADING, 0, text, strlen(text));
}

static void on_load(struct work *w)
{
	struct host *h = CONTAINER_OF(w, struct host, load);

	if (h->plugin.loaded) /* by a zygote */
		return;
	crash_watch(h->control.fd, h->config.engine);
	if (!plugin_open(&h->plugin, &h->config, &h->load_error) && h->batches)
		batch_check_ports(h->plugin.ports, config_batch_key(&h->config),
				  &h->load_error);
	crash_forget();
}

/* ---- serving, by the leader ---- */

static void fail(struct host *h, const struct err *why)
{
	log_error(NULL, "%s", why->msg);
	control_failed(h, why);
	_exit(1);
}

static void on_loaded(struct work *w)
{
	struct host *h = CONTAINER_OF(w, struct host, load);
	struct http_server_opts opts = {
		.limits = &h->limits, .on_request = jobs_on_request, .data = h};
	struct err err = {0};

	if (h->load_error.code)
		fail(h, &h->load_error);
	about_make(h);
	if (http_server_open(&h->server, &h->lane, h->listener, &opts, &err))
		fail(h, &err);
	h->state = HOST_SERVING;
	h->slots.on_tell = control_stages; /* loading was nobody's request */
	control_send(h, FRAME_READY, (uint32_t)getpid(), h->facts.data,
		     h->facts.len);
}

/* ---- the end ---- */

static void on_grace_over(uv_timer_t *timer)
{
	(void)timer;
	log_warn(NULL, "the time to finish requests is over");
	_exit(1);
}

static void on_drained(struct http_server *server)
{
	struct host *h = CONTAINER_OF(server, struct host, server);

	h->state = HOST_STOPPED;
	control_send(h, FRAME_BYE, 0, NULL, 0);
	/* A run that nobody waits for any more may not end by itself. */
	if (!slots_are_idle(&h->slots))
		_exit(0);
	slots_end(&h->slots);
}

void host_stop(struct host *h, uint64_t grace_ms)
{
	if (h->state == HOST_LOADING) {
		control_send(h, FRAME_BYE, 0, NULL, 0);
		_exit(0);
	}
	if (h->state != HOST_SERVING)
		return;
	h->state = HOST_STOPPING;
	uv_timer_start(&h->grace, on_grace_over, grace_ms, 0);
	http_server_drain(&h->server, on_drained);
}

static void on_sigterm(uv_signal_t *signal, int number)
{
	struct host *h = CONTAINER_OF(signal, struct host, sigterm);

	(void)number;
	host_stop(h, STOP_GRACE_MS);
}

/* ---- start ---- */

static int read_config(struct config *c, int control, struct err *err)
{
	cleanup_free char *text = NULL;
	size_t len;

	text = control_read_config(control, &len, err);
	return text ? config_read(c, text, len, err) : err->code;
}

/* What CONFIG says, which a zygote of ours has had already, but for the name:
 * what is loaded may point into it. */
static int configure(struct host *h, int *control, struct err *err)
{
	enum log_level level = LOG_INFO;
	struct config own;

	if (read_config(&h->config, *control, err))
		return err->code;
	log_level_of(h->config.log_level, &level);
	log_setup("soma-host", level, 0);
	h->plugin.log = on_log;
	h->plugin.host = h;
	if (!h->config.zygote)
		return 0;
	*control = zygote_wait(h, *control);
	if (read_config(&own, *control, err))
		return err->code;
	/* A zygote has one; what is loaded is the same for any number. */
	h->config.slots = own.slots;
	config_fini(&own);
	return fork_follow_keeper() ? err_sys(err, errno, "PR_SET_PDEATHSIG")
				    : 0;
}

static int host_init(struct host *h, int control, struct err *err)
{
	uv_loop_init(&h->loop);
	if (lane_init(&h->lane, &h->loop))
		return err_set(err, E_IO, "the loop cannot be made");
	h->limits = http_limits_default;
	/* The daemon keeps connections as it likes, and lets in what settings
	 * say, at most half of this, and adds its own. */
	h->limits.idle_timeout_ms = UINT32_MAX;
	h->limits.request_line_bytes = 2 << 20;
	h->limits.header_bytes = 32 << 20;
	h->limits.header_count = 20000;
	jobs_init(h);
	buf_init(&h->about, SIZE_MAX / 4);
	buf_init(&h->facts, FRAME_PAYLOAD_MAX);
	buf_init(&h->stages, FRAME_PAYLOAD_MAX);
	h->plugin.progress = on_progress;
	h->slots.loop = &h->loop;
	h->slots.n = h->config.slots;
	h->slots.limit_ms = h->config.predict_timeout_ms;
	h->slots.grace_ms = CANCEL_GRACE_MS;
	h->slots.on_all_stuck = jobs_on_all_stuck;
	h->slots.data = h;
	slots_init(&h->slots);
	uv_async_init(&h->loop, &h->told_loading, on_told_loading);
	uv_timer_init(&h->loop, &h->grace);
	uv_signal_init(&h->loop, &h->sigterm);
	uv_signal_start(&h->sigterm, on_sigterm, SIGTERM);
	return control_open(h, control, err);
}

static void host_fini(struct host *h)
{
	slots_fini(&h->slots);
	chan_close(&h->control, NULL);
	uv_close((uv_handle_t *)&h->told_loading, NULL);
	uv_close((uv_handle_t *)&h->grace, NULL);
	uv_close((uv_handle_t *)&h->sigterm, NULL);
	lane_fini(&h->lane);
	uv_run(&h->loop, UV_RUN_DEFAULT);
	uv_loop_close(&h->loop);
	jobs_fini(h);
	plugin_close(&h->plugin);
	buf_fini(&h->about);
	buf_fini(&h->facts);
	buf_fini(&h->stages);
	config_fini(&h->config);
}

int main(void)
{
	static struct host h;
	struct err err = {0};
	int control = inherited("SOMA_CONTROL_FD"), rc;

	log_setup("soma-host", LOG_INFO, 0);
	h.listener = inherited("SOMA_LISTEN_FD");
	if (control < 0) {
		fprintf(stderr,
			"soma-host is started by 'soma serve' and serves on "
			"what SOMA_LISTEN_FD and SOMA_CONTROL_FD name; to use "
			"it, deploy an api with predictor.type onnx or "
			"engine\n");
		return 2;
	}
	if (configure(&h, &control, &err) || host_init(&h, control, &err)) {
		log_error(NULL, "%s", err.msg);
		return 1;
	}
	h.load.run = on_load;
	h.load.on_done = on_loaded;
	h.load.unlimited = true;
	h.load.alone = true;
	list_init(&h.load.link);
	snprintf(h.loading, sizeof h.loading, "loading %s", h.config.engine);
	control_send(&h, FRAME_LOADING, 0, h.loading, strlen(h.loading));
	slots_add(&h.slots, &h.load);
	rc = slots_run(&h.slots);
	if (rc) {
		err_sys(&err, rc,
			"%u threads (threads_per_process) cannot be made; "
			"take fewer, or allow more",
			h.config.slots);
		fail(&h, &err);
	}
	host_fini(&h);
	return 0;
}
