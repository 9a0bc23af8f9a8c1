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
#include "keep/keeper_parts.h"
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
	GROUPS_MS = 2000,
};

static void on_restart(uv_timer_t *timer);

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

static void start_daemon(struct keeper *k)
{
	struct tenant *t = tenant_start(k, k->self, k->fallback, false);

	if (!t) {
		log_error(LOG_F(F_S("error", strerror(errno))),
			  "cannot start the daemon");
		uv_timer_start(&k->restart, on_restart, RESTART_MOST_MS, 0);
		return;
	}
	keeper__instal(k, t);
}

void keeper__instal(struct keeper *k, struct tenant *t)
{
	k->serving = false;
	/* One that died may have been about to be started again. */
	uv_timer_stop(&k->restart);
	if (!t) {
		start_daemon(k);
		return;
	}
	k->daemon = t;
	/* Told to stop while there was none. */
	if (k->state != STOPPING)
		k->state = RUNNING;
	k->started_ms = uv_now(&k->loop);
	write_pid(k, "daemon", t->pid);
	/* The one before yielded when Soma had been told to end. */
	if (k->state == STOPPING)
		tenant_say(t, KEEP_STOP, 0, 0, NULL, NULL, 0);
}

/* Soma ends: who connects now is refused by the kernel, and does not wait in a
 * backlog for an answer that never comes. */
static void close_listeners(struct keeper *k)
{
	for (int i = 0; i < KEEP_LISTENERS; i++)
		if (k->listeners[i] >= 0 && i != KEEP_PASS) {
			close(k->listeners[i]);
			k->listeners[i] = -1;
		}
}

static void tell_child(struct keeper *k, const struct child *c)
{
	int fds[2] = {c->log_fd, c->control};
	unsigned held = tenants_hold(&k->retired, c->id);

	tenant_say(k->daemon, KEEP_CHILD, c->id, (int32_t)c->pid, c->meta, fds,
		   c->control >= 0 ? 2 : 1);
	if (held)
		tenant_say(k->daemon, KEEP_HELD, c->id, (int32_t)held, NULL,
			   NULL, 0);
	if (!c->pid)
		tenant_say(k->daemon, KEEP_EXIT, c->id, c->status, NULL, NULL,
			   0);
}

