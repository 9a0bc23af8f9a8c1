#include "serve/local.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "box/box.h"
#include "box/reach.h"
#include "box/stray.h"
#include "core/json.h"
#include "core/mem.h"
#include "keep/proto.h"
#include "loop/log.h"

enum {
	LINE_MAX_BYTES = 64 * 1024,
	STATUS_MAX = 4096,
	SOCKET_BACKLOG = 1024,
	GROUPS_MS = 2000,
	LINES_A_TURN = 256,
	REST_MAX = 2 << 20, /* a pipe's content, and what was read before */
};

static void on_keeper_message(struct chan *c, const void *data, size_t len,
			      const int *fds, size_t n_fds);
static void on_keeper_end(struct chan *c);
static void on_control_message(struct chan *c, const void *data, size_t len,
			       const int *fds, size_t n_fds);
static void on_control_end(struct chan *c);
static void on_control_closed(struct chan *c);
static void on_log_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf);
static void on_log_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);
static void on_notify_readable(uv_poll_t *poll, int status, int events);
static void on_process_handle_closed(uv_handle_t *handle);

/* The control group of a process that is dead: everything left in it is being
 * killed, which takes the kernel a moment. */
struct ending {
	struct list link;
	char *leaf; /* owned */
	unsigned turns;
};

static void ending_free(struct ending *e)
{
	list_remove(&e->link);
	free(e->leaf);
	free(e);
}

static bool ending_done(struct local *l, struct ending *e)
{
	cgroup_kill(&l->groups, e->leaf, NULL);
	return cgroup_remove(&l->groups, e->leaf, NULL) == 0 ||
	       ++e->turns > 100;
}

void local_tick(struct local *l)
{
	struct list *it, *tmp;

	LIST_EACH (&l->endings, it, tmp) {
		struct ending *e = LIST_ENTRY(it, struct ending, link);

		if (ending_done(l, e))
			ending_free(e);
	}
}

static void end_group(struct local *l, const char *name)
{
	struct ending *e;

	if (l->groups.mode == CGROUP_NONE)
		return;
	e = mem_alloc(sizeof *e);
	e->leaf = mem_strdup(name);
	list_push_back(&l->endings, &e->link);
	if (ending_done(l, e))
		ending_free(e);
}

/* A group of an earlier life, whose process nobody knows any more. */
static void end_unknown_groups(struct local *l)
{
	struct list *it, *tmp;
	size_t n = 0;
	char **names;

	if (l->groups.mode == CGROUP_NONE)
		return;
	names = cgroup_list(&l->groups, &n);
	for (size_t i = 0; i < n; i++) {
		bool known = strcmp(names[i], "soma-main") == 0;

		LIST_EACH (&l->processes, it, tmp) {
			struct process *p =
				LIST_ENTRY(it, struct process, link);

			known = known || strcmp(p->name, names[i]) == 0;
		}
		if (!known)
			end_group(l, names[i]);
	}
	cgroup_list_free(names, n);
}

/* Likewise their sockets. */
static void remove_unknown_sockets(struct local *l)
{
	cleanup_free char *path = mem_printf("%s/run/s", l->data_dir);
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		struct list *it, *tmp;
		bool known = entry->d_name[0] == '.';

		LIST_EACH (&l->processes, it, tmp) {
			struct process *p =
				LIST_ENTRY(it, struct process, link);

			known = known || strcmp(p->name, entry->d_name) == 0;
		}
		if (!known)
			unlinkat(l->socket_dir, entry->d_name, 0);
	}
	if (dir)
		closedir(dir);
}

/* ---- messages to the keeper ---- */

static void tell(struct local *l, uint16_t type, uint64_t id, int32_t arg)
{
	struct keep_head head = {.type = type, .arg = arg, .id = id};

	chan_send(&l->chan, &head, sizeof head, NULL, 0, NULL, 0);
}

