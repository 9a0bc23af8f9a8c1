#include "keep/keep.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "box/cgroup.h"
#include "core/mem.h"
#include "keep/adopt.h"
#include "keep/terminal.h"
#include "loop/chan.h"
#include "loop/file.h"
#include "loop/log.h"

enum {
	RESTART_FIRST_MS = 20,
	RESTART_MOST_MS = 5000,
	STABLE_MS = 10000,
	QUICK_MS = 500,
	EXIT_CONFIG = 78, /* the daemon's word for: starting again won't help */
	DAEMON_FD = 3,
	GROUPS_MS = 2000,
};

/*
 * The keeper's life:
 *
 *   keep_run -> RUNNING <-> RESTARTING (the daemon died; its timer runs)
 *                  |
 *      SIGTERM, or the daemon cannot start
 *                  v
 *              STOPPING (the daemon drains) -> all killed -> return
 */
enum state { RUNNING, RESTARTING, STOPPING };

struct keeper {
	const struct keep_opts *opts;
	int *listeners; /* by enum keep_listener; -1 once closed */
	char *self;	/* owned: path of this program */
	uv_loop_t loop;
	uv_signal_t chld, term, intr, hup;
	uv_timer_t restart;
	struct chan chan; /* to the daemon */
	bool chan_open;
	pid_t daemon;	  /* 0: none */
	bool reload;	  /* no daemon has acted on the last SIGHUP */
	bool terminal;	  /* its hanging up ends Soma */
	bool serving;	  /* this daemon said SERVING */
	bool ever_served; /* one of them did */
	uint64_t started_ms;
	unsigned restart_ms;
	enum state state;
	int exit_code;
	struct list children;
	struct adopt_ends ends; /* of those that are in no list yet */
	struct rlimit files;	/* as Soma was started; for the children */
};

static void on_message(struct chan *c, const void *data, size_t len,
		       const int *fds, size_t n_fds);
static void on_channel_end(struct chan *c);
static void on_restart(uv_timer_t *timer);

static void say(struct keeper *k, uint16_t type, uint64_t id, int32_t arg,
		const char *payload, const int *fds, size_t n_fds)
{
	struct keep_head head = {.type = type, .arg = arg, .id = id};

	if (k->chan_open)
		chan_send(&k->chan, &head, sizeof head, payload,
			  payload ? strlen(payload) : 0, fds, n_fds);
}

/* pid files are for people and scripts; losing one is not worth dying for. */
static void write_pid(struct keeper *k, const char *name, pid_t pid)
{
	cleanup_free char *path =
		mem_printf("%s/run/%s.pid", k->opts->data_dir, name);
	struct err err = {0};
	char text[32];
	int n = snprintf(text, sizeof text, "%d\n", (int)pid);

	if (file_write(path, text, (size_t)n, 0644, &err))
		log_warn(NULL, "%s, ignoring", err.msg);
}

/* Two descriptors of each child are kept for the next daemon. */
static void raise_limit(struct keeper *k)
{
	struct rlimit all;

	if (getrlimit(RLIMIT_NOFILE, &k->files) < 0) {
		k->files.rlim_cur = 0;
		return;
	}
	all = k->files;
	all.rlim_cur = all.rlim_max;
	setrlimit(RLIMIT_NOFILE, &all);
}

static void become_daemon(struct keeper *k, int fd, char *settings)
{
	char keeper_fd[8];
	char *argv[] = {k->self,
			(char *)(uintptr_t) "daemon",
			(char *)(uintptr_t) "--data",
			k->opts->data_dir,
			(char *)(uintptr_t) "--listen",
			k->opts->listen,
			(char *)(uintptr_t) "--admin",
			k->opts->admin,
			(char *)(uintptr_t) "--keeper-fd",
			keeper_fd,
			(char *)(uintptr_t) "--settings",
			settings,
			NULL};

	snprintf(keeper_fd, sizeof keeper_fd, "%d", DAEMON_FD);
	if (fd == DAEMON_FD)
		fcntl(fd, F_SETFD, 0);
	else if (dup2(fd, DAEMON_FD) < 0)
		_exit(127);
	/* Ctrl-C reaches the keeper alone; it asks the daemon to drain. */
	setpgid(0, 0);
	execv(k->self, argv);
	fprintf(stderr, "soma: cannot execute %s: %s\n", k->self,
		strerror(errno));
	_exit(127);
}

