/* yield.c: a daemon that another takes over from, from the keeper's YIELD to
 * its end.
 *
 *   YIELD -> a calm moment is waited for -> yielded: the store is closed ->
 *   YIELDED -> answers what it has, passes on what comes -> no connection is
 *   left, or the grace is over -> exit 0
 */
#include <stdlib.h>
#include <unistd.h>

#include "core/json.h"
#include "core/mem.h"
#include "daemon/daemon_parts.h"
#include "daemon/notify.h"
#include "loop/log.h"

enum {
	LOOK_MS = 20,
	CALM_MS = 30000, /* how long a calm moment is waited for */
	HOLDS_MS = 100,
	LINGER_MS = 500, /* for the CLI to read how it went */
	TOLD_MS = 2000,	 /* for clients to read that their time is over */
};

static void on_timer(uv_timer_t *timer);

/* ---- to a calm moment ---- */

static void on_store_left(void *data)
{
	struct daemon *d = data;

	local_yielded(&d->serve.local, NULL);
	log_info(NULL, "yielded: another daemon serves from now on");
}

static void pass(struct serve *s, struct http_req *req, int64_t left_ms)
{
	pass_on(&CONTAINER_OF(s, struct daemon, serve)->pass_on, req, left_ms);
}

static void yield(struct daemon *d)
{
	struct err err = {0};
	char *path = local_socket_path(&d->serve.local, KEEP_PASS_NAME);

	if (pass_on_open(&d->pass_on, &d->lane, path, &err)) {
		local_yielded(&d->serve.local, err.msg);
		d->yield.asked = false;
		return;
	}
	d->yield.done = true;
	d->yield.until = uv_now(&d->loop) +
			 settings_number(&d->settings, SETTING_UPGRADE_GRACE);
	http_server_leave(&d->data, daemon__on_data_closed);
	http_server_leave(&d->pass, daemon__on_pass_closed);
	http_server_drain(&d->control, daemon__on_control_closed);
	logfile_flush(&d->gateway.access);
	calls_open(d);
	serve_yield(&d->serve, on_store_left, d);
	uv_timer_start(&d->yield.timer, on_timer, 0, HOLDS_MS);
}

static bool changes(const struct http_req *req, void *data)
{
	const struct daemon *d = data;

	return req != d->yield.asker && !str_eq(req->method_name, STR("GET"));
}

/* Who sends a project, or a model on its way, is not to begin again. */
static const char *why_not(struct daemon *d)
{
	const char *why = serve_why_not_yield(&d->serve);
	const struct http_req *req;

	if (why)
		return why;
	req = http_server_find(&d->control, changes, d);
	return req ? "a request to the admin API that changes something is "
		     "under way"
		   : NULL;
}

static void look(struct daemon *d)
{
	const char *why = why_not(d);
	cleanup_free char *text = NULL;

	if (!why) {
		uv_timer_stop(&d->yield.timer);
		yield(d);
		return;
	}
	if (uv_now(&d->loop) < d->yield.until)
		return;
	uv_timer_stop(&d->yield.timer);
	d->yield.asked = false;
	text = mem_printf("for %d s there was no moment to take over in: %s; "
			  "try again later",
			  CALM_MS / 1000, why);
	local_yielded(&d->serve.local, text);
}

static void on_yield(struct local *l)
{
	struct daemon *d = CONTAINER_OF(l, struct daemon, serve.local);

	if (d->yield.asked || d->yield.done)
		return;
	d->yield.asked = true;
	d->yield.until = uv_now(&d->loop) + CALM_MS;
	uv_timer_start(&d->yield.timer, on_timer, 0, LOOK_MS);
}

/* ---- after it ---- */

/* What is unanswered is told, and has a moment to read that. */
static void end_grace(struct daemon *d)
{
	d->yield.over = true;
	log_warn(LOG_F(F_I("connections", d->data.n_conns)),
		 "upgrade_grace is over: ending what is left");
	serve_yield_end(&d->serve);
	uv_timer_start(&d->cut, daemon__on_cut, TOLD_MS, 0);
}