int local_open(struct local *l, uv_loop_t *loop, const char *data_dir,
	       int keeper_fd, struct err *err)
{
	cleanup_free char *dir = mem_printf("%s/run/s", data_dir);
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	struct err why = {0};
	int rc;

	if (n < 0)
		return err_sys(err, errno, "reading /proc/self/exe");
	self[n] = 0;
	l->loop = loop;
	l->data_dir = data_dir;
	l->keeper = getppid();
	l->root = geteuid() == 0;
	l->next_id = 1;
	list_init(&l->processes);
	l->socket_dir = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (l->socket_dir < 0)
		return err_sys(err, errno, "opening '%s'", dir);
	rc = chan_open(&l->chan, loop, keeper_fd, on_keeper_message,
		       on_keeper_end);
	if (rc) {
		close(l->socket_dir);
		return err_set(err, E_INTERNAL, "channel to the keeper: %s",
			       uv_strerror(rc));
	}
	l->self = mem_strdup(self);
	l->blocked = l->root ? box_blocked_ancestor(data_dir) : NULL;
	list_init(&l->endings);
	cgroup_instance(data_dir, l->instance);
	cgroups_init(&l->groups, l->instance, "");
	if (cgroups_prepare(&l->groups, &why))
		log_info(LOG_F(F_S("mode", cgroup_mode_name(l->groups.mode))),
			 "control groups: %s, going on without", why.msg);
	tell(l, KEEP_HELLO, 0, 0);
	return 0;
}

void local_serving(struct local *l)
{
	tell(l, KEEP_SERVING, 0, 0);
}

void local_close(struct local *l)
{
	assert(list_empty(&l->processes));
	if (chan_is_open(&l->chan))
		chan_close(&l->chan, NULL);
	while (!list_empty(&l->endings))
		ending_free(LIST_ENTRY(l->endings.next, struct ending, link));
	/* Busy when a launcher is just dying: the next start clears it away. */
	cgroups_remove(&l->groups, NULL);
	cgroups_fini(&l->groups);
	close(l->socket_dir);
	free(l->self);
	free(l->blocked);
}

static void on_keeper_end(struct chan *c)
{
	struct local *l = CONTAINER_OF(c, struct local, chan);

	l->on_keeper_lost(l);
}

void local_kill_all(struct local *l)
{
	struct list *it, *tmp;

	LIST_EACH (&l->processes, it, tmp) {
		struct process *p = LIST_ENTRY(it, struct process, link);

		if (p->pid > 1)
			kill(-p->pid, SIGKILL);
		cgroup_kill(&l->groups, p->name, NULL);
	}
	box_kill_strays(l->instance, NULL);
	/* Also those of processes that nobody here has heard of. */
	cgroups_end(&l->groups, GROUPS_MS, NULL);
}

/* The socket's directory may lie deeper than a socket address is long; the
 * way by descriptor never does. */
char *local_socket_path(struct local *l, const char *name)
{
	return mem_printf("/proc/self/fd/%d/%s", l->socket_dir, name);
}

/* ---- making a process ---- */

static struct process *process_new(struct local *l, uint64_t id,
				   const char *name, const char *meta)
{
	struct process *p = mem_alloc(sizeof *p);

	p->local = l;
	p->id = id;
	p->name = mem_strdup(name);
	p->meta = mem_strdup(meta);
	p->status_fd = p->notify_fd = -1;
	p->started_ms = (int64_t)uv_now(l->loop);
	buf_init(&p->line, LINE_MAX_BYTES);
	buf_init(&p->rest, REST_MAX);
	list_push_back(&l->processes, &p->link);
	return p;
}

static void close_log(struct process *p);

/* Takes the read end of its log pipe. 0 or -errno. */
static int hear_log(struct process *p, int fd)
{
	int rc = 0;

	if (fd < 0)
		return -errno;
	uv_pipe_init(p->local->loop, &p->log, 0);
	p->log.data = p;
	p->handles++;
	p->log_open = true;
	uv_timer_init(p->local->loop, &p->later);
	p->later.data = p;
	p->handles++;
	p->later_open = true;
	rc = uv_pipe_open(&p->log, fd);
	if (rc) {
		close(fd);
		close_log(p);
		return rc;
	}
	return uv_read_start((uv_stream_t *)&p->log, on_log_alloc, on_log_read);
}