static void start_daemon(struct keeper *k)
{
	int fds[2], rc = chan_pair(fds);
	struct buf settings;
	pid_t pid;

	if (rc) {
		log_error(LOG_F(F_S("error", strerror(-rc))),
			  "cannot make a channel for the daemon");
		k->daemon = 0;
		uv_timer_start(&k->restart, on_restart, RESTART_MOST_MS, 0);
		return;
	}
	buf_init(&settings, CHAN_MSG_MAX);
	settings_dump(k->opts->settings, &settings);
	pid = child_fork();
	if (pid == 0)
		become_daemon(k, fds[1],
			      (char *)(uintptr_t)buf_cstr(&settings));
	buf_fini(&settings);
	close(fds[1]);
	if (pid < 0) {
		close(fds[0]);
		log_error(LOG_F(F_S("error", strerror(errno))),
			  "cannot fork the daemon");
		uv_timer_start(&k->restart, on_restart, RESTART_MOST_MS, 0);
		return;
	}
	k->daemon = pid;
	k->serving = false;
	k->state = RUNNING;
	k->started_ms = uv_now(&k->loop);
	rc = chan_open(&k->chan, &k->loop, fds[0], on_message, on_channel_end);
	k->chan_open = rc == 0;
	if (rc)
		close(fds[0]);
	write_pid(k, "daemon", pid);
}

static void on_channel_closed(struct chan *c)
{
	(void)c;
}

static void close_channel(struct keeper *k)
{
	if (!k->chan_open)
		return;
	k->chan_open = false;
	chan_close(&k->chan, on_channel_closed);
}

static void on_channel_end(struct chan *c)
{
	/* Its exit says the rest. */
	close_channel(CONTAINER_OF(c, struct keeper, chan));
}

/* Soma ends: who connects now is refused by the kernel, and does not wait in a
 * backlog for an answer that never comes. */
static void close_listeners(struct keeper *k)
{
	for (int i = 0; i < 2; i++)
		if (k->listeners[i] >= 0) {
			close(k->listeners[i]);
			k->listeners[i] = -1;
		}
}

static void tell_all(struct keeper *k)
{
	struct list *it, *tmp;

	for (int i = 0; i < 2; i++)
		if (k->listeners[i] >= 0)
			say(k, KEEP_LISTENER, 0, i, NULL, &k->listeners[i], 1);
	LIST_EACH (&k->children, it, tmp) {
		struct child *c = LIST_ENTRY(it, struct child, link);
		int fds[2] = {c->log_fd, c->control};

		say(k, KEEP_CHILD, c->id, (int32_t)c->pid, c->meta, fds,
		    c->control >= 0 ? 2 : 1);
		if (!c->pid)
			say(k, KEEP_EXIT, c->id, c->status, NULL, NULL, 0);
	}
	say(k, KEEP_END, 0, 0, NULL, NULL, 0);
	/* Once more only, in case that reading is what killed the last one. */
	if (k->reload)
		say(k, KEEP_RELOAD, 0, 0, NULL, NULL, 0);
	k->reload = false;
}

void keep_setup_log(const struct settings *s)
{
	enum log_level level = LOG_INFO;

	log_level_of(settings_text(s, SETTING_LOG_LEVEL), &level);
	log_setup("keeper", level, settings_log_json(s));
}

/* The daemon has read the file again. */
static void new_settings(struct keeper *k, const char *dump, size_t len)
{
	cleanup_free char *text = mem_strndup(dump, len);
	struct err err = {0};

	k->reload = false;
	if (settings_load(k->opts->settings, text, &err)) {
		log_warn(NULL, "the daemon's settings: %s, ignoring", err.msg);
		return;
	}
	keep_setup_log(k->opts->settings);
}

static void spawn(struct keeper *k, const struct keep_head *head,
		  const int *fds, size_t n_fds)
{
	int rc = child_spawn(&k->children, head, fds, n_fds, &k->files);
	struct child *c = rc ? NULL : child_by_id(&k->children, head->id);

	say(k, KEEP_SPAWNED, head->id, c ? (int32_t)c->pid : rc, NULL, NULL, 0);
}

static void adopt(struct keeper *k, const struct keep_head *head,
		  struct str payload, const int *fds, size_t n_fds)
{
	int rc = adopt_child(&k->children, &k->ends, k->daemon, head, payload,
			     fds, n_fds);
	struct child *c = rc ? NULL : child_by_id(&k->children, head->id);
	/* Who is not waited for has its number: this is the child. */
	cleanup_close int handle =
		c && c->pid ? (int)syscall(SYS_pidfd_open, c->pid, 0) : -1;

