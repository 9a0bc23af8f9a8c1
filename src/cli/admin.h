/* admin.h: calls to a daemon's admin API (docs/internals/admin-api.md) over
 * libcurl, and where the daemon and its token are found. */
#ifndef CLI_ADMIN_H
#define CLI_ADMIN_H

#include <curl/curl.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/command.h"
#include "core/buf.h"
#include "core/json.h"

struct admin {
	char *url;   /* owned; "http://127.0.0.1:8002", no slash behind */
	char *token; /* owned; NULL: none found */
	char *token_trouble;	      /* owned; why none was found, or NULL */
	CURL *curl;		      /* owned; its connection is kept */
	char detail[CURL_ERROR_SIZE]; /* curl's words on the last failure */
};

/* From --admin, SOMA_ADMIN or the default. CLI_OK, or the exit code with the
 * reason printed. */
int admin_open(struct admin *ad, const struct args *a);
void admin_close(struct admin *ad);

/* An answer. json is NULL when the body is none. */
struct answer {
	long status;
	struct buf body;
	yyjson_doc *json; /* owned */
};
void answer_fini(struct answer *an);
yyjson_val *answer_root(const struct answer *an);

/* What a request sends: text, or a file's bytes. */
struct body {
	const void *data;
	size_t len;
	FILE *file;	  /* len bytes of it, when not NULL */
	const char *type; /* NULL: application/json */
	/* Called now and then while sending; may be NULL. */
	void (*on_sent)(void *data, uint64_t sent);
	void *sent_data;
};

/* One call, nothing printed; CURLE_OK whatever the status. `an` is for
 * answer_fini in any case. */
CURLcode admin_try(struct admin *ad, const char *method, const char *path,
		   const struct body *body, struct answer *an);
/* One call. CLI_OK whatever the status; CLI_UNREACHABLE, printed, when no
 * answer came. `an` is then empty; else give it to answer_fini. */
int admin_request(struct admin *ad, const char *method, const char *path,
		  const struct body *body, struct answer *an);
/* As above, and anything but 2xx is printed and becomes an exit code. */
int admin_call(struct admin *ad, const char *method, const char *path,
	       const struct body *body, struct answer *an);
/* Prints an error answer: its message and what to do. Returns the exit code. */
int admin_refused(const struct admin *ad, const struct answer *an);
/* Prints why no answer came over `curl`. Returns CLI_UNREACHABLE. */
int admin_unreachable(const struct admin *ad, CURL *curl, CURLcode why,
		      const char *detail);

/* Options that every request of ours has: token, timeouts, no proxy for the
 * own machine. headers is freed by the caller after the request. */
void admin_prepare(const struct admin *ad, CURL *curl, const char *path,
		   struct curl_slist **ret_headers);
/* True when url's host is this machine. */
bool admin_is_local(const char *url);

/* A call whose answer is shown by `show`, or all of it as JSON or YAML. body:
 * NULL is none. */
int admin_show(const struct args *a, const char *method, const char *path,
	       const struct body *body, void (*show)(yyjson_val *root));
/* Shows {"message": ...}. */
void admin_message(yyjson_val *root);
/* Such a call without a body. */
int admin_say(const struct args *a, const char *method, const char *collection,
	      const char *name, const char *tail);

/* "/v1/apis/NAME" + tail, name escaped. mem_printf'ed. */
char *admin_path(const char *collection, const char *name, const char *tail);

/* The whole of a file, or of standard input; free() it. */
int cli_read(FILE *from, const char *name, size_t max, char **ret,
	     size_t *ret_len, struct err *err);

#endif