/* Takes the daemon's end of its control channel. 0 or -errno. */
static int hear_control(struct process *p, int fd)
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

static int make_socket(struct local *l, const char *name, int *ret_fd,
		       struct err *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	cleanup_free char *path = local_socket_path(l, name);
	cleanup_close int fd = -1;

	if (strlen(path) >= sizeof addr.sun_path)
		return err_set(err, E_INTERNAL, "socket name too long: %s",
			       name);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	unlink(path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof addr) < 0 ||
	    listen(fd, SOCKET_BACKLOG) < 0)
		return err_sys(err, errno, "making the socket of %s", name);
	*ret_fd = fd;
	fd = -1;
	return 0;
}

/* A datagram socket for sd_notify, in a place that the process can reach. */
static int make_notify(struct process *p, struct err *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd, n, one = 1;

	/* Abstract: no directory permissions, gone with its holder. */
	n = snprintf(addr.sun_path + 1, sizeof addr.sun_path - 1,
		     "soma-notify-%d-%s", (int)getpid(), p->name);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(err, errno, "making a notify socket");
	if (bind(fd, (struct sockaddr *)&addr,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			     (size_t)n)) < 0) {
		int sys = errno;

		close(fd);
		return err_sys(err, sys, "making a notify socket");
	}
	setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof one);
	p->notify_fd = fd;
	uv_poll_init(p->local->loop, &p->notify, fd);
	p->notify.data = p;
	p->handles++;
	p->notify_open = true;
	uv_poll_start(&p->notify, UV_READABLE, on_notify_readable);
	return 0;
}

static void add_str(yyjson_mut_doc *doc, yyjson_mut_val *arr, const char *s)
{
	yyjson_mut_arr_add_strcpy(doc, arr, s);
}

static void add_opt(yyjson_mut_doc *doc, yyjson_mut_val *arr, const char *opt,
		    const char *value)
{
	add_str(doc, arr, opt);
	add_str(doc, arr, value);
}

static void add_opt_num(yyjson_mut_doc *doc, yyjson_mut_val *arr,
			const char *opt, int64_t value)
{
	char text[24];

	snprintf(text, sizeof text, "%lld", (long long)value);
	add_opt(doc, arr, opt, text);
}

/* The launcher's command line: docs in box/options.c. */
static yyjson_mut_val *box_argv(yyjson_mut_doc *doc, const struct local *l,
				const struct process_spec *s)
{
	yyjson_mut_val *argv = yyjson_mut_arr(doc);
	char keep[8];

	add_str(doc, argv, l->self);
	add_str(doc, argv, "box");
	add_opt(doc, argv, "--name", s->name);
	add_opt_num(doc, argv, "--status-fd", BOX_FD_STATUS);
	add_opt_num(doc, argv, "--env-fd", BOX_FD_ENV);
	add_opt_num(doc, argv, "--parent-pid", l->keeper);
	if (s->dir)
		add_opt(doc, argv, "--dir", s->dir);
	if (s->home)
		add_opt(doc, argv, "--home", s->home);
	if (s->uid) {
		add_opt_num(doc, argv, "--uid", (int64_t)s->uid);
		add_opt_num(doc, argv, "--gid", (int64_t)s->uid);
	}
	if (s->uid && l->blocked) {
		add_opt(doc, argv, "--mask", l->blocked);
		add_opt(doc, argv, "--bind", l->data_dir);
	}
	add_opt(doc, argv, "--instance", l->instance);
	if (l->groups.mode != CGROUP_NONE) {
		cleanup_free char *group =
			mem_printf("%s/%s", l->instance, s->name);

		add_opt(doc, argv, "--cgroup", group);
	}
	if (s->cpu_millis)
		add_opt_num(doc, argv, "--cpu-millis", s->cpu_millis);
	if (s->mem_limit)
		add_opt_num(doc, argv, "--mem-limit", s->mem_limit);
	/* Before the daemon, when the machine runs out of memory. */
	add_opt_num(doc, argv, "--oom-score-adj", 500);
	if (s->listen || s->control) {
		snprintf(keep, sizeof keep, "%s%s%s", s->listen ? "3" : "",
			 s->listen && s->control ? "," : "",
			 s->control ? "4" : "");
		add_opt(doc, argv, "--keep-fds", keep);
	}
	for (const char **n = s->need; n && *n; n++)
		add_opt(doc, argv, "--need", *n);
	add_str(doc, argv, "--");
	for (char **a = s->argv; *a; a++)
		add_str(doc, argv, *a);
	return argv;
}

