/* models_parts.h: what the files of /v1/models share. */
#ifndef API_MODELS_PARTS_H
#define API_MODELS_PARTS_H

#include <stdatomic.h>
#include <uv.h>

#include "api/admin.h"
#include "core/json.h"

/* A ref of the shelf, with its manifest where one model is asked for. */
struct models_row {
	struct shelf_ref ref;
	yyjson_doc *manifest; /* owned, or NULL */
};

/* A request that waits for work on the pool. Its client may go first: the work
 * is done all the same, unless it looks at `gone`. */
struct models_job {
	uv_work_t work;
	struct admin *admin;
	struct http_req *req; /* NULL: gone */
	_Atomic bool gone;    /* the same, for run */
	bool *lock;	      /* what is false again when it is over; or NULL */
	char *url;	      /* owned, or NULL: all */
	void (*run)(struct models_job *j);    /* on the pool */
	void (*answer)(struct models_job *j); /* on the loop, when it is done */
	struct err err;		 /* what run met; code 0: nothing */
	struct models_row *rows; /* owned */
	size_t n;
	char **bad; /* owned, as is each: what of each row is wrong, or NULL */
	uint64_t free_bytes;

	/* Of a job that tells how far it is: */
	void (*tell)(struct models_job *j); /* on the loop; NULL: it does not */
	uv_timer_t timer;
	bool told;		      /* the reply has begun */
	uint64_t began;		      /* uv_now */
	_Atomic uint64_t done, total; /* bytes; run counts */
};

struct models_job *models__start(struct http_req *req, const char *url,
				 void (*run)(struct models_job *j),
				 void (*answer)(struct models_job *j));
/* `tell` is called four times a second until it is done. When it has begun the
 * reply (told), `answer` is called after a failure, too, and ends it. */
void models__tell(struct models_job *j, void (*tell)(struct models_job *j));
/* One line of a reply of lines. */
void models__say(struct http_req *req, yyjson_mut_doc *doc);
/* Reads the refs, or that of url, into rows; the body of run. */
void models__read(struct models_job *j);
/* The url of a body {"url": TEXT}, in the request's arena. NULL: it was
 * answered, or is not given and need not be (*ret_ok). */
const char *models__url(struct http_req *req, const char *body, size_t len,
			bool needed, bool *ret_ok);
/* Whether it is a URL that is fetched; else it was answered. */
bool models__check_url(struct http_req *req, const char *url);
/* Revisions that have it, "iris (revision 3)", with ", " between; mem_printf.
 */
char *models__users(const struct serve *s, const char *url);

#endif
