#include "daemon/daemon.h"

#include "daemon/daemon_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/mem.h"
#include "daemon/notify.h"
#include "daemon/publish.h"
#include "daemon/token.h"
#include "loop/log.h"
#include "serve/memory.h"

enum { LAG_MS = 1000 };

/* ---- settings ---- */

/* What reads them for itself each time is not told. */
static void apply_settings(struct daemon *d)
{
	enum log_level level = LOG_INFO;

	log_level_of(settings_text(&d->settings, SETTING_LOG_LEVEL), &level);
	log_setup("daemon", level, settings_log_json(&d->settings));
	settings_limits(&d->settings, &d->limits);
	d->gateway.logs = settings_number(&d->settings, SETTING_ACCESS_LOG);
	/* None given is 0, which is no limit. */
	d->serve.memory_limit = settings_number(&d->settings, SETTING_MEMORY);
	d->serve.warm_limit =
		settings_text(&d->settings, SETTING_WARM_MEMORY)
			? settings_number(&d->settings, SETTING_WARM_MEMORY)
			: memory_total(&d->serve) / WARM_SHARE;
	d->serve.models_size =
		settings_number(&d->settings, SETTING_MODELS_SIZE);
	d->serve.models_check_ms =
		settings_number(&d->settings, SETTING_MODELS_CHECK);
}

static void on_settings_read(struct reload *r)
{
	struct daemon *d = CONTAINER_OF(r, struct daemon, reload);
	struct buf dump;

	apply_settings(d);
	if (d->stopping || d->serve.yielded)
		return;
	zygote_enforce(&d->serve);
	frozen_enforce(&d->serve);
	models_settings(&d->serve.models);
	swap_wake(&d->serve);
	buf_init(&dump, CHAN_MSG_MAX / 2);
	settings_dump(&d->settings, &dump);
	local_settings(&d->serve.local, dump.data, dump.len);
	buf_fini(&dump);
}

static void on_reload(struct local *l)
{
	reload_start(&CONTAINER_OF(l, struct daemon, serve.local)->reload);
}

/* Soma is told by the keeper; this is for who takes the daemon for it. */
static void on_hangup(uv_signal_t *handle, int signum)
{
	struct daemon *d = handle->data;

	(void)signum;
	reload_start(&d->reload);
}

/* ---- start ---- */

static int read_args(struct daemon *d, int argc, char **argv)
{
	static const struct option options[] = {
		{"data", required_argument, NULL, 'd'},
		{"listen", required_argument, NULL, 'l'},
		{"admin", required_argument, NULL, 'a'},
		{"keeper-fd", required_argument, NULL, 'k'},
		{"settings", required_argument, NULL, 's'},
		{"take-over", no_argument, NULL, 't'},
		{NULL, 0, NULL, 0}};
	int c;

	d->keeper_fd = -1;
	settings_init(&d->settings);
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'd':
			d->data_dir = optarg;
			break;
		case 'l':
			d->listen = optarg;
			break;
		case 'a':
			d->admin_listen = optarg;
			break;
		case 'k':
			d->keeper_fd = atoi(optarg);
			break;
		case 's':
			if (settings_load(&d->settings, optarg, NULL))
				return -1;
			break;
		case 't':
			d->take_over = true;
			break;
		default:
			return -1;
		}
	}
	apply_settings(d);
	return d->data_dir && d->listen && d->admin_listen && d->keeper_fd >= 0
		       ? 0
		       : -1;
}

/* Connections are descriptors: as many as the machine lets us have. */
static void raise_limits(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
		lim.rlim_cur = lim.rlim_max;
		setrlimit(RLIMIT_NOFILE, &lim);
	}
}

static void on_loop_lag(uv_timer_t *timer)
{
	struct daemon *d = timer->data;
	uint64_t now = uv_hrtime();

	if (d->lag_due && now > d->lag_due)
		d->admin.loop_lag_us = (now - d->lag_due) / 1000;
	else
		d->admin.loop_lag_us = 0;
	d->lag_due = now + LAG_MS * 1000000ull;
	logfile_flush(&d->gateway.access);
}

static void on_handle_closed(uv_handle_t *handle)
{
	(void)handle;
}

/* ---- end ---- */

static void on_store_closed(void *data)
{
	(void)data;
}

static void on_access_closed(struct logfile *f)
{
	(void)f;
}

static void finish(struct daemon *d)
{
	struct store *store = d->serve.store;

	serve_close(&d->serve);
	blobs_fini(&d->serve.blobs);
	store_close(store, on_store_closed, d);
	gateway_close(&d->gateway, on_access_closed);
	lane_fini(&d->lane);
	uv_close((uv_handle_t *)&d->lag, on_handle_closed);
	uv_close((uv_handle_t *)&d->cut, on_handle_closed);
	yield_close(d);
	uv_close((uv_handle_t *)&d->term, on_handle_closed);
	uv_close((uv_handle_t *)&d->intr, on_handle_closed);
	uv_close((uv_handle_t *)&d->hup, on_handle_closed);
}

