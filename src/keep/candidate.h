/* candidate.h: a program that may be the next daemon's: whether it may be run
 * at all, and what it says of itself. */
#ifndef KEEP_CANDIDATE_H
#define KEEP_CANDIDATE_H

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

#include "core/buf.h"
#include "core/err.h"

struct candidate {
	char *program; /* owned: its path */
	char *version; /* owned: what it says that it is; NULL: nothing yet */
	/* private */
	pid_t pid;     /* of the process that looks; 0: none */
	uv_pipe_t out; /* what that one says */
	bool out_open;
	struct buf said;
};

void candidate_init(struct candidate *c);
void candidate_fini(struct candidate *c);
/* Forgets the program and its version. */
void candidate_clear(struct candidate *c);
/* Whoever has the token says which program, and the keeper may be root: what
 * others could have written is not run, nor what came in by a deploy. */
int candidate_may_run(const struct candidate *c, const char *data_dir,
		      struct err *err);
/* Starts it with --check: it is to look at the store and to say what it is.
 * 0, or -1: errno says why. */
int candidate_start(struct candidate *c, uv_loop_t *loop, char *data_dir);
bool candidate_is_open(const struct candidate *c);
void candidate_kill(const struct candidate *c);
/* That process has ended. 0: it has a version; else err says what it lacks. */
int candidate_ended(struct candidate *c, int status, struct err *err);
/* "exit code 3"; free() it. */
char *candidate_end_in_words(int status);

#endif
