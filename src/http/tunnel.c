#include <sys/socket.h>

#include "http/internal.h"

/* After a 101: bytes both ways. A side that ends ends the other's reading
 * half once all was passed on; the tunnel is over when both have. A side reads
 * only while the other takes. */

void tunnel__begin(struct request *r)
{
	conn__to_tunnel(r->conn);
	conn__ripe(r->conn);
}

bool tunnel__wants(const struct request *r)
{
	const struct link *l = r->proxy.link;

	return l && l->out.pending == 0 && !r->proxy.shut_up;
}

size_t tunnel__from_client(struct request *r, const char *p, size_t n)
{
	uv_buf_t iov = uv_buf_init((char *)(uintptr_t)p, (unsigned)n);
	struct conn *c = r->conn;

	r->pub.bytes_in += n;
	c->stamp_ms = uv_now(c->lane->loop);
	if (out__write(&r->proxy.link->out, &iov, 1))
		c->cut = true;
	return n;
}

void tunnel__from_upstream(struct request *r, const char *p, size_t n)
{
	uv_buf_t iov = uv_buf_init((char *)(uintptr_t)p, (unsigned)n);
	struct conn *c = r->conn;

	r->pub.bytes_out += n;
	c->stamp_ms = uv_now(c->lane->loop);
	reply__write(r, &iov, 1);
	if (c->lost)
		conn__ripe(c);
	else if (c->out.pending)
		upstream__read(r->proxy.link, false);
}

static void shut(uv_handle_t *h)
{
	uv_os_fd_t fd;

	if (uv_fileno(h, &fd) == 0)
		shutdown(fd, SHUT_WR);
}

void tunnel__step(struct request *r)
{
	struct proxy *p = &r->proxy;
	struct conn *c = r->conn;

	if (p->state != PROXY_IS_TUNNEL || !p->link)
		return;
	if (c->eof && !p->shut_up && c->hold.len == 0 &&
	    p->link->out.pending == 0) {
		p->shut_up = true;
		shut(&p->link->h.handle);
	}
	if (p->link->eof && !p->shut_down && c->out.pending == 0) {
		p->shut_down = true;
		shut(&c->h.handle);
	}
	if (p->shut_up && p->shut_down)
		r->answered = true;
}
