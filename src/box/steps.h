/* steps.h: what the box does on the way to exec, one function a step, in the
 * order of box.c. Each returns 0, or -1 with the failure set. */
#ifndef BOX_STEPS_H
#define BOX_STEPS_H

#include <stdbool.h>

#include "box/env.h"
#include "box/fail.h"
#include "box/options.h"
#include "box/reach.h"

/* What a --mask hides, as it was before: for the words of a failure. */
struct masked {
	const char *path; /* borrowed from the options */
	struct stat st;
};

/* The launcher on its way. */
struct launch {
	const struct box_options *o;
	struct fail *f;
	bool root;    /* may change users */
	bool changed; /* runs as another user than it was started as */
	struct masked masked[BOX_LIST_MAX];
	size_t n_masked;
	/* As whoever started it saw it, before masks and the other user. */
	bool need_was[BOX_LIST_MAX]; /* it existed */
	char *program_was;	     /* owned; found in PATH, or NULL */
	struct env env;		     /* the program's, not the box's own */
};

int step_parent(struct launch *l);
int step_take_env(struct launch *l); /* user.c */
int step_session(struct launch *l);
int step_cgroup(struct launch *l);
int step_look(struct launch *l); /* program.c */
int step_mask(struct launch *l); /* mask.c */
int step_limits(struct launch *l);
int step_home(struct launch *l); /* user.c */
int step_user(struct launch *l); /* user.c */
int step_signals(struct launch *l);
int step_fds(struct launch *l);		/* fds.c */
int step_dir(struct launch *l);		/* program.c */
int step_needs(struct launch *l);	/* program.c */
int step_environment(struct launch *l); /* user.c */
int step_exec(struct launch *l);	/* program.c; returns only on failure */

/* "3,4" and "0-3,8" alike: calls fn for each number, false when malformed. */
bool box__list(const char *text, void (*fn)(int n, void *arg), void *arg);

#endif
