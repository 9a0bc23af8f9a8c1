/* Which interpreter an environment is made of. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "box/reach.h"
#include "core/mem.h"
#include "serve/environment_parts.h"

/* A search that takes the first which is a program and can be got to. */
struct search {
	uid_t uid;
	char *found;   /* owned */
	char *blocked; /* owned: the last that was passed over, and why */
};

static bool is_program(const char *path)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	char magic[4];

	/* Not a script: pyenv's shims want an environment of their own. */
	return fd >= 0 && access(path, X_OK) == 0 && read(fd, magic, 4) == 4 &&
	       memcmp(magic,
		      "\x7f"
		      "ELF",
		      4) == 0;
}

static void consider(struct search *s, const char *dir, const char *name)
{
	cleanup_free char *candidate = mem_printf("%s/%s", dir, name);
	char *ancestor;

	if (s->found || !is_program(candidate))
		return;
	ancestor = s->uid ? box_blocked_ancestor(candidate) : NULL;
	if (!ancestor) {
		s->found = mem_take(&candidate);
		return;
	}
	free(s->blocked);
	s->blocked = mem_printf("%s (behind %s, which is only for its owner)",
				candidate, ancestor);
	free(ancestor);
}

static void look_in_path(struct search *s, const char *dirs, const char *name)
{
	cleanup_free char *list = mem_strdup(dirs);
	char *save = NULL;

	for (char *d = strtok_r(list, ":", &save); d;
	     d = strtok_r(NULL, ":", &save))
		consider(s, d, name);
}

/* The newest first: 3.9.18 before 3.9.2. */
static int newer(const struct dirent **a, const struct dirent **b)
{
	return versionsort(b, a);
}

/* What pyenv has made, which is on nobody's PATH. */
static void look_in_pyenv(struct search *s, const char *name)
{
	const char *root = getenv("PYENV_ROOT"), *home = getenv("HOME");
	cleanup_free char *versions =
		root   ? mem_printf("%s/versions", root)
		: home ? mem_printf("%s/.pyenv/versions", home)
		       : NULL;
	struct dirent **list;
	int n = versions ? scandir(versions, &list, NULL, newer) : -1;

	for (int i = 0; i < n; i++) {
		cleanup_free char *bin =
			mem_printf("%s/%s/bin", versions, list[i]->d_name);

		if (list[i]->d_name[0] != '.')
			consider(s, bin, name);
		free(list[i]);
	}
	if (n >= 0)
		free(list);
}

int interpreter__any(uid_t uid, char **ret, struct err *err)
{
	const char *path = getenv("PATH");
	struct search s = {.uid = uid};

	look_in_path(&s, path ? path : "", "python3");
	look_in_path(&s, "/usr/bin:/usr/local/bin", "python3");
	if (!s.found)
		err_set(err, E_UNPROCESSABLE,
			"no python3 that replicas can run%s%s; install one "
			"(apt install python3 python3-venv) or name it with "
			"predictor.python",
			s.blocked ? ": passed over " : "",
			s.blocked ? s.blocked : "");
	free(s.blocked);
	if (!s.found)
		return err->code;
	*ret = s.found;
	return 0;
}

/* A bare word: where the system has interpreters, then where people do. */
static int by_word(const char *name, uid_t uid, char **ret, struct err *err)
{
	static const char *const system[] = {"/usr/local/bin", "/usr/bin"};
	const char *path = getenv("PATH");
	struct search s = {.uid = uid};

	/* There a script is as good: somebody installed it for everybody. */
	for (size_t i = 0; i < ARRAY_LEN(system) && !s.found; i++) {
		s.found = mem_printf("%s/%s", system[i], name);
		if (access(s.found, X_OK) < 0) {
			free(s.found);
			s.found = NULL;
		}
	}
	look_in_path(&s, path ? path : "", name);
	look_in_pyenv(&s, name);
	if (!s.found)
		err_set(err, E_UNPROCESSABLE,
			"predictor.python names '%s', which is not in "
			"/usr/local/bin, /usr/bin, PATH or pyenv's versions%s%s"
			"; install it, or give the path of an interpreter or "
			"of a virtual environment",
			name, s.blocked ? ": passed over " : "",
			s.blocked ? s.blocked : "");
	free(s.blocked);
	if (!s.found)
		return err->code;
	*ret = s.found;
	return 0;
}

/* Whether a pyvenv.cfg lies beside the interpreter's folder. */
static bool is_venv(const char *python)
{
	const char *slash = strrchr(python, '/');
	cleanup_free char *bin =
		mem_strndup(python, slash ? (size_t)(slash - python) : 0);
	cleanup_free char *cfg = mem_printf("%s/../pyvenv.cfg", bin);

	return access(cfg, R_OK) == 0;
}

int interpreter__named(const char *name, const char *project_dir, uid_t uid,
		       char **ret, bool *ret_venv, struct err *err)
{
	cleanup_free char *path = NULL, *python = NULL;
	struct stat st;

	*ret_venv = false;
	if (!strchr(name, '/') && by_word(name, uid, &path, err))
		return err->code;
	if (!path)
		path = name[0] == '/' || !project_dir
			       ? mem_strdup(name)
			       : mem_printf("%s/%s", project_dir, name);
	if (stat(path, &st) < 0)
		return err_sys(err, errno,
			       "predictor.python names '%s', which cannot be "
			       "used (give the path of an interpreter or of a "
			       "virtual environment)",
			       path);
	if (!S_ISDIR(st.st_mode)) {
		*ret_venv = is_venv(path);
		*ret = mem_take(&path);
		return 0;
	}
	python = mem_printf("%s/bin/python", path);
	if (access(python, X_OK) < 0)
		return err_set(err, E_UNPROCESSABLE,
			       "predictor.python names the directory '%s', "
			       "which has no bin/python: it is no virtual "
			       "environment",
			       path);
	*ret_venv = true;
	*ret = mem_take(&python);
	return 0;
}
