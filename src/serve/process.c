/* process.c: a process from its first sign to its end. */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "box/pace.h"
#include "core/json.h"
#include "core/mem.h"
#include "keep/proto.h"
#include "loop/log.h"
#include "serve/process_parts.h"

enum { STATUS_MAX = 4096 };

static void on_control_message(struct chan *c, const void *data, size_t len,
			       const int *fds, size_t n_fds);
static void on_control_end(struct chan *c);
static void on_control_closed(struct chan *c);

struct process *process__new(struct local *l, uint64_t id, const char *name,
			     const char *meta)
{
	struct process *p = mem_alloc(sizeof *p);

	p->local = l;
	p->id = id;
	p->name = mem_strdup(name);
	p->meta = mem_strdup(meta);
	p->status_fd = p->notify_fd = p->handle = -1;
	p->started_ms = (int64_t)uv_now(l->loop);
	buf_init(&p->line, PROCESS_LINE_MAX);
	buf_init(&p->rest, PROCESS_REST_MAX);
	list_init(&p->newborn_link);
	list_push_back(&l->processes, &p->link);
	return p;
}

void process__close_log(struct process *p);

/* Takes the daemon's end of its control channel. 0 or -errno. */
int process__hear_control(struct process *p, int fd)
{
	int rc;

	if (fd < 0)
		return -errno;
	rc = chan_open(&p->control, p->local->loop, fd, on_control_message,
		       on_control_end);
	if (rc) {
		close(fd);
		return rc;
	}
	p->handles++;
	p->control_open = true;
	return 0;
}

void process_signal(struct process *p, int signum)
{
	if (p->state == PROCESS_EXITED)
		return;
	p->killed = p->killed || signum == SIGKILL;
	/* The keeper does not know it yet. */
	if (p->unborn && p->first_sign != SIGKILL)
		p->first_sign = signum;
	if (!p->unborn)
		local__tell(p->local, KEEP_SIGNAL, p->id, signum);
}

void process_run_on(struct process *p)
{
	/* Its group's, as the keeper's. One that has ended since is a number of
	 * nobody, or of somebody who runs anyhow. */
	if (p->state != PROCESS_RUNNING || p->pid <= 1 ||
	    kill(-p->pid, SIGCONT))
		process_signal(p, SIGCONT);
}

void process_send(struct process *p, enum frame_type type, uint32_t arg,
		  const char *payload)
{
	struct frame f = {
		.type = (uint8_t)type, .version = FRAME_VERSION, .arg = arg};

	/* It has not begun, and has nothing to say or to finish. */
	if (p->config) {
		if (type == FRAME_STOP)
			process_signal(p, SIGKILL);
		return;
	}
	if (p->control_open)
		chan_send(&p->control, &f, sizeof f, payload,
			  payload ? strlen(payload) : 0, NULL, 0);
}

void process_weigh(struct process *p, int64_t cpu_millis)
{
	/* One that is being moved is for the next time. */
	if (p->weight == cpu_millis || p->weaning ||
	    p->state != PROCESS_RUNNING)
		return;
	p->weight = p->limits.cpu_millis = cpu_millis;
	if (list_empty(&p->newborn_link) &&
	    p->local->groups.mode != CGROUP_NONE)
		cgroup_weigh(&p->local->groups, p->name, cpu_millis);
}

void process_pace(struct process *p, bool brisk)
{
	if ((p->paced && p->brisk == brisk) || p->state != PROCESS_RUNNING ||
	    !p->pid)
		return;
	p->paced = true;
	p->brisk = brisk;
	pace_set(p->pid, brisk);
}

/* ---- its channels ---- */