/* SPAWN's JSON in a sealed-size memory file: it may be larger than a message.
 */
static int order_file(const struct process *p, const struct process_spec *s)
{
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc), *env = yyjson_mut_arr(doc);
	cleanup_free char *text = NULL;
	size_t len;
	int fd;

	yyjson_mut_doc_set_root(doc, root);
	for (char **e = s->env; e && *e; e++)
		add_str(doc, env, *e);
	if (s->listen)
		add_str(doc, env, "SOMA_LISTEN_FD=3");
	if (s->control)
		add_str(doc, env, "SOMA_CONTROL_FD=4");
	if (p->notify_open) {
		cleanup_free char *var =
			mem_printf("NOTIFY_SOCKET=@soma-notify-%d-%s",
				   (int)getpid(), s->name);

		add_str(doc, env, var);
	}
	yyjson_mut_obj_add_strcpy(doc, root, "name", s->name);
	yyjson_mut_obj_add_strcpy(doc, root, "meta", s->meta);
	yyjson_mut_obj_add_val(doc, root, "argv", box_argv(doc, p->local, s));
	yyjson_mut_obj_add_val(doc, root, "env", env);
	text = json_write(doc, &len);
	fd = memfd_create("soma-spawn", MFD_CLOEXEC);
	if (fd >= 0 && write(fd, text, len) != (ssize_t)len) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static void close_all(int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

/* The descriptors of a SPAWN message, in proto.h's order. */
enum { ORDER, LOG_W, LOG_R, STATUS_W, LISTEN, CONTROL_CHILD, CONTROL_OURS };

static int make_fds(struct process *p, const struct process_spec *s, int fds[7],
		    struct err *err)
{
	int pair[2], rc;

	/* Whatever fails below: process_close removes it. */
	if (s->listen)
		p->socket = local_socket_path(p->local, s->name);
	if (pipe2(pair, O_CLOEXEC) < 0)
		return err_sys(err, errno, "making a pipe");
	fds[LOG_R] = pair[0];
	fds[LOG_W] = pair[1];
	if (pipe2(pair, O_CLOEXEC) < 0)
		return err_sys(err, errno, "making a pipe");
	p->status_fd = pair[0];
	fds[STATUS_W] = pair[1];
	fcntl(p->status_fd, F_SETFL, O_NONBLOCK);
	if (s->listen && make_socket(p->local, s->name, &fds[LISTEN], err))
		return err->code;
	if (s->control) {
		rc = chan_pair(pair);
		if (rc)
			return err_sys(err, -rc, "making a channel");
		fds[CONTROL_OURS] = pair[0];
		fds[CONTROL_CHILD] = pair[1];
	}
	if (s->notify && make_notify(p, err))
		return err->code;
	fds[ORDER] = order_file(p, s);
	if (fds[ORDER] < 0)
		return err_sys(err, errno, "making a memory file");
	rc = hear_log(p, fcntl(fds[LOG_R], F_DUPFD_CLOEXEC, 0));
	if (!rc && s->control)
		rc = hear_control(p,
				  fcntl(fds[CONTROL_OURS], F_DUPFD_CLOEXEC, 0));
	if (rc)
		return err_sys(err, -rc, "listening to %s", s->name);
	return 0;
}

int process_start(struct process **ret, struct local *l,
		  const struct process_spec *s, const struct process_ops *ops,
		  void *data, struct err *err)
{
	struct process *p = process_new(l, l->next_id++, s->name, s->meta);
	int fds[7] = {-1, -1, -1, -1, -1, -1, -1}, order[7];
	struct keep_head head = {.type = KEEP_SPAWN, .id = p->id};
	size_t n = 0;

	p->ops = ops;
	p->data = data;
	p->uid = s->uid ? s->uid : geteuid();
	if (make_fds(p, s, fds, err)) {
		close_all(fds, 7);
		p->state = PROCESS_EXITED;
		process_close(p);
		return err->code;
	}
	if (s->control && s->config)
		process_send(p, FRAME_CONFIG, 0, s->config);
	for (size_t i = 0; i < 7; i++)
		if (fds[i] >= 0)
			order[n++] = fds[i];
	head.flags = (uint16_t)((s->listen ? KEEP_HAS_LISTEN : 0) |
				(s->control ? KEEP_HAS_CONTROL : 0));
	chan_send(&l->chan, &head, sizeof head, NULL, 0, order, n);
	close_all(fds, 7);
	*ret = p;
	return 0;
}

void process_signal(struct process *p, int signum)
{
	if (p->state != PROCESS_EXITED)
		tell(p->local, KEEP_SIGNAL, p->id, signum);
}

void process_send(struct process *p, enum frame_type type, uint32_t arg,
		  const char *payload)
{
	struct frame f = {
		.type = (uint8_t)type, .version = FRAME_VERSION, .arg = arg};

	if (p->control_open)
		chan_send(&p->control, &f, sizeof f, payload,
			  payload ? strlen(payload) : 0, NULL, 0);
}

/* ---- its output ---- */

static void on_log_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
	static _Thread_local char room[64 * 1024];

	(void)handle;
	(void)size;
	*buf = uv_buf_init(room, sizeof room);
}

