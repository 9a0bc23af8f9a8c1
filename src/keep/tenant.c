#include "keep/tenant.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/mem.h"
#include "keep/child.h"
#include "keep/keeper_parts.h"

enum { DAEMON_FD = 3, PROGRAM_FD = 4 };

static void on_channel_end(struct chan *c);

static char *word(const char *text)
{
	return (char *)(uintptr_t)text;
}

/* Between fork and exec. */
static void become_daemon(const struct keeper *k, const char *program, int file,
			  int fd, const char *settings, bool waits)
{
	char keeper_fd[8], by_fd[32];
	char *argv[] = {word(program),
			word("daemon"),
			word("--data"),
			k->opts->data_dir,
			word("--listen"),
			k->opts->listen,
			word("--admin"),
			k->opts->admin,
			word("--keeper-fd"),
			keeper_fd,
			word("--settings"),
			word(settings),
			NULL,
			NULL};

	if (waits)
		argv[ARRAY_LEN(argv) - 2] = word("--take-over");
	snprintf(keeper_fd, sizeof keeper_fd, "%d", DAEMON_FD);
	snprintf(by_fd, sizeof by_fd, "/proc/self/fd/%d", PROGRAM_FD);
	/* It lives on for a moment when the keeper is killed, and who comes
	 * next waits for its end: its copy of the lock says how long that is.
	 */
	if (fcntl(k->opts->lock, F_DUPFD, 64) < 0)
		_exit(127);
	/* First out of the way of what comes to its number. */
	if (file >= 0)
		file = fcntl(file, F_DUPFD_CLOEXEC, 64);
	if (fd == DAEMON_FD)
		fcntl(fd, F_SETFD, 0);
	else if (dup2(fd, DAEMON_FD) < 0)
		_exit(127);
	if (file >= 0 && dup3(file, PROGRAM_FD, O_CLOEXEC) < 0)
		_exit(127);
	/* Ctrl-C reaches the keeper alone; it asks the daemon to drain. */
	setpgid(0, 0);
	/* Soma may itself be run by a replica, whose mark is not the daemon's:
	 * what bears it is killed with the replica. */
	unsetenv("SOMA_REPLICA");
	execv(file >= 0 ? by_fd : program, argv);
	fprintf(stderr, "soma: cannot execute %s: %s\n", program,
		strerror(errno));
	_exit(127);
}

struct tenant *tenant_start(struct keeper *k, const char *program, int fd,
			    bool waits)
{
	int fds[2], rc = chan_pair(fds);
	struct tenant *t;
	struct buf settings;
	pid_t pid;

	if (rc) {
		errno = -rc;
		return NULL;
	}
	buf_init(&settings, CHAN_MSG_MAX);
	settings_dump(k->opts->settings, &settings);
	pid = child_fork();
	if (pid == 0)
		become_daemon(k, program, fd, fds[1], buf_cstr(&settings),
			      waits);
	rc = errno;
	buf_fini(&settings);
	close(fds[1]);
	if (pid < 0) {
		close(fds[0]);
		errno = rc;
		return NULL;
	}
	t = mem_alloc(sizeof *t);
	t->keeper = k;
	t->pid = pid;
	list_init(&t->link);
	rc = chan_open(&t->chan, &k->loop, fds[0], keeper__on_message,
		       on_channel_end);
	t->open = rc == 0;
	if (rc)
		close(fds[0]); /* it sees that, and ends */
	return t;
}

static void on_closed(struct chan *c)
{
	struct tenant *t = CONTAINER_OF(c, struct tenant, chan);

	free(t->holds);
	free(t);
}

static void on_channel_end(struct chan *c)
{
	(void)c; /* Its exit says the rest. */
}

void tenant_free(struct tenant *t)
{
	if (!t)
		return;
	list_remove(&t->link);
	if (t->open) {
		t->open = false;
		chan_close(&t->chan, on_closed);
		return;
	}
	on_closed(&t->chan);
}

void tenant_say(struct tenant *t, uint16_t type, uint64_t id, int32_t arg,
		const char *payload, const int *fds, size_t n_fds)
{
	struct keep_head head = {.type = type, .arg = arg, .id = id};

	if (t && t->open)
		chan_send(&t->chan, &head, sizeof head, payload,
			  payload ? strlen(payload) : 0, fds, n_fds);
}

void tenant_note_hold(struct tenant *t, uint64_t id, unsigned n)
{
	for (size_t i = 0; i < t->n_holds; i++) {
		if (t->holds[i].id != id)
			continue;
		t->holds[i].n = n;
		return;
	}
	t->holds = mem_grow(t->holds, (t->n_holds + 1) * sizeof *t->holds);
	t->holds[t->n_holds++] = (struct hold){id, n};
}

unsigned tenants_hold(const struct list *retired, uint64_t id)
{
	unsigned n = 0;

	for (const struct list *it = retired->next; it != retired;
	     it = it->next) {
		const struct tenant *t = CONTAINER_OF(
			(struct list *)(uintptr_t)it, struct tenant, link);

		for (size_t i = 0; i < t->n_holds; i++)
			n += t->holds[i].id == id ? t->holds[i].n : 0;
	}
	return n;
}

struct tenant *tenant_by_pid(const struct list *retired, pid_t pid)
{
	for (struct list *it = retired->next; it != retired; it = it->next) {
		struct tenant *t = LIST_ENTRY(it, struct tenant, link);

		if (t->pid == pid)
			return t;
	}
	return NULL;
}
