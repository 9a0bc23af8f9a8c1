#include "serve/cors.h"

#include <stdio.h>
#include <string.h>

#include "core/mem.h"
#include "serve/api.h"

#define PREFIX "Access-Control-"

static bool any(const struct spec_texts *t)
{
	return t->n == 1 && strcmp(t->items[0], "*") == 0;
}

/* Origins are compared as they are: browsers send them in lower case. */
static bool allows(const struct spec *spec, struct str origin)
{
	const struct spec_texts *t = &spec->cors.allow_origins;

	for (uint32_t i = 0; i < t->n; i++)
		if (strcmp(t->items[i], "*") == 0 ||
		    str_eq(str_of(t->items[i]), origin))
			return true;
	return false;
}

static const char *text_of(struct http_req *req, struct str s)
{
	return arena_strndup(req->arena, s.p, s.n);
}

/* "a, b", or NULL for none. */
static const char *joined(struct http_req *req, const struct spec_texts *t)
{
	const char *all = t->n ? t->items[0] : NULL;

	for (uint32_t i = 1; i < t->n; i++)
		all = arena_printf(req->arena, "%s, %s", all, t->items[i]);
	return all;
}

/* What every answer to a page carries. */
static void mark(const struct spec *spec, struct http_req *req,
		 struct str origin)
{
	bool all = any(&spec->cors.allow_origins);

	http_reply_drop(req, STR(PREFIX));
	if (!all)
		http_reply_header(req, "Vary", "Origin");
	if (!all && !(origin.n && allows(spec, origin)))
		return;
	http_reply_header(req, PREFIX "Allow-Origin",
			  all ? "*" : text_of(req, origin));
	if (spec->cors.allow_credentials)
		http_reply_header(req, PREFIX "Allow-Credentials", "true");
}

/* "*" is no wildcard for requests with credentials, and never stands for
 * Authorization: what was asked for is named instead. */
static const char *allowed(const struct spec *spec, struct http_req *req,
			   const struct spec_texts *t, const char *asked_in)
{
	struct str asked = http_req_header(req, asked_in);

	if (!any(t))
		return joined(req, t);
	if (asked.n)
		return text_of(req, asked);
	return spec->cors.allow_credentials ? NULL : "*";
}

static void answer_question(const struct api *a, const struct spec *spec,
			    struct http_req *req, struct str origin)
{
	char max_age[24];
	const char *methods, *headers;

	if (origin.n && !allows(spec, origin)) {
		http_reply_error_full(req, E_FORBIDDEN, 0, a->name, NULL,
				      "pages of '%.*s' may not call '%s': it "
				      "is not in networking.cors.allow_origins",
				      (int)MIN(origin.n, 200u), origin.p,
				      a->name);
		return;
	}
	methods = allowed(spec, req, &spec->cors.allow_methods,
			  PREFIX "Request-Method");
	headers = allowed(spec, req, &spec->cors.allow_headers,
			  PREFIX "Request-Headers");
	snprintf(max_age, sizeof max_age, "%u", spec->cors.max_age_ms / 1000);
	if (methods)
		http_reply_header(req, PREFIX "Allow-Methods", methods);
	if (headers)
		http_reply_header(req, PREFIX "Allow-Headers", headers);
	http_reply_header(req, PREFIX "Max-Age", max_age);
	http_reply(req, 204, NULL, NULL, 0);
}

/* A program has its own answer to an OPTIONS that is no browser's question; our
 * replicas do not, and Cortex answered it like one. */
static bool is_question(const struct spec *spec, const struct http_req *req,
			struct str origin)
{
	if (!str_eq(req->method_name, STR("OPTIONS")))
		return false;
	if (spec->predictor.type != PREDICTOR_COMMAND)
		return true;
	return origin.n && http_req_header(req, PREFIX "Request-Method").n > 0;
}

bool cors_asks(const struct api *a, const struct http_req *req)
{
	const struct revision *rev = gate_serving(a);

	return rev && rev->spec->cors.allow_origins.n &&
	       is_question(rev->spec, req, http_req_header(req, "Origin"));
}

bool cors_apply(const struct api *a, struct http_req *req)
{
	const struct revision *rev = gate_serving(a);
	const struct spec *spec = rev ? rev->spec : NULL;
	const char *exposed;
	struct str origin;

	if (!spec || !spec->cors.allow_origins.n)
		return false;
	origin = http_req_header(req, "Origin");
	/* What a cache may keep must say the same to all that ask. */
	if (!origin.n && str_eq(req->method_name, STR("POST")))
		return false;
	mark(spec, req, origin);
	if (is_question(spec, req, origin)) {
		answer_question(a, spec, req, origin);
		return true;
	}
	exposed = joined(req, &spec->cors.expose_headers);
	if (origin.n && exposed && allows(spec, origin))
		http_reply_header(req, PREFIX "Expose-Headers", exposed);
	return false;
}
