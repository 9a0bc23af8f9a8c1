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

int out__write(struct out *o, uv_buf_t *iov, unsigned n)
{
	size_t bytes = 0, taken = 0;
	int rc;

	for (unsigned i = 0; i < n; i++)
		bytes += iov[i].len;
	if (bytes == 0)
		return 0;
	if (uv_is_closing((uv_handle_t *)o->stream))
		return UV_ECANCELED;
	if (o->pending == 0) {
		rc = uv_try_write(o->stream, iov, n);
		if (rc < 0 && rc != UV_EAGAIN)
			return rc;
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
