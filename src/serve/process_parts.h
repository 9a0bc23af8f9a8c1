/* process_parts.h: what the files of a process share: the keeper's side
 * (local.c), its start (spawn.c), its output (output.c), its life (process.c).
 */
#ifndef SERVE_PROCESS_PARTS_H
#define SERVE_PROCESS_PARTS_H

#include "core/json.h"

#include "serve/local.h"

enum {
	PROCESS_LINE_MAX = 64 * 1024,
	PROCESS_REST_MAX =
		2 << 20, /* a pipe's content, and what was read before */
};

/* Behind a process's name in DATA/run/s: it is warm. */
#define PROCESS_WARM ".warm"

/* local.c */
void local__tell(struct local *l, uint16_t type, uint64_t id, int32_t arg);
/* Kills and removes the control group of a dead process, now or later. */
void local__end_group(struct local *l, const char *name);

/* process.c */
struct process *process__new(struct local *l, uint64_t id, const char *name,
			     const char *meta);
/* Takes the daemon's end of its control channel. */
int process__hear_control(struct process *p, int fd);
void process__on_notify_readable(uv_poll_t *poll, int status, int events);
void process__on_handle_closed(uv_handle_t *handle);
/* One of p->handles is closed; the last one may free it. */
void process__handle_closed(struct process *p);
/* What a wait status means, for people: the launcher's words, or how it ended.
 * free() it. */
char *process__cause(struct process *p, int status);
/* It is dead (or never was): takes the cause. */
void process__dead(struct process *p, char *cause);
/* Tells of the exit once: when it is dead and its output has been heard. */
void process__maybe_gone(struct process *p);

/* Another daemon has it: no more is heard of it here, and it is not touched. */
void process__leave(struct process *p);

/* left.c */
/* So many requests of earlier daemons are there. Returns whether it is left:
 * nobody else wants to know. */
bool process__held(struct process *p, unsigned n);
/* All is told: those that are left, and have nothing, end. */
void local__end_left(struct local *l);
void local__tick_left(struct local *l);

/* process_warm.c */
/* One from before: whether it is. */
void process__find_warm(struct process *p);
void process__forget_warm(const struct process *p);

/* birth.c */
/* A zygote has said FORKED. */
void process__forked(struct process *zygote, uint32_t number,
		     struct str payload);
/* The keeper has it, or says why not (-errno). handle: as in struct process;
 * taken. */
void process__born(struct process *p, int32_t answer, int handle);
/* One from before, with its meta: what there is to know of its birth. */
void process__adopt_forked(struct process *p, yyjson_val *meta);
/* Those that this zygote was still to fork end with it, but for those that have
 * said themselves that they are there. */
void process__end_unborn(struct process *zygote);
/* Takes it off the list of those that are still in their zygote's group. */
void process__weaned(struct process *p);
/* A fork that has user code to run has begun it by then. */
enum { PROCESS_BEGUN_MS = 50 };
/* Moves those to groups of their own that are old enough, or wait for it. */
void local__wean(struct local *l);

/* output.c */
/* Takes the read end of its log pipe. */
int process__hear_log(struct process *p, int fd);
void process__drain_log(struct process *p);
/* Tells what has been read of it, half a line at its end included. */
void process__tell_rest(struct process *p);
void process__close_log(struct process *p);

#endif