	say(k, KEEP_SPAWNED, head->id, rc ? rc : head->arg, NULL, &handle,
	    handle >= 0);
	if (!c || c->pid)
		return;
	child_kill_rest(&k->children, c, k->daemon);
	say(k, KEEP_EXIT, c->id, c->status, NULL, NULL, 0);
}

/* Whom the daemon wanted of its forks it has asked for by now. And what came to
 * us since it died, when others that it had left died, goes, too. */
static void forget(struct keeper *k, struct child *c)
{
	c->forks = false;
	child_kill_rest(&k->children, c, k->daemon);
	child_free(c);
}

static void on_message(struct chan *chan, const void *data, size_t len,
		       const int *fds, size_t n_fds)
{
	struct keeper *k = CONTAINER_OF(chan, struct keeper, chan);
	struct keep_head head;
	struct child *c;

	if (len < sizeof head)
		return;
	memcpy(&head, data, sizeof head);
	if (head.type == KEEP_SPAWN) {
		spawn(k, &head, fds, n_fds);
		return;
	}
	if (head.type == KEEP_ADOPT) {
		adopt(k, &head,
		      (struct str){(const char *)data + sizeof head,
				   len - sizeof head},
		      fds, n_fds);
		return;
	}
	while (n_fds)
		close(fds[--n_fds]);
	c = child_by_id(&k->children, head.id);
	switch (head.type) {
	case KEEP_HELLO:
		tell_all(k);
		break;
	case KEEP_SERVING:
		k->serving = k->ever_served = true;
		break;
	case KEEP_SETTINGS:
		new_settings(k, (const char *)data + sizeof head,
			     len - sizeof head);
		break;
	case KEEP_SIGNAL:
		if (c && c->pid && kill(-c->pid, head.arg) < 0)
			kill(c->pid, head.arg);
		break;
	case KEEP_FORGET:
		if (c && !c->pid)
			forget(k, c);
		break;
	default:
		log_warn(LOG_F(F_I("type", head.type)),
			 "unknown message from the daemon, ignoring");
	}
}

static void end(struct keeper *k, int exit_code)
{
	k->exit_code = exit_code;
	uv_stop(&k->loop);
}

static void on_restart(uv_timer_t *timer)
{
	start_daemon(CONTAINER_OF(timer, struct keeper, restart));
}

/* How long to wait before the next one: not at all after a death by itself,
 * and longer and longer when none lives. SIGKILL is somebody's wish and no
 * fault of a daemon that served. */
static unsigned restart_wait(struct keeper *k, uint64_t lived, int status)
{
	bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	unsigned wait;

	if (k->serving && (lived >= STABLE_MS || killed))
		k->restart_ms = 0;
	wait = k->restart_ms;
	if (!k->serving || (lived < QUICK_MS && !killed))
		k->restart_ms = wait ? MIN(wait * 2, (unsigned)RESTART_MOST_MS)
				     : (unsigned)RESTART_FIRST_MS;
	else
		k->restart_ms = wait / 2;
	return wait;
}

static void daemon_exited(struct keeper *k, int status)
{
	uint64_t lived = uv_now(&k->loop) - k->started_ms;
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	unsigned wait;

	/* It may have said SERVING and died before we looked. */
	if (k->chan_open)
		chan_drain(&k->chan);
	close_channel(k);
	k->daemon = 0;
	if (k->state == STOPPING) {
		end(k, code > 0 ? 1 : 0);
		return;
	}
	/* What it says at the very start is about how Soma was started; later
	 * there are replicas that serve, and what is wrong may pass. */
	if (code == EXIT_CONFIG && !k->ever_served) {
		end(k, 1);
		return;
	}
	wait = restart_wait(k, lived, status);
	log_warn(LOG_F(F_I("status", status), F_I("lived_ms", lived),
		       F_I("again_in_ms", wait)),
		 "the daemon died (%s %d); starting it again",
		 WIFSIGNALED(status) ? "signal" : "exit code",
		 WIFSIGNALED(status) ? WTERMSIG(status) : code);
	k->state = RESTARTING;
	uv_timer_start(&k->restart, on_restart, wait, 0);
}

