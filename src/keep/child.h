/* child.h: the keeper's list of children, each with what a new daemon must get
 * back. */
#ifndef KEEP_CHILD_H
#define KEEP_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "core/list.h"
#include "keep/proto.h"

struct child {
	struct list link;
	uint64_t id;
	pid_t pid;   /* 0 once reaped */
	int status;  /* wait status once reaped */
	int log_fd;  /* owned: read end */
	int control; /* owned: the daemon's end, or -1 */
	char *name;  /* owned: its mark, what SOMA_REPLICA says */
	char *meta;  /* owned: opaque, the daemon's */
	bool forks;  /* a zygote: those that it forked may be unknown yet */
};

/* fork() whose child has the default signals, none blocked. Until its exec a
 * handler of ours would run in it, and libuv's would tell the keeper: a child
 * that is stopped as soon as it is started would go on, and Soma would stop. */
pid_t child_fork(void);

/* Starts a process from a SPAWN message. All fds are taken. files: its limit of
 * open files; rlim_cur 0: ours. On success the child is in `children`; on
 * failure -errno and nothing is left. */
int child_spawn(struct list *children, const struct keep_head *head,
		const int *fds, size_t n_fds, const struct rlimit *files);
void child_free(struct child *c);

struct child *child_by_id(struct list *children, uint64_t id);
struct child *child_by_pid(struct list *children, pid_t pid);

/* Kills what a dead child left behind: its process group, once, and orphans
 * that came to us with its mark. Of a zygote's they may be forks that ADOPT is
 * on its way for: they are killed when it is about to be forgotten and `forks`
 * is unset. While there is any zygote the mark of a fork that nobody has asked
 * for may be any, so that those of others are left alone. */
void child_kill_rest(struct list *children, const struct child *dead,
		     pid_t daemon);

/* Kills every process below us and reaps it. Blocks, at most ten seconds. */
void child_kill_all(void);

#endif
