/*
 * A process that no revision has any more: a replica of one that was leaving
 * when the daemon from before went, a build, a fetch. It is ended, but not
 * before the requests are over that a daemon which has yielded still has there.
 */
#include <signal.h>

#include "serve/process_parts.h"

enum {
	END_MS = 5000,	 /* from its last request on */
	LAST_MS = 60000, /* for what it has, when Soma ends */
};

static void on_exit_of_left(struct process *p, const char *cause, bool launched)
{
	(void)cause;
	(void)launched;
	process_close(p);
}

static void kill_by(struct process *p, uint64_t ms)
{
	uint64_t at = uv_now(p->local->loop) + ms;

	if (!p->kill_at || at < p->kill_at)
		p->kill_at = at;
}

void process_abandon(struct process *p)
{
	static const struct process_ops ops = {.on_exit = on_exit_of_left};

	p->ops = &ops;
	p->left = true;
	/* Whether anybody has requests there is told behind it. */
	if (!p->local->adopting)
		process_signal(p, SIGKILL);
}

static bool is_left(const struct process *p)
{
	return p->left && p->state != PROCESS_EXITED;
}

/* The last is over: it may do what it does at its end. */
static void end_in_peace(struct process *p)
{
	if (p->control_open)
		process_send(p, FRAME_STOP, END_MS, NULL);
	else
		process_signal(p, SIGTERM);
	kill_by(p, END_MS);
}

bool process__held(struct process *p, unsigned n)
{
	bool was = p->held;

	p->held = n;
	if (is_left(p) && was && !n && !p->local->adopting)
		end_in_peace(p);
	return p->left;
}

void local__end_left(struct local *l)
{
	struct list *it, *tmp;

	LIST_EACH (&l->processes, it, tmp) {
		struct process *p = LIST_ENTRY(it, struct process, link);

		if (is_left(p) && !p->held)
			process_signal(p, SIGKILL);
	}
}

void local__tick_left(struct local *l)
{
	struct list *it, *tmp;

	LIST_EACH (&l->processes, it, tmp) {
		struct process *p = LIST_ENTRY(it, struct process, link);

		if (!is_left(p) || !p->kill_at || uv_now(l->loop) < p->kill_at)
			continue;
		p->kill_at = 0;
		process_signal(p, SIGKILL);
	}
}

bool local_has_left(struct local *l)
{
	struct list *it, *tmp;
	bool any = false;

	LIST_EACH (&l->processes, it, tmp) {
		struct process *p = LIST_ENTRY(it, struct process, link);

		if (!is_left(p) || !p->held || p->killed)
			continue;
		any = true;
		kill_by(p, LAST_MS);
	}
	return any;
}
