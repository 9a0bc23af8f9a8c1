/* cgfile.h: the files and directories of control groups, for cgroup.c's kin. */
#ifndef BOX_CGFILE_H
#define BOX_CGFILE_H

#include "box/cgroup.h"

/* Leaf that Soma's own processes move to (cgroups_prepare). */
#define CGFILE_MAIN "soma-main"

/* BASE/INSTANCE/LEAF/FILE of a tree into out; false when there is no such tree
 * or it does not fit. leaf may be "", file may be NULL. */
bool cgfile_path(const struct cgroups *cg, enum cgroup_tree tree,
		 const char *leaf, const char *file, char out[PATH_MAX]);

/* Each returns 0 or an errno. */
int cgfile_write(const struct cgroups *cg, const char *path, const char *text);
int cgfile_read(const char *path, char *out, size_t size);
int cgfile_make(const char *path); /* 0755; 0 when it exists */
/* The directory and those below it, deepest first. */
int cgfile_remove(const struct cgroups *cg, const char *path, int depth);

/* The number in a file, or after `key` in a file of "key number" lines; -1. */
int64_t cgfile_number(const char *path, const char *key);

/* Calls fn for each process of the directory and those below it. */
void cgfile_each_pid(const char *path, int depth,
		     void (*fn)(pid_t pid, void *arg), void *arg);
/* Calls fn with the path of each directory in path until it returns not 0. */
int cgfile_each_dir(const char *path, int (*fn)(const char *path, void *arg),
		    void *arg);

#endif