/* "\x1e" id "\x1f" text: written while that request was handled. */
static void say_line(struct process *p, struct str line)
{
	struct str id = {NULL, 0};
	const char *end;

	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	if (line.n && line.p[0] == 0x1e) {
		end = memchr(line.p, 0x1f, line.n);
		if (end) {
			id = (struct str){line.p + 1,
					  (size_t)(end - line.p) - 1};
			line.n -= (size_t)(end - line.p) + 1;
			line.p = end + 1;
		}
	}
	if (p->ops && p->ops->on_line)
		p->ops->on_line(p, line, id);
}

static void say_rest(struct process *p)
{
	if (p->line.len)
		say_line(p, (struct str){p->line.data, p->line.len});
	buf_reset(&p->line);
}

/* Splits into lines; one that is too long is broken. Ends after LINES_A_TURN,
 * so that one process cannot hold the loop, and when it is paused. Returns how
 * much was told. */
static size_t say_bytes(struct process *p, const char *data, size_t len)
{
	size_t at = 0;

	for (unsigned lines = 0; at < len && lines < LINES_A_TURN; lines++) {
		const char *from = data + at;
		const char *nl = memchr(from, '\n', len - at);
		size_t n = nl ? (size_t)(nl - from) : len - at;
		size_t room = LINE_MAX_BYTES - p->line.len;

		if (p->log_paused && p->state != PROCESS_EXITED)
			break;
		if (nl && n <= room && !p->line.len) {
			say_line(p, (struct str){from, n});
			at += n + 1;
			continue;
		}
		at += MIN(n, room);
		buf_add(&p->line, from, MIN(n, room));
		if (n <= room && nl)
			at++;
		if ((n <= room && nl) || p->line.len == LINE_MAX_BYTES)
			say_rest(p);
	}
	return at;
}

static void process_maybe_gone(struct process *p);
static void on_later(uv_timer_t *timer);

