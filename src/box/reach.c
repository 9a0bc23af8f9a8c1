#include "box/reach.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/mem.h"

enum { LINKS_MAX = 40 }; /* as the kernel's own */

char *box_blocked_ancestor(const char *path)
{
	cleanup_free char *real = realpath(path, NULL);

	/* What does not exist yet is judged by the text of its path. */
	if (!real)
		real = mem_strdup(path);
	for (char *p = real; *p; p++) {
		struct stat st;
		char saved;

		if (*p != '/')
			continue;
		/* "/a/b" is cut to "/", then to "/a". */
		saved = p[p == real];
		p[p == real] = 0;
		if (stat(real, &st) == 0 && S_ISDIR(st.st_mode) &&
		    !(st.st_mode & S_IXOTH))
			return mem_take(&real);
		p[p == real] = saved;
	}
	return NULL;
}

static enum reach_verdict judge(struct reach *r, enum reach_verdict verdict,
				int sys)
{
	r->verdict = verdict;
	r->sys = sys;
	return verdict;
}

/* r->where is the file itself, links resolved, every directory above it
 * searchable. */
static enum reach_verdict check_end(struct reach *r, int want)
{
	bool is_dir = S_ISDIR(r->st.st_mode);
	struct statvfs vfs;

	if ((want & R_OK) && faccessat(AT_FDCWD, r->where, R_OK, AT_EACCESS))
		return judge(r, REACH_NOT_READ, errno);
	if (is_dir && (want & R_OK) &&
	    faccessat(AT_FDCWD, r->where, X_OK, AT_EACCESS))
		return judge(r, REACH_BLOCKED, errno);
	if (!is_dir && (want & X_OK)) {
		if (statvfs(r->where, &vfs) == 0 && (vfs.f_flag & ST_NOEXEC))
			return judge(r, REACH_NOEXEC_FS, EACCES);
		if (faccessat(AT_FDCWD, r->where, X_OK, AT_EACCESS))
			return judge(r, REACH_NOT_EXEC, errno);
	}
	if (is_dir && want == X_OK)
		return judge(r, REACH_NOT_EXEC, EISDIR);
	return judge(r, REACH_OK, 0);
}

/* Puts the target of the link r->where before `rest`; where goes back to what
 * the target is relative to. */
static bool follow(struct reach *r, size_t parent_len, char rest[PATH_MAX])
{
	char target[PATH_MAX], joined[PATH_MAX];
	ssize_t n = readlink(r->where, target, sizeof target - 1);
	int m;

	if (n < 0)
		return false;
	target[n] = 0;
	m = snprintf(joined, sizeof joined, "%s/%s", target, rest);
	if (m < 0 || (size_t)m >= sizeof joined) {
		errno = ENAMETOOLONG;
		return false;
	}
	memcpy(rest, joined, (size_t)m + 1);
	r->where[target[0] == '/' ? 0 : parent_len] = 0;
	return true;
}

/* The directory entered so far, as a path: "" is the root. */
static const char *here(const struct reach *r)
{
	return r->where[0] ? r->where : "/";
}

/* The first n bytes off. */
static void drop(char *rest, size_t n)
{
	memmove(rest, rest + n, strlen(rest + n) + 1);
}

/* Moves the first component of rest, n bytes, behind where; follows it when it
 * is a link. */
static enum reach_verdict enter(struct reach *r, char rest[PATH_MAX], size_t n,
				int *links)
{
	size_t at = strlen(r->where);

	if (at + 1 + n >= sizeof r->where)
		return judge(r, REACH_FAILED, ENAMETOOLONG);
	r->where[at] = '/';
	memcpy(r->where + at + 1, rest, n);
	r->where[at + 1 + n] = 0;
	drop(rest, n);
	if (lstat(r->where, &r->st))
		return judge(r, errno == ENOENT ? REACH_MISSING : REACH_FAILED,
			     errno);
	if (!S_ISLNK(r->st.st_mode))
		return REACH_OK;
	if (++*links > LINKS_MAX)
		return judge(r, REACH_FAILED, ELOOP);
	return follow(r, at, rest) ? REACH_OK : judge(r, REACH_FAILED, errno);
}

