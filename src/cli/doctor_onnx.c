/* Where the onnx engine would find ONNX Runtime: the order is that of
 * docs/engines.md. */
#include <dlfcn.h>
#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/doctor.h"
#include "core/mem.h"

enum { OLDEST_MINOR = 16, ANSWER_MAX = 256 };

/* The beginning of OrtApiBase, as its C API has it. */
struct ort_base {
	const void *(*get_api)(uint32_t version);
	const char *(*get_version)(void);
};

/* In a child: what runs when a library is opened is its own. Writes "=1.2.3",
 * or why not. */
static void ask_library(const char *library, int to)
{
	void *opened = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	const struct ort_base *(*get)(void) = NULL;
	char text[ANSWER_MAX];

	/* A function by an object's pointer: POSIX says that it is one. */
	if (opened)
		*(void **)&get = dlsym(opened, "OrtGetApiBase");
	if (get)
		snprintf(text, sizeof text, "=%s", get()->get_version());
	else
		snprintf(text, sizeof text, "%s",
			 opened ? "it is not ONNX Runtime" : dlerror());
	if (write(to, text, strlen(text)) < 0)
		_exit(1);
	_exit(0);
}

static void ask(const char *library, char answer[ANSWER_MAX])
{
	int fds[2], status;
	ssize_t n = 0;
	pid_t pid;

	snprintf(answer, ANSWER_MAX, "it cannot be tried");
	if (pipe(fds) != 0)
		return;
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		ask_library(library, fds[1]);
	close(fds[1]);
	if (pid > 0)
		n = read(fds[0], answer, ANSWER_MAX - 1);
	close(fds[0]);
	if (n > 0)
		answer[n] = '\0';
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
}

/* The library of a folder with the shortest name, as the engine takes it. */
static char *find_in(const char *dir)
{
	cleanup_free char *pattern = mem_printf("%s/libonnxruntime.so*", dir);
	char *best = NULL;
	glob_t found;

	if (glob(pattern, 0, NULL, &found) != 0)
		return NULL;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		const char *path = found.gl_pathv[i];

		if (best && strlen(path) >= strlen(best))
			continue;
		free(best);
		best = mem_strdup(path);
	}
	globfree(&found);
	return best;
}

/* By others than its owner. In a sticky folder nobody moves what is another's.
 */
static bool may_be_changed(const struct stat *st)
{
	if (S_ISDIR(st->st_mode) && st->st_mode & S_ISVTX)
		return false;
	return st->st_mode & S_IWOTH ||
	       (st->st_mode & S_IWGRP && st->st_gid != getegid());
}

/* Whether nobody but root and this user can change what lies at a path without
 * links. */
static bool is_ours(const char *real)
{
	cleanup_free char *at = mem_strdup(real);
	struct stat st;
	char *slash;

	while (lstat(at, &st) == 0 &&
	       (st.st_uid == 0 || st.st_uid == geteuid()) &&
	       !may_be_changed(&st)) {
		slash = strrchr(at, '/');
		if (!slash || !at[1])
			return slash != NULL;
		slash[slash == at] = '\0';
	}
	return false;
}

/* The operator's. Where the data directory is, whoever answers at the admin
 * address has said: what opening a library runs is run as this user. False:
 * there is one that is not opened, and f says so. */
static bool find_own(const struct doctor *d, char **ret, struct finding *f)
{
	cleanup_free char *dir = mem_printf("%s/lib", d->data_dir);
	cleanup_free char *library = find_in(dir);
	char real[PATH_MAX];

	if (!library)
		return true;
	if (!realpath(library, real) || !is_ours(real)) {
		finding_set(f, DOCTOR_WARNING,
			    "%s is not opened: others can write to it, or to "
			    "its folder",
			    library);
		return false;
	}
	*ret = mem_strdup(real);
	return true;
}

/* Beside the host. */
static char *find_beside(void)
{
	static const char *const places[] = {"host", "../lib/soma/host",
					     "../host"};
	char self[PATH_MAX], *library = NULL, *slash;
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	if (slash)
		*slash = '\0';
	for (size_t i = 0; !library && i < ARRAY_LEN(places); i++) {
		cleanup_free char *dir = mem_printf("%s/%s", self, places[i]);

		library = find_in(dir);
	}
	return library;
}

static void judge(struct finding *f, const char *library, const char *answer)
{
	int minor = 0;

	if (*answer != '=') {
		finding_set(f, DOCTOR_WARNING, "%s cannot be used: %s", library,
			    answer);
		return;
	}
	answer++;
	if (sscanf(answer, "1.%d", &minor) == 1 && minor < OLDEST_MINOR)
		finding_set(f, DOCTOR_WARNING, "%s (%s) is too old", answer,
			    library);
	else
		finding_set(f, DOCTOR_OK, "%s (%s)", answer, library);
}

void doctor_onnx(struct doctor *d, struct finding *f)
{
	static const char *const names[] = {"libonnxruntime.so.1",
					    "libonnxruntime.so"};
	const char *named = getenv("SOMA_ONNXRUNTIME");
	cleanup_free char *found = NULL;
	char answer[ANSWER_MAX];

	if (named && *named)
		found = mem_strdup(named);
	else
		found = find_beside();
	if (!found && !find_own(d, &found, f))
		return;
	if (found) {
		ask(found, answer);
		judge(f, found, answer);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		ask(names[i], answer);
		if (*answer == '=') {
			judge(f, names[i], answer);
			return;
		}
	}
	finding_set(f, DOCTOR_WARNING,
		    "not found: not named by SOMA_ONNXRUNTIME, not in %s/lib, "
		    "not on the system's library path",
		    d->data_dir);
}
