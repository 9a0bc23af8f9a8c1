/* blobs.c: uploads of a project's files, streamed to the disk. */
#include <string.h>

#include "api/admin.h"
#include "core/mem.h"
#include "store/blob.h"

/*
 * One upload. Pieces are handed to the disk one at a time; the client waits
 * meanwhile. Frees itself when both the request and the disk are done with it.
 */
struct upload {
	struct http_req *req;	  /* NULL: over */
	struct blob_write *write; /* NULL: committed or aborted */
	bool appending, ended;
};

static void commit(struct upload *u);

static void on_over(struct http_req *req)
{
	struct upload *u = req->user;

	if (!u)
		return;
	u->req = NULL;
	if (u->write) {
		blob_write_abort(u->write);
		free(u);
	}
}

static void answered(struct upload *u)
{
	if (u->req)
		u->req->user = NULL;
	free(u);
}

static void on_committed(void *data, const struct err *err)
{
	struct upload *u = data;

	if (u->req && err)
		admin_error(u->req, err);
	else if (u->req)
		http_reply(u->req, 201, NULL, NULL, 0);
	answered(u);
}

static void commit(struct upload *u)
{
	struct blob_write *w = mem_take(&u->write);

	blob_write_commit(w, on_committed, u);
}

static void on_appended(void *data, const struct err *err)
{
	struct upload *u = data;

	u->appending = false;
	if (err) {
		struct http_req *req = u->req;

		blob_write_abort(mem_take(&u->write));
		answered(u);
		if (req)
			admin_error(req, err);
		return;
	}
	if (u->ended)
		commit(u);
	else
		http_req_resume(u->req);
}

static void on_chunk(struct http_req *req, const char *data, size_t len)
{
	struct upload *u = req->user;

	if (!u || !len)
		return;
	http_req_pause(req);
	u->appending = true;
	blob_write_append(u->write, data, len, on_appended, u);
}

static void on_end(struct http_req *req)
{
	struct upload *u = req->user;

	if (!u)
		return;
	u->ended = true;
	if (!u->appending)
		commit(u);
}

void admin_put_blob(struct http_req *req, const char *arg)
{
	struct blobs *blobs = &admin_of(req)->serve->blobs;
	struct err err = {0};
	struct upload *u;

	if (!blob_hash_ok(arg)) {
		http_reply_error(req, E_INVALID,
				 "a blob's name is its SHA-256: 64 lower-case "
				 "hexadecimal digits");
		return;
	}
	if (blob_has(blobs, arg)) {
		http_reply(req, 200, NULL, NULL, 0);
		return;
	}
	u = mem_alloc(sizeof *u);
	if (blob_write_begin(&u->write, blobs, arg, &err)) {
		free(u);
		admin_error(req, &err);
		return;
	}
	u->req = req;
	req->user = u;
	req->on_over = on_over;
	http_req_stream(req, on_chunk, on_end);
}