/* One component further; *ret_end when there is none left. */
static enum reach_verdict advance(struct reach *r, char rest[PATH_MAX],
				  int *links, bool *ret_end)
{
	size_t n;

	drop(rest, strspn(rest, "/"));
	n = strcspn(rest, "/");
	if (stat(here(r), &r->st))
		return judge(r, REACH_FAILED, errno);
	if (!n) {
		*ret_end = true;
		return REACH_OK;
	}
	if (!S_ISDIR(r->st.st_mode))
		return judge(r, REACH_NOT_DIR, ENOTDIR);
	if (faccessat(AT_FDCWD, here(r), X_OK, AT_EACCESS))
		return judge(r, REACH_BLOCKED, errno);
	if (n == 1 && rest[0] == '.') {
		drop(rest, n);
		return REACH_OK;
	}
	if (n == 2 && memcmp(rest, "..", 2) == 0) {
		char *last = strrchr(r->where, '/');

		if (last)
			*last = 0;
		drop(rest, n);
		return REACH_OK;
	}
	return enter(r, rest, n, links);
}

enum reach_verdict reach_check(const char *path, int want, struct reach *r)
{
	enum reach_verdict v = REACH_OK;
	char rest[PATH_MAX];
	bool end = false;
	int links = 0;

	*r = (struct reach){.verdict = REACH_OK};
	if (strlen(path) >= sizeof rest)
		return judge(r, REACH_FAILED, ENAMETOOLONG);
	memcpy(rest, path, strlen(path) + 1);
	if (path[0] != '/' && !getcwd(r->where, sizeof r->where))
		return judge(r, REACH_FAILED, errno);
	if (strcmp(r->where, "/") == 0)
		r->where[0] = 0;

	while (v == REACH_OK && !end)
		v = advance(r, rest, &links, &end);
	if (!r->where[0])
		memcpy(r->where, "/", 2);
	return v == REACH_OK ? check_end(r, want) : v;
}

const char *reach_words(const struct reach *r, char *out, size_t size)
{
	unsigned mode = r->st.st_mode & 07777;
	const char *whose =
		mode & 0070 ? "its owner and its group" : "its owner";
	const char *what = S_ISDIR(r->st.st_mode) ? "directory" : "file";

	switch (r->verdict) {
	case REACH_OK:
		snprintf(out, size, "nothing is in the way");
		break;
	case REACH_MISSING:
		snprintf(out, size, "%s does not exist", r->where);
		break;
	case REACH_NOT_DIR:
		snprintf(out, size, "%s is no directory", r->where);
		break;
	case REACH_NOEXEC_FS:
		snprintf(out, size,
			 "%s is in a file system mounted with noexec",
			 r->where);
		break;
	case REACH_NOT_EXEC:
		if (r->sys == EISDIR)
			snprintf(out, size, "%s is a directory", r->where);
		else
			snprintf(out, size,
				 "%s is not executable for it (mode %04o)",
				 r->where, mode);
		break;
	case REACH_BLOCKED:
	case REACH_NOT_READ:
		/* Others have the right, and still it was refused. */
		if (mode & (r->verdict == REACH_BLOCKED ? S_IXOTH : S_IROTH))
			snprintf(out, size,
				 "the %s %s refuses it (mode %04o, owner uid "
				 "%u): an access list or its file system says "
				 "so",
				 what, r->where, mode, r->st.st_uid);
		else
			snprintf(out, size, "%s is only for %s (mode %04o)",
				 r->where, whose, mode);
		break;
	case REACH_FAILED:
		snprintf(out, size, "%s: %s", r->where[0] ? r->where : "/",
			 strerror(r->sys));
		break;
	}
	return out;
}

const char *reach_remedy(const struct reach *r, char *out, size_t size)
{
	switch (r->verdict) {
	case REACH_BLOCKED:
		snprintf(out, size,
			 "move it to a place every user can read, such as "
			 "/opt, or run: chmod o+x %s",
			 r->where);
		break;
	case REACH_NOT_READ:
		if (S_ISDIR(r->st.st_mode))
			snprintf(out, size,
				 "let every user read it: chmod -R o+rX %s",
				 r->where);
		else
			snprintf(out, size,
				 "let every user read it: chmod o+r %s",
				 r->where);
		break;
	case REACH_NOT_EXEC:
		if (r->sys == EISDIR)
			snprintf(out, size, "name a program inside it");
		else
			snprintf(out, size,
				 "if it is a program, run: chmod a+rx %s",
				 r->where);
		break;
	case REACH_NOEXEC_FS:
		snprintf(out, size,
			 "move it to a file system that allows programs, such "
			 "as /opt");
		break;
	case REACH_MISSING:
	case REACH_NOT_DIR:
		snprintf(out, size, "check the path");
		break;
	case REACH_OK:
	case REACH_FAILED:
		if (size)
			out[0] = 0;
		break;
	}
	return out;
}
