/* options.h: what `soma box` was asked to do; one table makes parser and help.
 */
#ifndef BOX_OPTIONS_H
#define BOX_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "box/fail.h"

enum { BOX_LIST_MAX = 64 };

/* Texts are borrowed from argv. */
struct box_list {
	const char *item[BOX_LIST_MAX];
	size_t n;
};

struct box_options {
	const char *name;     /* replica id, or NULL */
	const char *instance; /* which Soma, or NULL */
	const char *dir;      /* working directory, or NULL: stay */
	const char *home;     /* or NULL */
	const char *cgroup;   /* "soma-<hash>/iris-4-0", or NULL */
	const char *cpus;     /* "0-3,8", or NULL: any */
	const char *keep_fds; /* "3,4", or NULL: none */
	int64_t uid, gid;     /* 0: stay */
	int64_t mem_limit;    /* bytes, 0: none */
	int64_t cpu_millis;   /* 0: nothing reserved */
	int64_t cpu_weight;   /* as cpu_millis; 0: that */
	int64_t oom_score_adj;
	int64_t nofile;	    /* 0: stay */
	int64_t parent_pid; /* 0: not checked */
	int64_t status_fd;
	int64_t env_fd; /* 0: the program gets the box's own */
	struct box_list needs;
	struct box_list masks;
	struct box_list binds;
	bool report;
	bool help;
	bool has_oom_score_adj;
	char **program; /* argv after "--"; NULL-terminated; NULL: none */
};

/* 0, or -1 with the failure set. */
int options_parse(struct box_options *o, int argc, char **argv, struct fail *f);
void options_help(FILE *out);

#endif
