/* What Soma takes from the machine to make replicas run. */
#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "box/reach.h"
#include "cli/doctor.h"
#include "cli/term.h"
#include "core/map.h"
#include "core/mem.h"

enum { RUN_MS = 20000, OUTPUT_MAX = 256, SHOWN_MAX = 6 };

/* What a program prints, its last line end gone, at most RUN_MS long. False
 * when it fails. */
static bool run(const char *const *argv, char out[OUTPUT_MAX])
{
	int64_t end = term_now_ms() + RUN_MS;
	int fds[2], status = -1;
	size_t n = 0;
	ssize_t got = 1;
	pid_t pid;

	if (pipe(fds) != 0)
		return false;
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], 1);
		if (!freopen("/dev/null", "r", stdin) ||
		    !freopen("/dev/null", "w", stderr))
			_exit(126);
		close(fds[0]);
		close(fds[1]);
		execv(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	close(fds[1]);
	while (pid > 0 && got > 0 && n < OUTPUT_MAX - 1) {
		struct pollfd p = {.fd = fds[0], .events = POLLIN};
		int left = (int)MAX(0, end - term_now_ms());

		if (poll(&p, 1, left) <= 0)
			break;
		got = read(fds[0], out + n, OUTPUT_MAX - 1 - n);
		n += got > 0 ? (size_t)got : 0;
	}
	close(fds[0]);
	out[n] = '\0';
	out[strcspn(out, "\n")] = '\0';
	if (pid > 0 && got > 0)
		kill(pid, SIGKILL);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* The first program of that name in PATH, and where distributions have it. */
static char *find_program(const char *name)
{
	const char *path = getenv("PATH");
	cleanup_free char *dirs =
		mem_printf("%s:/usr/bin:/usr/local/bin", path ? path : "");
	char *save = NULL;

	for (char *dir = strtok_r(dirs, ":", &save); dir;
	     dir = strtok_r(NULL, ":", &save)) {
		char *at = mem_printf("%s/%s", dir, name);

		if (access(at, X_OK) == 0)
			return at;
		free(at);
	}
	return NULL;
}

/* Version of an interpreter, and whether it can make environments. */
static bool ask_python(const char *path, char version[OUTPUT_MAX],
		       bool *ret_venv)
{
	static const char ask[] =
		"import sys; v = sys.version_info\n"
		"t = '' if not hasattr(sys, '_is_gil_enabled') or "
		"sys._is_gil_enabled() else 't'\n"
		"try: import venv, ensurepip; e = '+'\n"
		"except ImportError: e = '-'\n"
		"print('%s%d.%d.%d%s' % (e, v[0], v[1], v[2], t))\n"
		"sys.exit(v < (3, 8))";
	const char *argv[] = {path, "-I", "-c", ask, NULL};
	bool ok = run(argv, version);

	*ret_venv = version[0] == '+';
	if (version[0])
		memmove(version, version + 1, strlen(version));
	return ok && version[0];
}

/* As the daemon chooses: a program, not a script (pyenv's want an environment
 * of their own). */
static bool is_program(const char *path)
{
	static const char elf[4] = {'\x7f', 'E', 'L', 'F'};
	FILE *in = fopen(path, "re");
	char magic[4];
	bool is = in && fread(magic, 1, 4, in) == 4 &&
		  memcmp(magic, elf, 4) == 0 && access(path, X_OK) == 0;

	if (in)
		fclose(in);
	return is;
}

struct pythons {
	struct map seen;       /* real paths: links lead to one interpreter */
	struct finding *f;     /* "3.11.2 (/usr/bin/python3), ..." */
	struct finding others; /* those that cannot be used, and why */
	char *first;	       /* owned; what environments are made with */
	bool first_venv;
	size_t n;
};

static void add_python(struct pythons *p, const char *path)
{
	cleanup_free char *blocked = NULL;
	char real[PATH_MAX], version[OUTPUT_MAX];
	bool venv, ok;

	if (!realpath(path, real) || !is_program(real) ||
	    map_set(&p->seen, real, p) || p->n == SHOWN_MAX)
		return;
	if (geteuid() == 0)
		blocked = box_blocked_ancestor(path);
	ok = ask_python(path, version, &venv);
	if (!*version)
		finding_add(&p->others, "%s (does not run)", path);
	else if (!ok)
		finding_add(&p->others, "%s (%s, older than 3.8)", path,
			    version);
	else if (blocked)
		finding_add(&p->others,
			    "%s (%s, behind %s, which is only for its owner)",
			    path, version, blocked);
	else
		finding_add(p->f, "%s (%s)", version, path);
	if (!ok || blocked)
		return;
	p->n++;
	if (!p->first) {
		p->first = mem_strdup(path);
		p->first_venv = venv;
	}
}

static void look_in(struct pythons *p, const char *dir)
{
	static const char *const names[] = {"python3", "python3.[0-9]",
					    "python3.[0-9][0-9]",
					    "python3.[0-9][0-9]t"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		cleanup_free char *pattern = mem_printf("%s/%s", dir, names[i]);
		glob_t found;

		if (glob(pattern, 0, NULL, &found) != 0)
			continue;
		for (size_t k = 0; k < found.gl_pathc; k++)
			add_python(p, found.gl_pathv[k]);
		globfree(&found);
	}
}

static void find_pythons(struct pythons *p, struct finding *f)
{
	const char *path = getenv("PATH");
	cleanup_free char *dirs =
		mem_printf("%s:/usr/bin:/usr/local/bin", path ? path : "");
	char *save = NULL;

	*p = (struct pythons){.f = f};
	map_init(&p->seen);
	for (char *dir = strtok_r(dirs, ":", &save); dir;
	     dir = strtok_r(NULL, ":", &save))
		look_in(p, dir);
	map_fini(&p->seen);
}

void doctor_python(struct doctor *d, struct finding *f)
{
	struct pythons p;

	find_pythons(&p, f);
	if (!p.first)
		finding_set(f, DOCTOR_WARNING, "none that replicas can run");
	if (*p.others.text)
		finding_add(f, "passed over: %s", p.others.text);
	d->python = p.first;
	d->python_venv = p.first_venv;
}

void doctor_venv(struct doctor *d, struct finding *f)
{
	cleanup_free char *uv = find_program("uv");

	if (!d->python)
		finding_set(f, DOCTOR_NONE, "there is no python");
	else if (d->python_venv)
		finding_set(f, DOCTOR_OK, "%s has it", d->python);
	else if (uv)
		finding_set(f, DOCTOR_OK,
			    "%s does not have it; %s does its work", d->python,
			    uv);
	else
		finding_set(f, DOCTOR_WARNING,
			    "%s has no venv and ensurepip modules", d->python);
}

void doctor_uv(struct doctor *d, struct finding *f)
{
	cleanup_free char *uv = find_program("uv");
	const char *argv[] = {uv, "--version", NULL};
	char version[OUTPUT_MAX];

	(void)d;
	if (uv && run(argv, version))
		finding_set(f, DOCTOR_OK, "%s (%s)", version, uv);
	else
		finding_set(f, DOCTOR_NONE, "not in PATH");
}