static void on_sigchld(uv_signal_t *handle, int signum)
{
	struct keeper *k = CONTAINER_OF(handle, struct keeper, chld);
	int status;
	pid_t pid;

	(void)signum;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct child *c;

		if (pid == k->daemon) {
			daemon_exited(k, status);
			continue;
		}
		c = child_by_pid(&k->children, pid);
		if (!c) {
			/* An orphan of some child, or not adopted yet. */
			adopt_note_end(&k->ends, pid, status);
			continue;
		}
		child_kill_rest(&k->children, c, k->daemon);
		c->pid = 0;
		c->status = status;
		/* Once more without it among the living. */
		child_kill_rest(&k->children, c, k->daemon);
		say(k, KEEP_EXIT, c->id, status, NULL, NULL, 0);
	}
}

static void stop(struct keeper *k)
{
	if (k->state == STOPPING) {
		log_warn(NULL, "told to stop twice: ending without draining");
		end(k, 1);
		return;
	}
	if (!k->daemon) {
		end(k, 0);
		return;
	}
	k->state = STOPPING;
	say(k, KEEP_STOP, 0, 0, NULL, NULL, 0);
	close_listeners(k);
}

static void on_sigterm(uv_signal_t *handle, int signum)
{
	(void)signum;
	stop(CONTAINER_OF(handle, struct keeper, term));
}

static void on_sigint(uv_signal_t *handle, int signum)
{
	(void)signum;
	stop(CONTAINER_OF(handle, struct keeper, intr));
}

static void on_sighup(uv_signal_t *handle, int signum)
{
	struct keeper *k = CONTAINER_OF(handle, struct keeper, hup);

	(void)signum;
	if (k->terminal && !terminal_is_there()) {
		k->terminal = false;
		log_info(NULL, "the terminal is gone: stopping");
		stop(k);
		return;
	}
	/* One that is dying does not hear it: the next one will. */
	k->reload = true;
	if (k->serving)
		say(k, KEEP_RELOAD, 0, 0, NULL, NULL, 0);
}

/* What the daemon had no time to remove, or was killed over. */
static void end_groups(struct keeper *k)
{
	char instance[CGROUP_INSTANCE_MAX];
	struct cgroups groups;
	struct err err = {0};

	cgroup_instance(k->opts->data_dir, instance);
	cgroups_init(&groups, instance, "");
	if (cgroups_end(&groups, GROUPS_MS, &err))
		log_warn(NULL, "%s, ignoring", err.msg);
	cgroups_fini(&groups);
}

static void on_any_closed(uv_handle_t *handle)
{
	(void)handle;
}

static void on_walk(uv_handle_t *handle, void *arg)
{
	(void)arg;
	if (!uv_is_closing(handle))
		uv_close(handle, on_any_closed);
}

int keep_run(const struct keep_opts *opts, int fds[2])
{
	struct keeper k = {.opts = opts, .listeners = fds};
	struct list *it, *tmp;
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

	if (n < 0)
		return 1;
	self[n] = 0;
	k.self = self;
	list_init(&k.children);
	raise_limit(&k);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_NAME, "soma-keep");
	k.terminal = terminal_ends_us();
	uv_loop_init(&k.loop);
	uv_signal_init(&k.loop, &k.chld);
	uv_signal_init(&k.loop, &k.term);
	uv_signal_init(&k.loop, &k.intr);
	uv_signal_init(&k.loop, &k.hup);
	uv_timer_init(&k.loop, &k.restart);
	uv_signal_start(&k.chld, on_sigchld, SIGCHLD);
	uv_signal_start(&k.term, on_sigterm, SIGTERM);
	uv_signal_start(&k.intr, on_sigint, SIGINT);
	uv_signal_start(&k.hup, on_sighup, SIGHUP);
	/* The daemon inherits it; for replicas the box resets it. */
	signal(SIGPIPE, SIG_IGN);
	write_pid(&k, "keeper", getpid());
	start_daemon(&k);
	uv_run(&k.loop, UV_RUN_DEFAULT);

	/* The keeper's end is everybody's end. */
	child_kill_all();
	end_groups(&k);
	close_channel(&k);
	uv_walk(&k.loop, on_walk, NULL);
	uv_run(&k.loop, UV_RUN_DEFAULT);
	uv_loop_close(&k.loop);
	LIST_EACH (&k.children, it, tmp)
		child_free(LIST_ENTRY(it, struct child, link));
	return k.exit_code;
}
