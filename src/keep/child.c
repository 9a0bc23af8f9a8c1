#include "keep/child.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "box/box.h"
#include "box/fail.h"
#include "core/json.h"
#include "core/mem.h"

enum { SPAWN_MAX = 8 << 20, PIDS_MAX = 4096, BOX_FDS = BOX_FD_ENV + 1 };

/* What SPAWN's memfd says. */
struct order {
	yyjson_doc *doc; /* owned: the strings live here */
	const char *name, *meta;
	char **argv, **env; /* owned arrays, borrowed strings */
};

static void order_fini(struct order *o)
{
	yyjson_doc_free(o->doc);
	free(o->argv);
	free(o->env);
}

/* A NULL-ended array of the strings of a JSON array. */
static char **strings(yyjson_val *arr)
{
	char **list = mem_alloc((yyjson_arr_size(arr) + 1) * sizeof *list);
	size_t n = 0, i, max;
	yyjson_val *v;

	yyjson_arr_foreach(arr, i, max, v)
	{
		const char *s = yyjson_get_str(v);

		if (s)
			list[n++] = (char *)(uintptr_t)s;
	}
	return list;
}

static int order_read(struct order *o, int memfd)
{
	struct stat st;
	yyjson_val *root;
	void *text;

	*o = (struct order){0};
	if (fstat(memfd, &st) < 0)
		return -errno;
	if (st.st_size <= 0 || st.st_size > SPAWN_MAX)
		return -EMSGSIZE;
	text = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, memfd, 0);
	if (text == MAP_FAILED)
		return -errno;
	o->doc = json_parse(text, (size_t)st.st_size, NULL);
	munmap(text, (size_t)st.st_size);
	if (!o->doc)
		return -EINVAL;
	root = yyjson_doc_get_root(o->doc);
	o->name = json_str(root, "name", "?");
	o->meta = json_str(root, "meta", "");
	o->argv = strings(yyjson_obj_get(root, "argv"));
	o->env = strings(yyjson_obj_get(root, "env"));
	if (!o->argv[0]) {
		order_fini(o);
		return -EINVAL;
	}
	return 0;
}

/* What the program is to find in its environment is its user's word, and the
 * box is root: it gets an environment of its own, in which no loader and no
 * libc finds anything to obey, and the program's as a file. */
static const char *const box_env[] = {
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	NULL,
};