static void tell_all(struct keeper *k)
{
	struct list *it, *tmp;

	for (int i = 0; i < KEEP_LISTENERS; i++)
		if (k->listeners[i] >= 0)
			tenant_say(k->daemon, KEEP_LISTENER, 0, i, NULL,
				   &k->listeners[i], 1);
	LIST_EACH (&k->children, it, tmp)
		tell_child(k, LIST_ENTRY(it, struct child, link));
	tenant_say(k->daemon, KEEP_END, 0, 0, NULL, NULL, 0);
	/* Once more only, in case that reading is what killed the last one. */
	if (k->reload)
		tenant_say(k->daemon, KEEP_RELOAD, 0, 0, NULL, NULL, 0);
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

static void kill_rest(struct keeper *k, const struct child *c)
{
	child_kill_rest(&k->children, c, k->daemon ? k->daemon->pid : 0);
}

static void spawn(struct keeper *k, const struct keep_head *head,
		  const int *fds, size_t n_fds)
{
	int rc = child_spawn(&k->children, head, fds, n_fds, &k->files);
	struct child *c = rc ? NULL : child_by_id(&k->children, head->id);

	tenant_say(k->daemon, KEEP_SPAWNED, head->id, c ? (int32_t)c->pid : rc,
		   NULL, NULL, 0);
}

static void adopt(struct keeper *k, const struct keep_head *head,
		  struct str payload, const int *fds, size_t n_fds)
{
	int rc = adopt_child(&k->children, &k->ends, k->daemon->pid, head,
			     payload, fds, n_fds);
	struct child *c = rc ? NULL : child_by_id(&k->children, head->id);
	/* Who is not waited for has its number: this is the child. */
	cleanup_close int handle =
		c && c->pid ? (int)syscall(SYS_pidfd_open, c->pid, 0) : -1;

	tenant_say(k->daemon, KEEP_SPAWNED, head->id, rc ? rc : head->arg, NULL,
		   &handle, handle >= 0);
	if (!c || c->pid)
		return;
	kill_rest(k, c);
	tenant_say(k->daemon, KEEP_EXIT, c->id, c->status, NULL, NULL, 0);
}

/* Whom the daemon wanted of its forks it has asked for by now. And what came to
 * us since it died, when others that it had left died, goes, too. */
static void forget(struct keeper *k, struct child *c)
{
	c->forks = false;
	kill_rest(k, c);
	child_free(c);
}

/* Of one that has yielded: requests that it still has. */
static void on_holds(struct keeper *k, struct tenant *t, uint64_t id,
		     unsigned n)
{
	tenant_note_hold(t, id, n);
	if (t != k->daemon)
		tenant_say(k->daemon, KEEP_HELD, id,
			   (int32_t)tenants_hold(&k->retired, id), NULL, NULL,
			   0);
}

static void on_serving(struct keeper *k)
{
	k->serving = k->ever_served = true;
	upgrade_on_serving(k);
}

/* What only the one daemon may say that all is told. */
static void on_daemon_said(struct keeper *k, const struct keep_head *head,
			   struct str payload)
{
	struct child *c = child_by_id(&k->children, head->id);
	cleanup_free char *text = mem_strndup(payload.p, payload.n);

	switch (head->type) {
	case KEEP_HELLO:
		tell_all(k);
		break;
	case KEEP_SERVING:
		on_serving(k);
		break;
	case KEEP_SETTINGS:
		new_settings(k, payload.p, payload.n);
		break;
	case KEEP_SIGNAL:
		if (c && c->pid && kill(-c->pid, head->arg) < 0)
			kill(c->pid, head->arg);
		break;
	case KEEP_FORGET:
		if (c && !c->pid)
			forget(k, c);
		break;
	case KEEP_UPGRADE:
		upgrade_begin(k, text, k->daemon->pid);
		break;
	case KEEP_YIELDED:
		upgrade_on_yielded(k, k->daemon, head->arg ? text : NULL);
		break;
	default:
		log_warn(LOG_F(F_I("type", head->type)),
			 "unknown message from the daemon, ignoring");
	}
}

void keeper__on_message(struct chan *chan, const void *data, size_t len,
			const int *fds, size_t n_fds)
{
	struct tenant *t = CONTAINER_OF(chan, struct tenant, chan);
	struct keeper *k = t->keeper;
	struct keep_head head;
	struct str payload;

	if (len < sizeof head)
		return;
	memcpy(&head, data, sizeof head);
	payload = (struct str){(const char *)data + sizeof head,
			       len - sizeof head};
	if (t == k->daemon && head.type == KEEP_SPAWN) {
		spawn(k, &head, fds, n_fds);
		return;
	}
	if (t == k->daemon && head.type == KEEP_ADOPT) {
		adopt(k, &head, payload, fds, n_fds);
		return;
	}
	while (n_fds)
		close(fds[--n_fds]);
	if (head.type == KEEP_HOLDS)
		on_holds(k, t, head.id, (unsigned)head.arg);
	else if (head.type == KEEP_READY)
		upgrade_on_ready(k, t);
	else if (t == k->daemon)
		on_daemon_said(k, &head, payload);
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

static void maybe_end(struct keeper *k)
{
	if (!k->daemon && list_empty(&k->retired))
		end(k, k->exit_code);
}

/* It had no time to. */
static void unlink_calls(const struct keeper *k, pid_t pid)
{
	cleanup_free char *path = mem_printf("%s/run/s/" KEEP_CALLS_NAME "%d",
					     k->opts->data_dir, (int)pid);

	unlink(path);
}

/* One that had yielded has ended: what it had at replicas is over. */
static void retired_exited(struct keeper *k, struct tenant *t)
{
	struct list *it, *tmp;

	if (!t)
		return;
	unlink_calls(k, t->pid);
	log_info(LOG_F(F_I("pid", (int64_t)t->pid)),
		 "the daemon from before the upgrade has ended");
	tenant_free(t);
	LIST_EACH (&k->children, it, tmp) {
		const struct child *c = LIST_ENTRY(it, struct child, link);

		tenant_say(k->daemon, KEEP_HELD, c->id,
			   (int32_t)tenants_hold(&k->retired, c->id), NULL,
			   NULL, 0);
	}
	if (k->state == STOPPING)
		maybe_end(k);
}

static void daemon_exited(struct keeper *k, pid_t pid, int status)
{
	uint64_t lived = uv_now(&k->loop) - k->started_ms;
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	unsigned wait;

	/* It may have said SERVING and died before we looked. */
	if (k->daemon->open)
		chan_drain(&k->daemon->chan);
	/* Its last word may have been that it has yielded. */
	if (!k->daemon || k->daemon->pid != pid) {
		retired_exited(k, tenant_by_pid(&k->retired, pid));
		return;
	}
	unlink_calls(k, pid);
	tenant_free(mem_take(&k->daemon));
	if (k->state == STOPPING) {
		k->exit_code = code > 0 ? 1 : 0;
		maybe_end(k);
		return;
	}
	if (upgrade_on_death(k))
		return;
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

		if (k->daemon && pid == k->daemon->pid) {
			daemon_exited(k, pid, status);
			continue;
		}
		if (tenant_by_pid(&k->retired, pid)) {
			retired_exited(k, tenant_by_pid(&k->retired, pid));
			continue;
		}
		if (upgrade_on_exit(k, pid, status))
			continue;
		c = child_by_pid(&k->children, pid);
		if (!c) {
			/* An orphan of some child, or not adopted yet. */
			adopt_note_end(&k->ends, pid, status);
			continue;
		}
		kill_rest(k, c);
		c->pid = 0;
		c->status = status;
		/* Once more without it among the living. */
		kill_rest(k, c);
		tenant_say(k->daemon, KEEP_EXIT, c->id, status, NULL, NULL, 0);
	}
}

static void stop(struct keeper *k)
{
	struct list *it, *tmp;

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
	upgrade_stop(k);
	tenant_say(k->daemon, KEEP_STOP, 0, 0, NULL, NULL, 0);
	LIST_EACH (&k->retired, it, tmp)
		tenant_say(LIST_ENTRY(it, struct tenant, link), KEEP_STOP, 0, 0,
			   NULL, NULL, 0);
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

static void on_sigusr2(uv_signal_t *handle, int signum)
{
	(void)signum;
	upgrade_begin(CONTAINER_OF(handle, struct keeper, usr2), NULL, 0);
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
		tenant_say(k->daemon, KEEP_RELOAD, 0, 0, NULL, NULL, 0);
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

int keep_run(const struct keep_opts *opts, int fds[KEEP_LISTENERS])
{
	struct keeper k = {.opts = opts, .listeners = fds};
	struct list *it, *tmp;
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

	if (n < 0)
		return 1;
	self[n] = 0;
	k.self = mem_strdup(self);
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
	uv_signal_init(&k.loop, &k.usr2);
	uv_timer_init(&k.loop, &k.restart);
	upgrade_init(&k);
	uv_signal_start(&k.chld, on_sigchld, SIGCHLD);
	uv_signal_start(&k.term, on_sigterm, SIGTERM);
	uv_signal_start(&k.intr, on_sigint, SIGINT);
	uv_signal_start(&k.hup, on_sighup, SIGHUP);
	uv_signal_start(&k.usr2, on_sigusr2, SIGUSR2);
	/* The daemon inherits it; for replicas the box resets it. */
	signal(SIGPIPE, SIG_IGN);
	write_pid(&k, "keeper", getpid());
	start_daemon(&k);
	uv_run(&k.loop, UV_RUN_DEFAULT);

	/* The keeper's end is everybody's end. */
	child_kill_all();
	end_groups(&k);
	tenant_free(mem_take(&k.daemon));
	upgrade_close(&k);
	uv_walk(&k.loop, on_walk, NULL);
	uv_run(&k.loop, UV_RUN_DEFAULT);
	uv_loop_close(&k.loop);
	LIST_EACH (&k.children, it, tmp)
		child_free(LIST_ENTRY(it, struct child, link));
	free(k.self);
	return k.exit_code;
}