static void maybe_finish(struct daemon *d)
{
	if (d->yield.done) {
		yield_maybe_over(d);
		return;
	}
	if (d->data_open || d->control_open || d->pass_open || !d->served)
		return;
	finish(d);
}

void daemon__on_data_closed(struct http_server *s)
{
	struct daemon *d = CONTAINER_OF(s, struct daemon, data);

	d->data_open = false;
	maybe_finish(d);
}

void daemon__on_control_closed(struct http_server *s)
{
	struct daemon *d = CONTAINER_OF(s, struct daemon, control);

	d->control_open = false;
	maybe_finish(d);
}

void daemon__on_pass_closed(struct http_server *s)
{
	struct daemon *d = CONTAINER_OF(s, struct daemon, pass);

	d->pass_open = false;
	maybe_finish(d);
}

void daemon__on_cut(uv_timer_t *timer)
{
	struct daemon *d = timer->data;

	if (d->data_open)
		http_server_cut(&d->data);
	if (d->pass_open)
		http_server_cut(&d->pass);
	if (d->calls_open)
		http_server_cut(&d->calls);
	if (d->control_open)
		http_server_cut(&d->control);
}

/* All replicas are gone; what connections are left have nothing to wait for
 * but slow readers and followers. */
static void on_stopped(struct serve *s)
{
	struct daemon *d = CONTAINER_OF(s, struct daemon, serve);

	d->served = true;
	if (d->control_open)
		http_server_drain(&d->control, daemon__on_control_closed);
	uv_timer_start(&d->cut, daemon__on_cut,
		       settings_number(&d->settings, SETTING_STOP_TIMEOUT), 0);
	maybe_finish(d);
}

static void stop(struct daemon *d)
{
	if (d->yield.done) {
		yield_stop(d);
		return;
	}
	if (d->stopping)
		return;
	d->stopping = true;
	log_info(NULL, "stopping: draining requests and replicas");
	notify_say("STOPPING=1");
	if (d->data_open)
		http_server_drain(&d->data, daemon__on_data_closed);
	if (d->pass_open)
		http_server_drain(&d->pass, daemon__on_pass_closed);
	serve_stop(&d->serve, on_stopped);
}

static void on_stop(struct local *l)
{
	stop(CONTAINER_OF(l, struct daemon, serve.local));
}

static void on_signal(uv_signal_t *handle, int signum)
{
	(void)signum;
	stop(handle->data);
}

static void on_keeper_lost(struct local *l)
{
	/* Nobody is left who could reap or restart: everything ends here. */
	log_error(NULL, "the keeper is gone; ending everything");
	local_kill_all(l);
	_exit(1);
}

/* ---- the listeners arrive ---- */

static void on_listener(struct local *l, int which, int fd)
{
	struct daemon *d = CONTAINER_OF(l, struct daemon, serve.local);

	if (which < 0 || which >= KEEP_LISTENERS || d->listeners[which] >= 0)
		close(fd);
	else
		d->listeners[which] = fd;
}

static int open_servers(struct daemon *d, struct err *err)
{
	const struct http_server_opts data = {
		.limits = &d->limits,
		.on_request = gateway_on_request,
		.on_log = gateway_on_log,
		.data = &d->gateway,
	};
	const struct http_server_opts control = {
		.on_request = admin_on_request,
		.data = &d->admin,
	};
	int rc = http_server_open(&d->data, &d->lane, d->listeners[0], &data,
				  err);

	if (rc)
		return rc;
	d->data_open = true;
	rc = http_server_open(&d->pass, &d->lane, d->listeners[KEEP_PASS],
			      &data, err);
	if (rc)
		return rc;
	d->pass_open = true;
	rc = http_server_open(&d->control, &d->lane, d->listeners[1], &control,
			      err);
	if (rc)
		return rc;
	d->control_open = true;
	return 0;
}

/* The keeper has told everything: children are adopted, listeners here. */
static void (*adopted_all)(struct local *l);