static void close_log(struct process *p)
{
	if (p->later_open) {
		p->later_open = false;
		uv_close((uv_handle_t *)&p->later, on_process_handle_closed);
	}
	if (!p->log_open)
		return;
	p->log_open = false;
	uv_close((uv_handle_t *)&p->log, on_process_handle_closed);
}

/* Tells some of what has been read, and decides how it goes on: on another
 * turn, when it is resumed, with more from the pipe, or not at all. */
static void log_step(struct process *p)
{
	bool dead = p->state == PROCESS_EXITED;

	if (p->rest.len)
		p->rest_at += say_bytes(p, p->rest.data + p->rest_at,
					p->rest.len - p->rest_at);
	if (!p->log_open)
		return;
	if (p->rest_at == p->rest.len) {
		buf_reset(&p->rest);
		p->rest_at = 0;
	}
	if (p->rest.len && (dead || !p->log_paused)) {
		uv_read_stop((uv_stream_t *)&p->log);
		uv_timer_start(&p->later, on_later, 0, 0);
	} else if (dead) {
		say_rest(p);
		close_log(p);
		process_maybe_gone(p);
	} else if (p->log_paused) {
		uv_read_stop((uv_stream_t *)&p->log);
	} else {
		uv_read_start((uv_stream_t *)&p->log, on_log_alloc,
			      on_log_read);
	}
}

static void on_later(uv_timer_t *timer)
{
	log_step(timer->data);
}

static void on_log_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct process *p = stream->data;

	if (n > 0) {
		buf_add(&p->rest, buf->base, (size_t)n);
		log_step(p);
		return;
	}
	if (n == 0)
		return;
	say_rest(p);
	close_log(p);
	process_maybe_gone(p);
}

void process_pause_log(struct process *p, bool paused)
{
	if (p->log_paused == paused || !p->log_open)
		return;
	p->log_paused = paused;
	/* Not at once: the owner may be in the middle of a line. */
	uv_timer_start(&p->later, on_later, 0, 0);
}

/* A dead process' pipe may be held open by a stray of its; what it had
 * written is there now, more is not waited for. */
static void drain_log(struct process *p)
{
	char piece[16 * 1024];
	uv_os_fd_t fd;
	ssize_t n;

	uv_read_stop((uv_stream_t *)&p->log);
	for (int i = 0; i < 64; i++) {
		if (uv_fileno((uv_handle_t *)&p->log, &fd))
			break;
		n = read(fd, piece, sizeof piece);
		if (n <= 0 || buf_add(&p->rest, piece, (size_t)n))
			break;
	}
	log_step(p);
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

static void on_notify_readable(uv_poll_t *poll, int status, int events)
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
	uv_close((uv_handle_t *)&p->notify, on_process_handle_closed);
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

static bool was_oom(const struct process *p)
{
	struct cgroup_usage usage;

	return cgroup_usage(&p->local->groups, p->name, &usage) &&
	       usage.oom_kills > 0;
}

static char *cause_of(struct process *p, int status)
{
	char *launch = launch_failure(p);

	if (launch)
		return launch;
	p->launched = true;
	if (WIFSIGNALED(status)) {
		if (WTERMSIG(status) == SIGKILL && was_oom(p))
			return mem_strdup("out of memory");
		return mem_printf("signal %d (%s)", WTERMSIG(status),
				  signal_word(WTERMSIG(status)));
	}
	return mem_printf("exit code %d", WEXITSTATUS(status));
}

static void process_dead(struct process *p, char *cause)
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
	end_group(p->local, p->name);
	close_control(p);
	close_notify(p);
	if (p->log_open)
		drain_log(p);
	else
		process_maybe_gone(p);
}

/* Tells of the exit once: when it is dead and its output has been heard. */
static void process_maybe_gone(struct process *p)
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
	free(p);
}

static void on_process_handle_closed(uv_handle_t *handle)
{
	struct process *p = handle->data;

	p->handles--;
	process_free(p);
}

static void on_control_closed(struct chan *c)
{
	struct process *p = CONTAINER_OF(c, struct process, control);

	p->handles--;
	process_free(p);
}

