/* calls.c: a daemon that has yielded still runs calls (Idempotency-Key). The
 * one that serves asks here before it runs one itself: whose call it is takes
 * it over, as if it had come by the front door. */
#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/mem.h"
#include "daemon/daemon_parts.h"
#include "loop/log.h"

enum { BACKLOG = 64 };

static void on_call(struct http_req *req, void *data)
{
	const struct gateway *g = data;
	struct str name = http_req_header(req, GATE_CALL_API);

	gate_find_call(map_getn(&g->serve->apis, name.p, name.n), req);
}

static int bind_socket(const char *path, int *ret_fd, struct err *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	mode_t mask;
	int rc;

	if (fd < 0 || strlen(path) >= sizeof addr.sun_path)
		return err_sys(err, fd < 0 ? errno : ENAMETOOLONG, "'%s'",
			       path);
	strcpy(addr.sun_path, path);
	unlink(path);
	/* Replicas are others. */
	mask = umask(0177);
	rc = bind(fd, (struct sockaddr *)&addr, sizeof addr);
	umask(mask);
	if (rc < 0 || listen(fd, BACKLOG) < 0)
		return err_sys(err, errno, "'%s'", path);
	*ret_fd = fd;
	fd = -1;
	return 0;
}

void calls_open(struct daemon *d)
{
	/* It is logged by who asks. The data is that of the front door: a call
	 * may go from one to the other. */
	const struct http_server_opts opts = {.limits = &d->limits,
					      .on_request = on_call,
					      .data = &d->gateway};
	cleanup_free char *name =
		mem_printf(KEEP_CALLS_NAME "%d", (int)getpid());
	struct err err = {0};
	int fd = -1;

	d->calls_path = local_socket_path(&d->serve.local, name);
	if (bind_socket(d->calls_path, &fd, &err)) {
		log_warn(NULL, "calls cannot be asked for: %s, ignoring",
			 err.msg);
		return;
	}
	if (http_server_open(&d->calls, &d->lane, fd, &opts, &err)) {
		log_warn(NULL, "calls cannot be asked for: %s, ignoring",
			 err.msg);
		close(fd);
		return;
	}
	d->calls_open = true;
}

static void on_closed(struct http_server *s)
{
	struct daemon *d = CONTAINER_OF(s, struct daemon, calls);

	d->calls_open = false;
	yield_maybe_over(d);
}

static bool any(const struct http_req *req, void *data)
{
	(void)req;
	(void)data;
	return true;
}

void calls_end(struct daemon *d)
{
	/* While one runs it may be asked for once more. */
	if (!d->calls_open || d->calls.draining ||
	    http_server_find(&d->calls, any, NULL))
		return;
	unlink(d->calls_path);
	http_server_drain(&d->calls, on_closed);
}
