/* daemon_parts.h: what the files of the daemon share: its start and end
 * (daemon.c), taking over from the one before (take_over.c), and yielding to
 * the next (yield.c). */
#ifndef DAEMON_DAEMON_PARTS_H
#define DAEMON_DAEMON_PARTS_H

#include "api/admin.h"
#include "daemon/gateway.h"
#include "daemon/pass_on.h"
#include "daemon/reload.h"
#include "keep/proto.h"

struct daemon {
	uv_loop_t loop;
	struct lane lane;
	struct serve serve;
	struct admin admin;
	struct gateway gateway;
	struct http_server data, control;
	struct http_server pass;  /* of a daemon that has yielded to this one */
	struct http_server calls; /* once it has yielded itself */
	char *calls_path;
	bool data_open, control_open, pass_open, calls_open;
	int listeners[KEEP_LISTENERS];
	uv_timer_t lag, cut;
	uv_signal_t term, intr, hup;
	uint64_t lag_due;
	char *data_dir, *listen, *admin_listen;
	struct settings settings;  /* in force */
	struct http_limits limits; /* of the data plane, from them */
	struct reload reload;
	struct pass_on pass_on;
	struct yield {
		uv_timer_t timer;  /* the next look, HOLDS */
		uv_timer_t linger; /* of the admin API's connections */
		uint64_t until;	   /* uv_now: of the wait for a calm moment, or
				      of the grace */
		bool asked, done, over, ended;
		bool ending;		/* told to stop since */
		struct http_req *asker; /* of `soma upgrade`; or NULL */
		unsigned held; /* at replicas, when it was looked last */
	} yield;
	int keeper_fd;
	bool take_over;
	bool stopping, served;
	int exit_code;
};

/* daemon.c */
void daemon__on_data_closed(struct http_server *s);
void daemon__on_control_closed(struct http_server *s);
void daemon__on_cut(uv_timer_t *timer);
void daemon__on_pass_closed(struct http_server *s);

/* take_over.c */
/* `soma daemon --check`: says what this is, and whether it can read the store.
 * The exit code. */
int take_over_check(const char *data_dir);
/* Says READY and waits for GO. Non-zero: the keeper is gone, or wants no other
 * daemon any more. */
int take_over_wait(int keeper_fd);

/* calls.c: from the yield on, until the last connection is over. */
void calls_open(struct daemon *d);
void calls_end(struct daemon *d);

/* yield.c */
void yield_init(struct daemon *d);
void yield_close(struct daemon *d);
/* KEEP_STOP for one that has yielded. */
void yield_stop(struct daemon *d);
/* One of its servers has closed, or has nothing to do. */
void yield_maybe_over(struct daemon *d);

#endif
