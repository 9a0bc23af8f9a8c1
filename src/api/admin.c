#include "api/admin.h"

#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "core/mem.h"

struct resource {
	const char *method, *path; /* one '*' stands for one segment */
	admin_handler *handler;
};

static const struct resource resources[] = {
	{"GET", "/metrics", admin_metrics},
	{"GET", "/v1/info", admin_info},
	{"POST", "/v1/upgrade", admin_upgrade},
	{"POST", "/v1/plan", admin_plan},
	{"POST", "/v1/deploy", admin_deploy},
	{"POST", "/v1/patch", admin_patch},
	{"PUT", "/v1/blobs/*", admin_put_blob},
	{"GET", "/v1/apis", admin_list_apis},
	{"GET", "/v1/apis/*", admin_get_api},
	{"DELETE", "/v1/apis/*", admin_delete_api},
	{"POST", "/v1/apis/*/refresh", admin_refresh_api},
	{"POST", "/v1/apis/*/rollback", admin_roll_back_api},
	{"GET", "/v1/apis/*/revisions", admin_history},
	{"POST", "/v1/apis/*/scale", admin_scale_api},
	{"POST", "/v1/apis/*/promote", admin_promote_api},
	{"GET", "/v1/apis/*/explain", admin_explain_api},
	{"GET", "/v1/apis/*/events", admin_events},
	{"GET", "/v1/apis/*/logs", admin_logs},
	{"GET", "/v1/models", admin_models},
	{"POST", "/v1/models", admin_models_pull},
	{"DELETE", "/v1/models", admin_models_remove},
	{"GET", "/v1/models/df", admin_models_df},
	{"POST", "/v1/models/verify", admin_models_verify},
	{"POST", "/v1/models/gc", admin_models_gc},
	{"GET", "/v1/secrets", admin_list_secrets},
	{"PUT", "/v1/secrets/*", admin_put_secret},
	{"DELETE", "/v1/secrets/*", admin_delete_secret},
};

struct admin *admin_of(const struct http_req *req)
{
	return req->server->opts.data;
}

void admin_error(struct http_req *req, const struct err *err)
{
	http_reply_error(req, err->code, "%s", err->msg);
}

struct api *admin_api(struct http_req *req, const char *name)
{
	struct serve *s = admin_of(req)->serve;
	struct api *a = map_get(&s->apis, name);
	const char *near;

	if (a)
		return a;
	near = serve_near(s, name);
	http_reply_error(req, E_NOTFOUND, "there is no api '%s'%s%s%s", name,
			 near ? "; did you mean '" : "", near ? near : "",
			 near ? "'?" : "");
	return NULL;
}

/* Whether path fits the pattern; the segment of '*' goes to ret. */
static bool fits(const char *pattern, struct str path, struct str *ret)
{
	const char *p = path.p, *end = path.p + path.n;

	for (; *pattern; pattern++) {
		if (*pattern != '*') {
			if (p == end || *p++ != *pattern)
				return false;
			continue;
		}
		ret->p = p;
		while (p < end && *p != '/')
			p++;
		ret->n = (size_t)(p - ret->p);
		if (!ret->n)
			return false;
	}
	return p == end;
}

/* The host of a Host header, without its port. */
static struct str host_of(struct str host)
{
	if (host.n && host.p[0] == '[') {
		const char *end = memchr(host.p, ']', host.n);

		return end ? (struct str){host.p + 1,
					  (size_t)(end - host.p) - 1}
			   : host;
	}
	for (size_t i = host.n; i > 0; i--)
		if (host.p[i - 1] == ':')
			return (struct str){host.p, i - 1};
	return host;
}

/* An IPv4 address of 127.0.0.0/8, not a name that begins like one. */
static bool is_loopback(struct str host)
{
	struct in_addr addr;
	char text[INET_ADDRSTRLEN];

	if (host.n >= sizeof text)
		return false;
	memcpy(text, host.p, host.n);
	text[host.n] = 0;
	return inet_pton(AF_INET, text, &addr) == 1 &&
	       ntohl(addr.s_addr) >> 24 == 127;
}

/* A page in somebody's browser can send requests here; it cannot leave out
 * Origin on what matters, nor name us as Host through a name of its own. */
static bool host_allowed(const struct admin *admin, struct str host)
{
	struct str h = host_of(host), own = host_of(str_of(admin->listen));

	return str_ieq(h, STR("localhost")) || str_eq(h, STR("::1")) ||
	       is_loopback(h) || str_eq(h, own);
}

static bool token_right(const struct admin *admin, struct str given)
{
	struct str head = STR("Bearer ");
	size_t n = strlen(admin->token);

	if (given.n != head.n + n ||
	    !str_ieq((struct str){given.p, head.n}, head))
		return false;
	return CRYPTO_memcmp(given.p + head.n, admin->token, n) == 0;
}

static bool refuse(struct http_req *req, const struct admin *admin)
{
	if (http_req_header(req, "Origin").n) {
		http_reply_error(req, E_FORBIDDEN,
				 "requests from web pages (with an Origin) are "
				 "not taken on the admin address");
		return true;
	}
	if (!host_allowed(admin, http_req_header(req, "Host"))) {
		http_reply_error(req, E_FORBIDDEN,
				 "this Host is not taken on the admin address; "
				 "use %s",
				 admin->url);
		return true;
	}
	return false;
}

static void dispatch(struct http_req *req)
{
	char allow[64] = "";

	for (size_t i = 0; i < ARRAY_LEN(resources); i++) {
		const struct resource *r = &resources[i];
		struct str arg = {NULL, 0};
		size_t n = strlen(allow);

		if (!fits(r->path, req->path, &arg))
			continue;
		if (str_eq(req->method_name, str_of(r->method))) {
			r->handler(req, arg.p ? arena_strndup(req->arena, arg.p,
							      arg.n)
					      : "");
			return;
		}
		snprintf(allow + n, sizeof allow - n, "%s%s", n ? ", " : "",
			 r->method);
	}
	if (*allow) {
		http_reply_header(req, "Allow", allow);
		http_reply_error(req, E_METHOD, "this resource takes %s",
				 allow);
		return;
	}
	http_reply_error(req, E_NOTFOUND,
			 "the admin API has no resource '%.*s'",
			 (int)MIN(req->path.n, 200u), req->path.p);
}

void admin_on_request(struct http_req *req, void *data)
{
	struct admin *admin = data;

	if (refuse(req, admin))
		return;
	/* It was on its way while another took over. */
	if (admin->serve->yielded) {
		http_reply_header(req, "Retry-After", "1");
		http_reply_error(req, E_UNAVAILABLE,
				 "Soma has just been upgraded, and another "
				 "daemon serves now: ask again");
		return;
	}
	if (str_eq(req->path, STR("/healthz"))) {
		http_reply(req, 200, "text/plain", "ok\n", 3);
		return;
	}
	if (str_eq(req->path, STR("/readyz"))) {
		if (admin->serve->loaded && !admin->serve->stopping)
			http_reply(req, 200, "text/plain", "ok\n", 3);
		else
			http_reply(req, 503, "text/plain", "not ready\n", 10);
		return;
	}
	if (!token_right(admin, http_req_header(req, "Authorization"))) {
		http_reply_header(req, "WWW-Authenticate", "Bearer");
		http_reply_error(req, E_UNAUTHORIZED,
				 "a token is needed: 'Authorization: Bearer "
				 "TOKEN' with the line of %s/admin.token",
				 admin->serve->data_dir);
		return;
	}
	dispatch(req);
}
