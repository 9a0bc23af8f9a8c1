#include <sys/socket.h>

#include "http/internal.h"

/* Bytes the peer did not take at once. */
struct parcel {
	uv_write_t write;
	struct out *out;
	size_t n;
	char data[];
};

void out__init(struct out *o, uv_stream_t *stream,
	       void (*on_flushed)(struct out *o, int status))
{
	*o = (struct out){.stream = stream, .on_flushed = on_flushed};
	uv_fileno((uv_handle_t *)stream, &o->fd);
}

uv_buf_t out__chunk_size(char room[static CHUNK_SIZE_ROOM], size_t n)
{
	size_t at = CHUNK_SIZE_ROOM;

	room[--at] = '\n';
	room[--at] = '\r';
	do {
		room[--at] = "0123456789abcdef"[n & 15];
		n >>= 4;
	} while (n);
	return uv_buf_init(room + at, (unsigned)(CHUNK_SIZE_ROOM - at));
}

static void on_written(uv_write_t *write, int status)
{
	struct parcel *parcel = CONTAINER_OF(write, struct parcel, write);
	struct out *o = parcel->out;

	o->pending -= parcel->n;
	free(parcel);
	if (uv_is_closing((uv_handle_t *)o->stream))
		return;
	if (o->pending == 0 || status < 0)
		o->on_flushed(o, status);
}

static int queue(struct out *o, const uv_buf_t *iov, unsigned n, size_t bytes)
{
	struct parcel *parcel = mem_grow(NULL, sizeof *parcel + bytes);
	char *at = parcel->data;
	uv_buf_t whole;
	int rc;

	for (unsigned i = 0; i < n; i++) {
		memcpy(at, iov[i].base, iov[i].len);
		at += iov[i].len;
	}
	parcel->out = o;
	parcel->n = bytes;
	whole = (uv_buf_t){parcel->data, bytes};
	rc = uv_write(&parcel->write, o->stream, &whole, 1, on_written);
	if (rc < 0)
		free(parcel);
	else
		o->pending += bytes;
	return rc;
}

static ssize_t send_pieces(struct out *o, const uv_buf_t *iov, unsigned n)
{
	/* libuv promises that its buffers are laid out as these. */
	struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov,
			     .msg_iovlen = n};
	ssize_t sent;

	do
		sent = sendmsg(o->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : sent;
}

/* To the kernel, what it takes of these bytes at once. Small pieces, as those
 * of a chunk are, cost less copied together than told one by one; send() costs
 * less than write(). */
static ssize_t send_now(struct out *o, const uv_buf_t *iov, unsigned n,
			size_t bytes)
{
	char small[SMALL_BODY];
	const char *from = iov->base;
	char *at = small;
	ssize_t sent;

	if (n > 1 && bytes > sizeof small)
		return send_pieces(o, iov, n);
	if (n > 1) {
		for (unsigned i = 0; i < n; i++) {
			memcpy(at, iov[i].base, iov[i].len);
			at += iov[i].len;
		}
		from = small;
	}
	do
		sent = send(o->fd, from, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : sent;
}

int out__write(struct out *o, uv_buf_t *iov, unsigned n)
{
	size_t bytes = 0, taken = 0;
	ssize_t rc;

	for (unsigned i = 0; i < n; i++)
		bytes += iov[i].len;
	if (bytes == 0)
		return 0;
	if (uv_is_closing((uv_handle_t *)o->stream))
		return UV_ECANCELED;
	if (o->pending == 0) {
		rc = send_now(o, iov, n, bytes);
		if (rc < 0 && rc != UV_EAGAIN)
			return (int)rc;
		taken = rc > 0 ? (size_t)rc : 0;
	}
	if (taken == bytes)
		return 0;
	bytes -= taken;
	while (taken > 0 && taken >= iov->len) {
		taken -= iov->len;
		iov++;
		n--;
	}
	iov->base += taken;
	iov->len -= taken;
	return queue(o, iov, n, bytes);
}