static void on_timer(uv_timer_t *timer)
{
	struct daemon *d = timer->data;

	if (!d->yield.done) {
		look(d);
		return;
	}
	d->yield.held = serve_yield_tick(&d->serve);
	yield_maybe_over(d);
	logfile_flush(&d->gateway.access);
	if (!d->yield.over && uv_now(&d->loop) >= d->yield.until)
		end_grace(d);
	/* Soma ends: what replicas had is over, clients may still read. */
	if (d->yield.ending && !d->yield.held && !d->yield.over) {
		d->yield.over = true;
		uv_timer_start(
			&d->cut, daemon__on_cut,
			settings_number(&d->settings, SETTING_STOP_TIMEOUT), 0);
	}
}

void yield_stop(struct daemon *d)
{
	if (d->yield.ending)
		return;
	d->yield.ending = true;
	if (d->data_open)
		http_server_drain(&d->data, daemon__on_data_closed);
	if (d->pass_open)
		http_server_drain(&d->pass, daemon__on_pass_closed);
}

static void on_log_closed(struct logfile *f)
{
	(void)f;
	log_info(NULL, "the last connection from before the upgrade is over");
	/* All else here is another's by now: there is nothing to be ended. */
	_exit(0);
}

void yield_maybe_over(struct daemon *d)
{
	if (d->data_open || d->pass_open || d->control_open || d->yield.ended)
		return;
	/* Calls that were taken over end there. */
	calls_end(d);
	d->yield.ended = !d->calls_open;
	if (d->yield.ended)
		gateway_close(&d->gateway, on_log_closed);
}

/* ---- `soma upgrade` ---- */

static void on_linger(uv_timer_t *timer)
{
	struct daemon *d = timer->data;

	/* Followers of feeds, too, who ask the next one. */
	if (d->yield.done && d->control_open)
		http_server_cut(&d->control);
}

static void on_asker_over(struct http_req *req)
{
	struct daemon *d = req->user;

	if (d->yield.asker == req)
		d->yield.asker = NULL;
}

static void answer(struct http_req *req, bool done, struct str text)
{
	cleanup_json_mut yyjson_mut_doc *doc = NULL;
	cleanup_free char *json = NULL, *message = NULL;
	yyjson_mut_val *root;
	size_t len;

	if (!done) {
		http_reply_error(req, E_CONFLICT, "%.*s", (int)text.n, text.p);
		return;
	}
	doc = yyjson_mut_doc_new(NULL);
	root = yyjson_mut_obj(doc);
	yyjson_mut_doc_set_root(doc, root);
	message = mem_printf("upgraded from %s to %.*s", SOMA_VERSION,
			     (int)text.n, text.p);
	yyjson_mut_obj_add_strcpy(doc, root, "message", message);
	yyjson_mut_obj_add_strncpy(doc, root, "version", text.p, text.n);
	json = json_write(doc, &len);
	http_reply(req, 200, "application/json", json, len);
}

static void on_upgraded(struct local *l, bool done, struct str text)
{
	struct daemon *d = CONTAINER_OF(l, struct daemon, serve.local);
	struct http_req *req = mem_take(&d->yield.asker);

	if (req)
		answer(req, done, text);
	/* Of one that has yielded nothing more is to come. */
	if (d->yield.done)
		uv_timer_start(&d->yield.linger, on_linger, LINGER_MS, 0);
}

static void on_ask(struct http_req *req, const char *program)
{
	struct daemon *d = CONTAINER_OF(admin_of(req), struct daemon, admin);

	if (d->yield.asker) {
		http_reply_error(req, E_CONFLICT,
				 "an upgrade is under way already");
		return;
	}
	d->yield.asker = req;
	req->user = d;
	req->on_over = on_asker_over;
	local_upgrade(&d->serve.local, program);
}

static void on_timer_closed(uv_handle_t *handle)
{
	(void)handle;
}

void yield_init(struct daemon *d)
{
	uv_timer_init(&d->loop, &d->yield.timer);
	uv_timer_init(&d->loop, &d->yield.linger);
	d->yield.timer.data = d->yield.linger.data = d;
	d->serve.local.on_yield = on_yield;
	d->serve.local.on_upgraded = on_upgraded;
	d->serve.pass_on = pass;
	d->admin.upgrade = on_ask;
}

void yield_close(struct daemon *d)
{
	uv_close((uv_handle_t *)&d->yield.timer, on_timer_closed);
	uv_close((uv_handle_t *)&d->yield.linger, on_timer_closed);
}
