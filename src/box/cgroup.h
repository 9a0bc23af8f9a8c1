/* cgroup.h: control groups of replicas, version 2 or 1 or what is left of
 * them; a machine without any is served as well, with less.
 *
 * Everything here is a handful of reads and writes of kernel files: it blocks
 * for microseconds and may be called from a loop. Nothing fails hard: what a
 * machine does not allow is reported and left out.
 *
 * A group is INSTANCE/LEAF: INSTANCE is one Soma (cgroup_instance), LEAF one
 * replica or build. Each hierarchy has its directory below the group this
 * process is in, so that limits set on Soma itself hold for its replicas.
 */
#ifndef BOX_CGROUP_H
#define BOX_CGROUP_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/err.h"

enum cgroup_mode {
	CGROUP_NONE,	/* nothing writable: processes are found by their mark
			   (box/stray.h) */
	CGROUP_UNIFIED, /* version 2 without controllers: kill and list only */
	CGROUP_V1,	/* some of memory, cpu, pids, freezer; unified beside
			   them where it is mounted */
	CGROUP_V2,	/* version 2 with the memory controller */
};

enum cgroup_tree {
	CGROUP_TREE_UNIFIED,
	CGROUP_TREE_MEMORY, /* this and the following: version 1 */
	CGROUP_TREE_CPU,
	CGROUP_TREE_PIDS,
	CGROUP_TREE_FREEZER,
	CGROUP_TREES,
};

struct cgroups {
	enum cgroup_mode mode;
	char instance[64];
	char root[128];		  /* put before every path; "" but in tests */
	char *base[CGROUP_TREES]; /* owned; where INSTANCE goes, or NULL */
	char *top;     /* owned; mount of the unified tree, or NULL */
	char why[256]; /* what is missing, for people; or "" */
};

struct cgroup_limits {
	int64_t mem_bytes;  /* memory and swap together; 0: no limit */
	int64_t cpu_millis; /* becomes a weight, not a limit; 0: default */
	int64_t pids;	    /* 0: no limit */
};

struct cgroup_usage { /* -1: not known */
	int64_t mem_bytes;
	int64_t mem_peak_bytes;
	int64_t mem_limit_bytes; /* 0: none */
	int64_t oom_kills;	 /* processes killed for want of memory */
	int64_t limit_hits;	 /* times the limit was reached */
};

enum { CGROUP_INSTANCE_MAX = 24 };

/* "soma-" and a hash of the data directory's path. Returns out. */
const char *cgroup_instance(const char *data_dir,
			    char out[CGROUP_INSTANCE_MAX]);

/* Looks at the machine; changes nothing. root is "" or a directory that stands
 * in for / (its proc/self/cgroup and proc/self/mountinfo are read, and files
 * that a kernel would have made are created). */
void cgroups_init(struct cgroups *cg, const char *instance, const char *root);
void cgroups_fini(struct cgroups *cg);
const char *cgroup_mode_name(enum cgroup_mode mode); /* "v2" */

/* Makes the instance's group and, on version 2, hands controllers down to it.
 * That needs a group without processes of its own: when the one we are in holds
 * only Soma's (this process, the keeper above it and what they started), they
 * move to its leaf "soma-main"; else, as root, the instance goes to the top.
 * Called once by whoever starts replicas, before the first; again does no harm.
 * Not 0: the text says what will not work; replicas can be started all the
 * same. */
int cgroups_prepare(struct cgroups *cg, struct err *err);

/* Removes the instance's group once it has no leaves; E_BUSY before. */
int cgroups_remove(struct cgroups *cg, struct err *err);

/* Kills and removes all of the instance: its leaves and then its own group.
 * Waits until the kernel has let go, at most max_ms; E_BUSY then. */
int cgroups_end(struct cgroups *cg, unsigned max_ms, struct err *err);

/* Makes the group with its limits. Not 0: the text says which of them the
 * machine does not enforce; the group exists as far as it can. */
int cgroup_create(struct cgroups *cg, const char *leaf,
		  const struct cgroup_limits *limits, struct err *err);

/* Gives the group another weight, in thousandths of a processor, where the
 * machine has weights. leaf "": that of the whole instance beside what else
 * runs on the machine. */
void cgroup_weigh(struct cgroups *cg, const char *leaf, int64_t cpu_millis);

/* Moves pid there, in every hierarchy that can. E_FORBIDDEN: in none. */
int cgroup_join(struct cgroups *cg, const char *leaf, pid_t pid,
		struct err *err);

/* Moves replica `to` out of group `from`: its process `leader`, the session
 * that it began and what has its mark, those that they fork meanwhile, too.
 * handle: a pidfd of the leader; -1: the kernel has none. A number that is
 * another's by now does no harm: whom `from` does not list stays where it is,
 * and so do all when the leader is gone (E_NOTFOUND). E_FORBIDDEN: some of them
 * could not be moved. The kernel takes milliseconds for it: not for the loop's
 * thread. */
int cgroup_move(struct cgroups *cg, const char *from, const char *to,
		pid_t leader, int handle, struct err *err);

/* Sends SIGKILL to everything in the group, descendants' groups included,
 * processes forked meanwhile too. They may take a moment to be gone. E_BUSY:
 * new ones kept coming, call again. A group that does not exist is killed. */
int cgroup_kill(struct cgroups *cg, const char *leaf, struct err *err);

/* Processes in it now; zombies do not count. */
size_t cgroup_count(struct cgroups *cg, const char *leaf);

/* Removes it everywhere. E_BUSY: something still runs in it, call again. */
int cgroup_remove(struct cgroups *cg, const char *leaf, struct err *err);

/* Leaves that exist in any hierarchy, for cleaning up after a
 * crash: an array of n names, both the caller's (cgroup_list_free). */
char **cgroup_list(struct cgroups *cg, size_t *ret_n);
void cgroup_list_free(char **names, size_t n);

/* False when nothing is known about it. */
bool cgroup_usage(struct cgroups *cg, const char *leaf,
		  struct cgroup_usage *ret);

/* What the group that we are in, with all that is below it, may have of memory,
 * and how much of that is left, pages of files that can be dropped included.
 * False: it has no limit, or nothing is known about it. */
bool cgroup_left(const struct cgroups *cg, uint64_t *ret_limit,
		 uint64_t *ret_left);

#endif