void process_close(struct process *p)
{
	assert(p->state == PROCESS_EXITED && !p->closing);
	p->closing = true;
	p->ops = NULL;
	if (p->socket)
		unlink(p->socket);
	if (p->status_fd >= 0)
		close(p->status_fd);
	close_log(p);
	close_control(p);
	close_notify(p);
	tell(p->local, KEEP_FORGET, p->id, 0);
	process_free(p);
}

/* ---- what the keeper says ---- */

static struct process *by_id(struct local *l, uint64_t id)
{
	struct list *it, *tmp;

	LIST_EACH (&l->processes, it, tmp) {
		struct process *p = LIST_ENTRY(it, struct process, link);

		if (p->id == id)
			return p;
	}
	return NULL;
}

static void on_orphan_exit(struct process *p, const char *cause, bool launched)
{
	(void)cause;
	(void)launched;
	process_close(p);
}

/* Nobody wants it: it is killed, and forgotten when it is dead. */
static const struct process_ops orphan_ops = {.on_exit = on_orphan_exit};

static void adopt(struct local *l, const struct keep_head *head,
		  struct str meta, const int *fds, size_t n_fds)
{
	cleanup_free char *text = mem_strndup(meta.p, meta.n);
	cleanup_json yyjson_doc *doc = json_parse(meta.p, meta.n, NULL);
	yyjson_val *root = yyjson_doc_get_root(doc);
	struct process *p = process_new(
		l, head->id, json_str(root, "name", "unknown"), text);
	cleanup_free char *path = local_socket_path(l, p->name);

	p->pid = head->arg;
	p->state = PROCESS_RUNNING;
	p->launched = true;
	l->next_id = MAX(l->next_id, head->id + 1);
	if (access(path, F_OK) == 0)
		p->socket = mem_take(&path);
	if (n_fds > 0)
		hear_log(p, fds[0]);
	if (n_fds > 1)
		hear_control(p, fds[1]);
	/* Without its log it would block one day, and without its channel be
	 * taken for stuck. */
	if (!p->log_open || (n_fds > 1 && !p->control_open) ||
	    !l->on_adopt(l, p, text)) {
		p->ops = &orphan_ops;
		process_signal(p, SIGKILL);
	}
}

static void spawned(struct local *l, const struct keep_head *head)
{
	struct process *p = by_id(l, head->id);

	if (!p)
		return;
	if (head->arg > 0) {
		p->pid = head->arg;
		p->state = PROCESS_RUNNING;
		return;
	}
	process_dead(p, mem_printf("cannot start a process: %s",
				   strerror(-head->arg)));
}

static void on_keeper_message(struct chan *c, const void *data, size_t len,
			      const int *fds, size_t n_fds)
{
	struct local *l = CONTAINER_OF(c, struct local, chan);
	struct keep_head head;
	struct process *p;

	if (len < sizeof head)
		return;
	memcpy(&head, data, sizeof head);
	switch (head.type) {
	case KEEP_LISTENER:
		if (n_fds == 1)
			l->on_listener(l, head.arg, fds[0]);
		else
			log_error(NULL, "a listener did not arrive: out of "
					"file descriptors");
		break;
	case KEEP_CHILD:
		adopt(l, &head,
		      (struct str){(const char *)data + sizeof head,
				   len - sizeof head},
		      fds, n_fds);
		break;
	case KEEP_END:
		end_unknown_groups(l);
		remove_unknown_sockets(l);
		l->on_adopted_all(l);
		break;
	case KEEP_SPAWNED:
		spawned(l, &head);
		break;
	case KEEP_EXIT:
		p = by_id(l, head.id);
		if (p)
			process_dead(p, cause_of(p, head.arg));
		else
			tell(l, KEEP_FORGET, head.id, 0);
		break;
	case KEEP_STOP:
		l->on_stop(l);
		break;
	default:
		log_warn(LOG_F(F_I("type", head.type)),
			 "unknown message from the keeper, ignoring");
	}
}