/* The order's environment, each variable ended by a NUL; -errno. */
static int env_file(const struct order *o)
{
	int fd = memfd_create("soma-env", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	for (char **v = o->env; *v; v++) {
		size_t n = strlen(*v) + 1;

		if (write(fd, *v, n) != (ssize_t)n) {
			close(fd);
			return -ENOSPC;
		}
	}
	return fd;
}

/* As the box tells its own failures; the keeper has one thread, so that this
 * is no signal handler's place. */
_Noreturn static void refuse(int status, const char *what)
{
	struct fail f;

	fail_sys(&f, "descriptors", errno, "%s", what);
	fail_tell(&f, status);
	_exit(f.exit_code);
}

pid_t child_fork(void)
{
	static const int handled[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP,
				      SIGUSR2};
	sigset_t all, before;
	pid_t pid;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid == 0) {
		for (size_t i = 0; i < ARRAY_LEN(handled); i++)
			signal(handled[i], SIG_DFL);
		sigemptyset(&before);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	return pid;
}

/* Between fork and exec. Puts the child's descriptors where the box expects
 * them. want: their sources, by number. */
_Noreturn static void become(const struct order *o, const int want[BOX_FDS],
			     const struct rlimit *files)
{
	int high[BOX_FDS], status = want[BOX_FD_STATUS];

	/* First out of the way, so that no target overwrites a source. */
	for (int i = 0; i < BOX_FDS; i++) {
		high[i] = fcntl(want[i], F_DUPFD_CLOEXEC, 64);
		if (high[i] < 0)
			refuse(status, "copying a descriptor");
	}
	status = high[BOX_FD_STATUS];
	for (int i = 0; i < BOX_FDS; i++)
		if (dup2(high[i], i) < 0)
			refuse(status, "placing a descriptor");
	/* What the keeper raised for itself. */
	if (files->rlim_cur && setrlimit(RLIMIT_NOFILE, files))
		refuse(status, "setting the limit of open files");
	execve(o->argv[0], o->argv, (char **)(uintptr_t)box_env);
	refuse(status, "starting the launcher");
}

int child_spawn(struct list *children, const struct keep_head *head,
		const int *fds, size_t n_fds, const struct rlimit *files)
{
	bool has_listen = head->flags & KEEP_HAS_LISTEN;
	bool has_control = head->flags & KEEP_HAS_CONTROL;
	size_t expect = 4u + (has_listen ? 1u : 0u) + (has_control ? 2u : 0u);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct child *c = NULL;
	struct order order;
	int rc = 0, env = -1, want[BOX_FDS], kept[2];
	size_t at = 4;
	pid_t pid;

	if (null < 0)
		rc = -errno;
	else if (n_fds < expect)
		rc = -EMFILE; /* some did not fit into our table */
	else if (n_fds > expect)
		rc = -EINVAL;
	if (!rc)
		rc = order_read(&order, fds[0]);
	if (rc)
		goto close_all;
	env = env_file(&order);
	if (env < 0) {
		rc = env;
		goto free_order;
	}

	want[0] = null;
	want[1] = want[2] = fds[1];
	want[BOX_FD_STATUS] = fds[3];
	want[BOX_FD_ENV] = env;
	want[BOX_FD_LISTEN] = has_listen ? fds[at++] : null;
	want[BOX_FD_CONTROL] = has_control ? fds[at++] : null;
	kept[0] = fds[2];
	kept[1] = has_control ? fds[at] : -1;

	pid = child_fork();
	if (pid == 0)
		become(&order, want, files);
	if (pid < 0) {
		rc = -errno;
		goto free_order;
	}
	c = mem_alloc(sizeof *c);
	c->id = head->id;
	c->pid = pid;
	c->log_fd = kept[0];
	c->control = kept[1];
	c->name = mem_strdup(order.name);
	c->meta = mem_strdup(order.meta);
	c->forks = head->flags & KEEP_HAS_FORKS;
	list_push_back(children, &c->link);

free_order:
	order_fini(&order);
close_all:
	for (size_t i = 0; i < n_fds; i++)
		if (!c || (fds[i] != c->log_fd && fds[i] != c->control))
			close(fds[i]);
	if (null >= 0)
		close(null);
	if (env >= 0)
		close(env);
	return rc;
}

void child_free(struct child *c)
{
	if (!c)
		return;
	list_remove(&c->link);
	if (c->log_fd >= 0)
		close(c->log_fd);
	if (c->control >= 0)
		close(c->control);
	free(c->name);
	free(c->meta);
	free(c);
}

struct child *child_by_id(struct list *children, uint64_t id)
{
	struct list *it, *tmp;

	LIST_EACH (children, it, tmp) {
		struct child *c = LIST_ENTRY(it, struct child, link);

		if (c->id == id)
			return c;
	}
	return NULL;
}

struct child *child_by_pid(struct list *children, pid_t pid)
{
	struct list *it, *tmp;

	LIST_EACH (children, it, tmp) {
		struct child *c = LIST_ENTRY(it, struct child, link);

		if (c->pid == pid)
			return c;
	}
	return NULL;
}

/* Pids of our own children, from /proc; 0 where the kernel does not tell. */
static size_t own_children(pid_t *pids, size_t max)
{
	FILE *f = fopen("/proc/thread-self/children", "re");
	size_t n = 0;
	int pid;

	if (!f)
		return 0;
	while (n < max && fscanf(f, "%d", &pid) == 1)
		pids[n++] = pid;
	fclose(f);
	return n;
}

/* The SOMA_REPLICA of a process, in out; false if it has none. */
static bool mark_of(pid_t pid, char *out, size_t size)
{
	static char env[256 * 1024];
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, env, sizeof env - 1);
	close(fd);
	if (n <= 0)
		return false;
	env[n] = 0;
	for (char *p = env; p < env + n; p += strlen(p) + 1) {
		if (strncmp(p, "SOMA_REPLICA=", 13) != 0)
			continue;
		snprintf(out, size, "%s", p + 13);
		return true;
	}
	return false;
}

/* Whether who has that mark belongs to nobody any more, seen at the end of
 * `dead`. */
static bool is_left(struct list *children, const struct child *dead,
		    const char *mark)
{
	bool any_forks = false;
	struct list *it, *tmp;

	LIST_EACH (children, it, tmp) {
		struct child *c = LIST_ENTRY(it, struct child, link);

		if ((c->pid || c->forks) && strcmp(c->name, mark) == 0)
			return false;
		any_forks = any_forks || c->forks;
	}
	return !any_forks || strcmp(dead->name, mark) == 0;
}

void child_kill_rest(struct list *children, const struct child *dead,
		     pid_t daemon)
{
	static pid_t pids[PIDS_MAX];
	size_t n;

	if (dead->pid > 1)
		kill(-dead->pid, SIGKILL);
	n = own_children(pids, PIDS_MAX);
	for (size_t i = 0; i < n; i++) {
		char mark[256];

		if (pids[i] == daemon || child_by_pid(children, pids[i]))
			continue;
		if (mark_of(pids[i], mark, sizeof mark) &&
		    is_left(children, dead, mark))
			kill(pids[i], SIGKILL);
	}
}

void child_kill_all(void)
{
	static pid_t pids[PIDS_MAX];
	struct timespec pause = {0, 2 * 1000 * 1000};

	/* Orphans of what we kill come to us, so this reaches all of them. */
	for (int turn = 0; turn < 5000; turn++) {
		size_t n = own_children(pids, PIDS_MAX);
		pid_t pid;

		for (size_t i = 0; i < n; i++)
			kill(pids[i], SIGKILL);
		while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
			;
		if (pid < 0)
			return;
		nanosleep(&pause, NULL);
	}
}
