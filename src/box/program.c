/* Where the program runs and what it needs, looked at as its user; exec. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "box/steps.h"
#include "core/mem.h"

enum { WORDS = 1400, SHEBANG_MAX = 512 };

/* "the replica's user (uid 61187)" */
static const char *who(char out[64])
{
	snprintf(out, 64, "the replica's user (uid %u)", getuid());
	return out;
}

/* The mask that hides path, which must be below it. */
static const struct masked *mask_over(const struct launch *l, const char *path)
{
	for (size_t i = 0; i < l->n_masked; i++) {
		size_t n = strlen(l->masked[i].path);

		if (strncmp(path, l->masked[i].path, n) == 0 &&
		    (path[n] == '/' || path[n] == 0))
			return &l->masked[i];
	}
	return NULL;
}

/* What a mask hides was out of reach before as well: say that, and not that it
 * does not exist. */
static void unmask(const struct launch *l, struct reach *r)
{
	const struct masked *m;

	if (r->verdict != REACH_MISSING)
		return;
	m = mask_over(l, r->where);
	if (!m)
		return;
	r->verdict = REACH_BLOCKED;
	r->sys = EACCES;
	snprintf(r->where, sizeof r->where, "%s", m->path);
	r->st = m->st;
}

static int unreachable(struct launch *l, const char *step, const char *path,
		       const char *verb, const struct reach *r)
{
	char words[WORDS], user[64];

	fail_set(l->f, step, r->sys, "%s cannot %s %s: %s", who(user), verb,
		 path, reach_words(r, words, sizeof words));
	reach_remedy(r, l->f->remedy, sizeof l->f->remedy);
	return -1;
}

int step_dir(struct launch *l)
{
	const char *dir = l->o->dir;
	struct reach r;
	char why[WORDS], user[64];
	int sys;

	if (!dir || chdir(dir) == 0)
		return 0;
	sys = errno;
	/* Search is what chdir wants, R_OK is for the list of what is wrong. */
	reach_check(dir, 0, &r);
	unmask(l, &r);
	if (r.verdict == REACH_OK && sys == EACCES) {
		r.verdict = REACH_BLOCKED;
		r.sys = sys;
	}
	if (r.verdict == REACH_OK)
		return fail_sys(l->f, "dir", sys, "working directory %s", dir);
	fail_set(l->f, "dir", r.sys, "%s cannot work in %s: %s", who(user), dir,
		 reach_words(&r, why, sizeof why));
	reach_remedy(&r, l->f->remedy, sizeof l->f->remedy);
	return -1;
}

int step_needs(struct launch *l)
{
	const struct box_list *needs = &l->o->needs;

	for (size_t i = 0; i < needs->n; i++) {
		const char *path = needs->item[i];
		struct reach r;

		/* What somebody may execute is meant to be. */
		if (reach_check(path, R_OK, &r) == REACH_OK &&
		    (!S_ISREG(r.st.st_mode) || !(r.st.st_mode & 0111) ||
		     reach_check(path, R_OK | X_OK, &r) == REACH_OK))
			continue;
		if (l->need_was[i])
			unmask(l, &r);
		return unreachable(l, "need", path, "read", &r);
	}
	return 0;
}

/* The interpreter that a script's first line names, or false. */
static bool shebang(const char *path, char out[SHEBANG_MAX])
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = fd < 0 ? -1 : read(fd, out, SHEBANG_MAX - 1);
	char *p;

	if (n < 3 || out[0] != '#' || out[1] != '!')
		return false;
	out[n] = 0;
	p = out + 2 + strspn(out + 2, " \t");
	p[strcspn(p, " \t\r\n")] = 0;
	memmove(out, p, strlen(p) + 1);
	return out[0] != 0;
}

/* exec would say EACCES or ENOENT of a script whose interpreter it is about. */
static int check_shebang(struct launch *l, const char *path)
{
	char interpreter[SHEBANG_MAX], words[WORDS], user[64];
	struct reach r;

	if (!shebang(path, interpreter) ||
	    reach_check(interpreter, X_OK, &r) == REACH_OK)
		return 0;
	unmask(l, &r);
	fail_set(l->f, r.verdict == REACH_MISSING ? "exec" : "need", r.sys,
		 "%s cannot run %s: its first line names the interpreter %s, "
		 "and %s",
		 who(user), path, interpreter,
		 reach_words(&r, words, sizeof words));
	reach_remedy(&r, l->f->remedy, sizeof l->f->remedy);
	return -1;
}

/* A program named by its path. */
static int check_program(struct launch *l, const char *path)
{
	struct reach r;

	if (reach_check(path, X_OK, &r) == REACH_OK)
		return check_shebang(l, path);
	unmask(l, &r);
	if (r.verdict != REACH_MISSING && r.verdict != REACH_NOT_DIR)
		return unreachable(l, "need", path, "run", &r);
	fail_set(l->f, "exec", r.sys,
		 "program %s was not found: %s does not "
		 "exist",
		 path, r.where);
	return fail_remedy(l->f, "check the path");
}

/* The first of that name in PATH for which reach_check says OK; the caller's
 * (free()), or NULL. */
static char *search(const char *path, const char *name)
{
	cleanup_free char *dirs = mem_strdup(path);
	char *save = NULL;

	for (char *dir = strtok_r(dirs, ":", &save); dir;
	     dir = strtok_r(NULL, ":", &save)) {
		cleanup_free char *full = mem_printf("%s/%s", dir, name);
		struct reach r;

		if (reach_check(full, X_OK, &r) == REACH_OK)
			return mem_take(&full);
	}
	return NULL;
}

static const char *search_path(const struct launch *l)
{
	const char *path = env_get(&l->env, "PATH");

	return path && path[0] ? path : "/usr/local/bin:/usr/bin:/bin";
}

int step_look(struct launch *l)
{
	const struct box_options *o = l->o;

	for (size_t i = 0; i < o->needs.n; i++)
		l->need_was[i] = access(o->needs.item[i], F_OK) == 0;
	if (l->root && o->uid && !strchr(o->program[0], '/'))
		l->program_was = search(search_path(l), o->program[0]);
	return 0;
}

static int not_found(struct launch *l, const char *name)
{
	struct reach r;

	/* Whoever installed it finds it; say why the replica's user does not.
	 */
	if (l->program_was && reach_check(l->program_was, X_OK, &r)) {
		unmask(l, &r);
		return unreachable(l, "need", l->program_was, "run", &r);
	}
	fail_set(l->f, "exec", ENOENT,
		 "program '%.200s' was not found in PATH (%.1000s)", name,
		 search_path(l));
	return fail_remedy(l->f, "install it, or give its full path");
}

/* This program itself: the kernel takes it wherever it lies. */
static bool is_self(const char *path)
{
	return strcmp(path, "/proc/self/exe") == 0;
}

int step_exec(struct launch *l)
{
	char **argv = l->o->program;
	cleanup_free char *path = strchr(argv[0], '/')
					  ? mem_strdup(argv[0])
					  : search(search_path(l), argv[0]);
	int sys;

	if (!path)
		return not_found(l, argv[0]);
	if (!is_self(path) && check_program(l, path))
		return -1;
	execve(path, argv, l->env.var);
	sys = errno;
	if (sys == ENOEXEC) {
		fail_set(l->f, "exec", sys,
			 "%s is no program for this machine: neither a binary "
			 "for its processor nor a script with #! in its first "
			 "line",
			 path);
		return fail_remedy(l->f, "begin the script with #!/bin/sh, or "
					 "start it through its interpreter");
	}
	return fail_sys(l->f, "exec", sys, "starting %s", path);
}
