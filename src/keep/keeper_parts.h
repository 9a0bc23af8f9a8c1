/* keeper_parts.h: what the files of the keeper share: its life (keeper.c) and
 * the change from one daemon to the next (upgrade.c). */
#ifndef KEEP_KEEPER_PARTS_H
#define KEEP_KEEPER_PARTS_H

#include <sys/resource.h>
#include <uv.h>

#include "core/buf.h"
#include "keep/adopt.h"
#include "keep/candidate.h"
#include "keep/keep.h"
#include "keep/tenant.h"

/*
 * The keeper's life:
 *
 *   keep_run -> RUNNING <-> RESTARTING (the daemon died; its timer runs)
 *                  |
 *      SIGTERM, or the daemon cannot start
 *                  v
 *              STOPPING (the daemons drain) -> all killed -> return
 */
enum keeper_state { RUNNING, RESTARTING, STOPPING };

/*
 * An upgrade, beside it:
 *
 *   NONE -> CHECKING -> STARTING -> YIELDING -> TAKING -> NONE
 *             the program's   its     the old     the new
 *             own look      READY     one's       one's
 *             at the store            YIELDED     SERVING
 *
 * Up to YIELDING the old daemon serves as if nothing were; whatever fails ends
 * there. From YIELDED on the new one is the keeper's daemon: should it die
 * before it serves, one is started from the file that the old one runs.
 */
enum upgrade_state {
	UPGRADE_NONE,
	UPGRADE_CHECKING,
	UPGRADE_STARTING,
	UPGRADE_YIELDING,
	UPGRADE_TAKING,
};

struct upgrade {
	enum upgrade_state state;
	struct candidate candidate;
	pid_t asker;	     /* the daemon that hears how it went; 0: none */
	uv_timer_t timer;    /* of the state */
	struct tenant *next; /* STARTING, YIELDING: the new one */
	bool killed;	     /* it took too long */
};

struct keeper {
	const struct keep_opts *opts;
	int *listeners; /* by enum keep_listener; -1 once closed */
	char *self;	/* owned: path of the daemon's program */
	int fallback; /* owned: the file that served last, after another did not
			 get so far; -1: what is at `self` is right */
	uv_loop_t loop;
	uv_signal_t chld, term, intr, hup, usr2;
	uv_timer_t restart;
	struct tenant *daemon; /* the one that all is told; NULL: none */
	struct list retired;   /* that have yielded, and live */
	struct upgrade upgrade;
	bool reload;	  /* no daemon has acted on the last SIGHUP */
	bool terminal;	  /* its hanging up ends Soma */
	bool serving;	  /* this daemon said SERVING */
	bool ever_served; /* one of them did */
	uint64_t started_ms;
	unsigned restart_ms;
	enum keeper_state state;
	int exit_code;
	struct list children;
	struct adopt_ends ends; /* of those that are in no list yet */
	struct rlimit files;	/* as Soma was started; for the children */
};

/* keeper.c */
void keeper__on_message(struct chan *c, const void *data, size_t len,
			const int *fds, size_t n_fds);
/* t is the daemon from now on. */
void keeper__instal(struct keeper *k, struct tenant *t);

/* upgrade.c */
void upgrade_init(struct keeper *k);
void upgrade_close(struct keeper *k);
/* program: NULL or "" is where our own is. asker: 0 for none. */
void upgrade_begin(struct keeper *k, const char *program, pid_t asker);
/* Soma is to end. */
void upgrade_stop(struct keeper *k);
/* Whether the child that ended was one of the upgrade's; it has been noted. */
bool upgrade_on_exit(struct keeper *k, pid_t pid, int status);
void upgrade_on_ready(struct keeper *k, struct tenant *t);
void upgrade_on_yielded(struct keeper *k, struct tenant *t, const char *why);
void upgrade_on_serving(struct keeper *k);
/* The daemon has died. True: another one has its place already. */
bool upgrade_on_death(struct keeper *k);

#endif