static void on_control_message(struct chan *c, const void *data, size_t len,
			       const int *fds, size_t n_fds)
{
	struct process *p = CONTAINER_OF(c, struct process, control);
	struct frame f;

	while (n_fds)
		close(fds[--n_fds]);
	if (len < sizeof f || p->state == PROCESS_EXITED)
		return;
	memcpy(&f, data, sizeof f);
	if (f.version != FRAME_VERSION)
		return;
	p->heard = true;
	if (f.type == FRAME_READY) {
		p->soon = false;
		if (f.arg <= INT32_MAX)
			p->said = (pid_t)f.arg;
	}
	if (f.type == FRAME_FORKED) {
		process__forked(p, f.arg,
				(struct str){(const char *)data + sizeof f,
					     len - sizeof f});
		return;
	}
	if (p->ops && p->ops->on_frame)
		p->ops->on_frame(p, &f,
				 (struct str){(const char *)data + sizeof f,
					      len - sizeof f});
}

static void close_control(struct process *p)
{
	if (!p->control_open)
		return;
	p->control_open = false;
	chan_close(&p->control, on_control_closed);
}

static void on_control_end(struct chan *c)
{
	/* Its exit is the news; this only says that it is near. */
	close_control(CONTAINER_OF(c, struct process, control));
}

/* As recv; sender is who the kernel says it was. An abstract socket has no
 * permissions: everybody on the machine can reach it. */
static ssize_t recv_notify(int fd, char *text, size_t size, uid_t *sender)
{
	union {
		char room[CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {text, size};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.room,
			     .msg_controllen = sizeof control.room};
	ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c;
	struct ucred cred;

	if (n < 0)
		return n;
	for (c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_level != SOL_SOCKET ||
		    c->cmsg_type != SCM_CREDENTIALS)
			continue;
		memcpy(&cred, CMSG_DATA(c), sizeof cred);
		*sender = cred.uid;
		return n;
	}
	return -1;
}

void process__on_notify_readable(uv_poll_t *poll, int status, int events)
{
	struct process *p = poll->data;
	uid_t sender;
	char text[1024];
	ssize_t n;

	(void)events;
	if (status < 0)
		return;
	n = recv_notify(p->notify_fd, text, sizeof text - 1, &sender);
	if (n <= 0)
		return;
	if (sender != p->uid && sender != 0 && sender != geteuid()) {
		log_warn(LOG_F(F_S("process", p->name), F_I("uid", sender)),
			 "a notification from another user, ignoring");
		return;
	}
	text[n] = 0;
	if ((strncmp(text, "READY=1", 7) == 0 || strstr(text, "\nREADY=1")) &&
	    p->ops && p->ops->on_notify)
		p->ops->on_notify(p);
}

static void close_notify(struct process *p)
{
	if (!p->notify_open)
		return;
	p->notify_open = false;
	uv_poll_stop(&p->notify);
	close(p->notify_fd);
	uv_close((uv_handle_t *)&p->notify, process__on_handle_closed);
}

void process__leave(struct process *p)
{
	process__tell_rest(p);
	process__close_log(p);
	close_control(p);
	close_notify(p);
}

/* ---- its end ---- */

static const char *signal_word(int signum)
{
	switch (signum) {
	case SIGKILL:
		return "SIGKILL";
	case SIGSEGV:
		return "SIGSEGV";
	case SIGABRT:
		return "SIGABRT";
	case SIGTERM:
		return "SIGTERM";
	case SIGBUS:
		return "SIGBUS";
	case SIGFPE:
		return "SIGFPE";
	case SIGILL:
		return "SIGILL";
	case SIGINT:
		return "SIGINT";
	case SIGPIPE:
		return "SIGPIPE";
	case SIGSYS:
		return "SIGSYS";
	default:
		return strsignal(signum);
	}
}

/* The launcher's report, in words; NULL when the program was started. */
static char *launch_failure(struct process *p)
{
	cleanup_json yyjson_doc *doc = NULL;
	char text[STATUS_MAX];
	const char *message, *remedy;
	yyjson_val *root;
	ssize_t n;

	if (p->status_fd < 0)
		return NULL;
	n = read(p->status_fd, text, sizeof text);
	if (n <= 0)
		return NULL;
	doc = json_parse(text, (size_t)n, NULL);
	root = yyjson_doc_get_root(doc);
	message = json_str(root, "message", "the launcher failed");
	remedy = json_str(root, "remedy", "");
	return mem_printf("%s%s%s", message, *remedy ? ". " : "", remedy);
}