static void on_adopted_all(struct local *l)
{
	struct daemon *d = CONTAINER_OF(l, struct daemon, serve.local);
	const char *const published[] = {d->serve.worker_dir, d->serve.host_dir,
					 d->serve.own_dir ? d->serve.own_dir
							  : d->serve.host_dir};
	struct err err = {0};

	/* Children from before may still load files of the version before. */
	if (list_empty(&l->processes))
		publish_sweep(d->data_dir, published, ARRAY_LEN(published));
	adopted_all(l);
	/* Told to stop before it began: the doors stay shut. */
	if (d->stopping)
		return;
	if (open_servers(d, &err)) {
		log_error(NULL, "cannot serve: %s", err.msg);
		_exit(1);
	}
	local_serving(l);
	notify_say("READY=1");
	log_info(LOG_F(F_S("listen", d->serve.data_url),
		       F_S("admin", d->admin.url),
		       F_I("apis", d->serve.apis.len)),
		 "serving");
}

static int open_all(struct daemon *d, struct err *err)
{
	struct serve *s = &d->serve;

	s->loop = &d->loop;
	s->lane = &d->lane;
	s->data_dir = d->data_dir;
	s->data_url = mem_printf("http://%s", d->listen);
	d->admin.serve = s;
	d->admin.listen = d->admin_listen;
	d->admin.url = mem_printf("http://%s", d->admin_listen);
	d->admin.keeper_pid = (int)getppid();
	d->admin.started_ms = uv_now(&d->loop);
	d->admin.data_plane = &d->data;
	if (lane_init(&d->lane, &d->loop))
		return err_set(err, E_INTERNAL, "cannot make a lane");
	if (token_get(d->data_dir, &d->admin.token, err) ||
	    publish_worker(d->data_dir, &s->worker_dir, err) ||
	    publish_host(d->data_dir, &s->host_dir, err) ||
	    publish_libraries(d->data_dir, &s->own_dir, err))
		return err->code;
	/* From here on it is alone. */
	if (d->take_over && take_over_wait(d->keeper_fd))
		_exit(0);
	if (store_open(&s->store, &d->loop, d->data_dir, err) ||
	    blobs_init(&s->blobs, &d->loop, d->data_dir, err))
		return err->code;
	token_announce(d->data_dir, d->admin.url, s->data_url);
	gateway_init(&d->gateway, s,
		     settings_number(&d->settings, SETTING_ACCESS_LOG));
	yield_init(d);
	reload_init(&d->reload, &d->loop, &d->settings, d->data_dir,
		    on_settings_read);
	s->local.on_listener = on_listener;
	s->local.on_stop = on_stop;
	s->local.on_reload = on_reload;
	s->local.on_keeper_lost = on_keeper_lost;
	if (serve_open(s, d->keeper_fd, err))
		return err->code;
	/* serve hears first that all is adopted, then the doors open. */
	adopted_all = s->local.on_adopted_all;
	s->local.on_adopted_all = on_adopted_all;
	return 0;
}

int daemon_main(int argc, char **argv)
{
	struct daemon *d;
	struct err err = {0};
	int rc;

	if (argc == 4 && strcmp(argv[1], "--check") == 0)
		return take_over_check(argv[3]);
	d = mem_alloc(sizeof *d);
	if (read_args(d, argc, argv)) {
		fprintf(stderr, "soma: 'soma daemon' is started by 'soma "
				"serve', not by hand\n");
		settings_fini(&d->settings);
		free(d);
		return 2;
	}
	fcntl(d->keeper_fd, F_SETFD, FD_CLOEXEC);
	prctl(PR_SET_NAME, "soma-daemon");
	raise_limits();
	for (int i = 0; i < KEEP_LISTENERS; i++)
		d->listeners[i] = -1;
	uv_loop_init(&d->loop);
	uv_timer_init(&d->loop, &d->lag);
	uv_timer_init(&d->loop, &d->cut);
	uv_signal_init(&d->loop, &d->term);
	uv_signal_init(&d->loop, &d->intr);
	uv_signal_init(&d->loop, &d->hup);
	d->lag.data = d->cut.data = d->term.data = d->intr.data = d;
	d->hup.data = d;
	if (open_all(d, &err)) {
		log_error(NULL, "cannot start: %s", err.msg);
		/* Nothing was begun that would have to be ended. */
		_exit(DAEMON_EXIT_CONFIG);
	}
	uv_timer_start(&d->lag, on_loop_lag, LAG_MS, LAG_MS);
	uv_signal_start(&d->term, on_signal, SIGTERM);
	uv_signal_start(&d->intr, on_signal, SIGINT);
	uv_signal_start(&d->hup, on_hangup, SIGHUP);
	uv_run(&d->loop, UV_RUN_DEFAULT);
	rc = d->exit_code;
	if (uv_loop_close(&d->loop))
		log_warn(NULL, "something was still open at the end");
	log_info(NULL, "stopped");
	reload_fini(&d->reload);
	settings_fini(&d->settings);
	free(d->admin.token);
	free(d->admin.url);
	free(d);
	return rc;
}
