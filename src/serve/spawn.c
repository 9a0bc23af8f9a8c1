/* spawn.c: what a process is given, and the order to the keeper that starts it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "box/box.h"
#include "core/json.h"
#include "core/mem.h"
#include "keep/proto.h"
#include "serve/process_parts.h"

enum { SOCKET_BACKLOG = 1024 };

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
	uv_poll_start(&p->notify, UV_READABLE, process__on_notify_readable);
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
	if (s->weight)
		add_opt_num(doc, argv, "--cpu-weight", s->weight);
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
	if (!p->unborn) {
		if (pipe2(pair, O_CLOEXEC) < 0)
			return err_sys(err, errno, "making a pipe");
		p->status_fd = pair[0];
		fds[STATUS_W] = pair[1];
		fcntl(p->status_fd, F_SETFL, O_NONBLOCK);
	}
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
	if (!p->unborn) {
		fds[ORDER] = order_file(p, s);
		if (fds[ORDER] < 0)
			return err_sys(err, errno, "making a memory file");
	}
	rc = process__hear_log(p, fcntl(fds[LOG_R], F_DUPFD_CLOEXEC, 0));
	if (!rc && s->control)
		rc = process__hear_control(
			p, fcntl(fds[CONTROL_OURS], F_DUPFD_CLOEXEC, 0));
	if (rc)
		return err_sys(err, -rc, "listening to %s", s->name);
	return 0;
}

/* A process that was not started after all. */
static int not_made(struct process *p, int fds[7], struct err *err)
{
	close_all(fds, 7);
	p->state = PROCESS_EXITED;
	process_close(p);
	return err->code;
}

static void take_limits(struct process *p, const struct process_spec *s)
{
	p->weight = s->weight ? s->weight : s->cpu_millis;
	p->limits = (struct cgroup_limits){.mem_bytes = s->mem_limit,
					   .cpu_millis = p->weight};
}

int process_start(struct process **ret, struct local *l,
		  const struct process_spec *s, const struct process_ops *ops,
		  void *data, struct err *err)
{
	int fds[7] = {-1, -1, -1, -1, -1, -1, -1}, order[7];
	struct keep_head head = {.type = KEEP_SPAWN};
	struct process *p;
	size_t n = 0;

	if (l->yielded)
		return err_set(err, E_CANCELED,
			       "another daemon has taken over");
	p = process__new(l, l->next_id++, s->name, s->meta);
	head.id = p->id;
	p->ops = ops;
	p->data = data;
	p->uid = s->uid ? s->uid : geteuid();
	take_limits(p, s);
	if (make_fds(p, s, fds, err))
		return not_made(p, fds, err);
	if (s->control && s->config)
		process_send(p, FRAME_CONFIG, 0, s->config);
	for (size_t i = 0; i < 7; i++)
		if (fds[i] >= 0)
			order[n++] = fds[i];
	head.flags = (uint16_t)((s->listen ? KEEP_HAS_LISTEN : 0) |
				(s->control ? KEEP_HAS_CONTROL : 0) |
				(s->forks ? KEEP_HAS_FORKS : 0));
	chan_send(&l->chan, &head, sizeof head, NULL, 0, order, n);
	close_all(fds, 7);
	*ret = p;
	return 0;
}

int process_fork(struct process **ret, struct process *zygote,
		 const struct process_spec *given,
		 const struct process_ops *ops, void *data, struct err *err)
{
	struct local *l = zygote->local;
	struct process_spec s = *given;
	int fds[7] = {-1, -1, -1, -1, -1, -1, -1};
	struct frame head = {.type = FRAME_FORK, .version = FRAME_VERSION};
	struct process *p;
	int wants[3];

	if (l->yielded)
		return err_set(err, E_CANCELED,
			       "another daemon has taken over");
	p = process__new(l, l->next_id++, s.name, s.meta);
	head.arg = (uint32_t)p->id;
	s.listen = s.control = true;
	s.notify = false;
	p->ops = ops;
	p->data = data;
	p->uid = s.uid ? s.uid : geteuid();
	p->zygote = mem_strdup(zygote->name);
	p->unborn = true;
	take_limits(p, &s);
	if (make_fds(p, &s, fds, err))
		return not_made(p, fds, err);
	p->soon = s.soon;
	if (s.mem_limit && l->groups.mode != CGROUP_NONE)
		p->config = mem_strdup(s.config);
	else
		process_send(p, FRAME_CONFIG, 0, s.config);
	wants[0] = fds[LISTEN];
	wants[1] = fds[CONTROL_CHILD];
	wants[2] = fds[LOG_W];
	chan_send(&zygote->control, &head, sizeof head, p->name,
		  strlen(p->name), wants, 3);
	if (!zygote->forks++)
		zygote->forks_since = uv_now(l->loop);
	close_all(fds, 7);
	*ret = p;
	return 0;
}