/* Whether a fork was killed before its first word: with its zygote, or in its
 * stead, by who has to choose when memory is short. Nothing has begun there
 * that a start from its program would not do as well. */
static bool is_stillborn(struct process *p)
{
	int64_t now = (int64_t)uv_now(p->local->loop);

	if (!p->zygote || p->killed)
		return false;
	if (p->soon && !p->unborn && now - p->started_ms > PROCESS_BEGUN_MS)
		return false;
	if (p->control_open)
		chan_drain(&p->control);
	return !p->heard;
}

static bool was_oom(struct process *p)
{
	struct cgroup_usage usage;

	if (!cgroup_usage(&p->local->groups, p->name, &usage) ||
	    usage.oom_kills <= 0)
		return false;
	p->peak = (uint64_t)MAX(usage.mem_peak_bytes, (int64_t)0);
	return true;
}

char *process__cause(struct process *p, int status)
{
	char *launch = launch_failure(p);

	if (launch)
		return launch;
	p->launched = true;
	if (WIFSIGNALED(status)) {
		if (WTERMSIG(status) == SIGKILL && was_oom(p))
			return mem_strdup(PROCESS_RAN_OUT);
		if (WTERMSIG(status) == SIGKILL && is_stillborn(p))
			p->unborn = true;
		return mem_printf("signal %d (%s)", WTERMSIG(status),
				  signal_word(WTERMSIG(status)));
	}
	return mem_printf("exit code %d", WEXITSTATUS(status));
}

void process__dead(struct process *p, char *cause)
{
	if (p->state == PROCESS_EXITED) {
		free(cause);
		return;
	}
	/* Why it ended may be its last word. */
	if (p->control_open)
		chan_drain(&p->control);
	p->state = PROCESS_EXITED;
	p->cause = cause;
	process__weaned(p);
	if (p->forks)
		process__end_unborn(p);
	local__end_group(p->local, p->name);
	close_control(p);
	close_notify(p);
	if (p->log_open)
		process__drain_log(p);
	else
		process__maybe_gone(p);
}

/* Tells of the exit once: when it is dead and its output has been heard. */
void process__maybe_gone(struct process *p)
{
	cleanup_free char *cause = NULL;

	if (p->state != PROCESS_EXITED || p->log_open || !p->cause)
		return;
	cause = mem_take(&p->cause);
	if (p->ops && p->ops->on_exit)
		p->ops->on_exit(p, cause, p->launched);
}

static void process_free(struct process *p)
{
	if (p->handles || !p->closing)
		return;
	list_remove(&p->link);
	buf_fini(&p->line);
	buf_fini(&p->rest);
	free(p->cause);
	free(p->name);
	free(p->meta);
	free(p->socket);
	free(p->zygote);
	free(p->config);
	if (p->handle >= 0)
		close(p->handle);
	free(p);
}

void process__handle_closed(struct process *p)
{
	p->handles--;
	process_free(p);
}

void process__on_handle_closed(uv_handle_t *handle)
{
	process__handle_closed(handle->data);
}

static void on_control_closed(struct chan *c)
{
	process__handle_closed(CONTAINER_OF(c, struct process, control));
}

void process_close(struct process *p)
{
	assert(p->state == PROCESS_EXITED && !p->closing);
	p->closing = true;
	p->ops = NULL;
	if (p->socket)
		unlink(p->socket);
	process__forget_warm(p);
	if (p->status_fd >= 0)
		close(p->status_fd);
	process__close_log(p);
	close_control(p);
	close_notify(p);
	local__tell(p->local, KEEP_FORGET, p->id, 0);
	process_free(p);
}
