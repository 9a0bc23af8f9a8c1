#include "serve/wish.h"

#include <ctype.h>

enum { SHOWN_MAX = 40 }; /* of a value that makes no sense */

/* In a message, without what a terminal would act upon. */
static const char *shown(struct http_req *req, struct str value)
{
	char *text = arena_strndup(req->arena, value.p,
				   MIN(value.n, (size_t)SHOWN_MAX));

	for (char *p = text; *p; p++)
		if (!isprint((unsigned char)*p))
			*p = '?';
	return text;
}

/* Seconds, "1.5", or one of Go's durations, "250ms". */
static bool read_timeout(struct http_req *req, struct str value, int64_t *ret)
{
	const char *text = arena_strndup(req->arena, value.p, value.n);

	if (value.n && !isalpha((unsigned char)text[value.n - 1]))
		text = arena_printf(req->arena, "%ss", text);
	return str_duration_ms(text, ret);
}

static bool read_priority(struct str value, enum priority *ret)
{
	static const char *const words[] = {[PRIORITY_HIGH] = "high",
					    [PRIORITY_NORMAL] = "normal",
					    [PRIORITY_LOW] = "low"};

	for (unsigned i = 0; i < PRIORITIES; i++)
		if (str_ieq(value, str_of(words[i]))) {
			*ret = i;
			return true;
		}
	return false;
}

static bool read_timing(struct str value, enum wish_timing *ret)
{
	bool yes = str_eq(value, STR("1"));

	*ret = yes ? WISH_TIMED : WISH_UNTIMED;
	return yes || str_eq(value, STR("0"));
}

static bool read_on_cold(struct str value, enum wish_on_cold *ret)
{
	*ret = str_ieq(value, STR("hold"))    ? WISH_HOLD
	       : str_ieq(value, STR("retry")) ? WISH_RETRY
					      : WISH_AS_API;
	return *ret != WISH_AS_API;
}

enum { TIMEOUT, PRIORITY, TIMING, COLD, ON_COLD, KEY, AWS_KEY, WISHES };

/* The first value of each. Once over the headers, since each request is asked
 * and most wish for nothing. */
static void find(const struct http_req *req, struct str values[WISHES])
{
	static const struct str names[WISHES] = {
#define NAME(literal) {"" literal, sizeof literal - 1}
		[TIMEOUT] = NAME(WISH_TIMEOUT),
		[PRIORITY] = NAME(WISH_PRIORITY),
		[TIMING] = NAME(WISH_TIMING),
		[COLD] = NAME(WISH_COLD),
		[ON_COLD] = NAME(WISH_ON_COLD),
		[KEY] = NAME(WISH_KEY),
		[AWS_KEY] = NAME(WISH_AWS_KEY),
#undef NAME
	};

	memset(values, 0, WISHES * sizeof *values);
	for (uint32_t i = 0; i < req->n_headers; i++) {
		const struct http_header *h = &req->headers[i];
		const int first = h->name.p[0] | 0x20;

		if (first != 'x' && first != 'i' && first != 'a')
			continue;
		for (int k = 0; k < WISHES; k++)
			if (!values[k].p && str_ieq(h->name, names[k]))
				values[k] = h->value;
	}
}

const char *wish_read(struct http_req *req, struct wish *ret)
{
	struct str values[WISHES], timeout, priority, timing, cold, on_cold;

	find(req, values);
	timeout = values[TIMEOUT];
	priority = values[PRIORITY];
	timing = values[TIMING];
	cold = values[COLD];
	on_cold = values[ON_COLD];
	*ret = (struct wish){
		.timeout_ms = -1,
		.priority = PRIORITY_NORMAL,
		.key = values[KEY].n ? values[KEY] : values[AWS_KEY],
		.aws_key = !values[KEY].n && values[AWS_KEY].n,
	};
	if (timeout.p && !read_timeout(req, timeout, &ret->timeout_ms))
		return arena_printf(req->arena,
				    WISH_TIMEOUT
				    " '%s' is no time; give seconds such as "
				    "1.5, or a duration such as 250ms",
				    shown(req, timeout));
	if (priority.p && !read_priority(priority, &ret->priority))
		return arena_printf(req->arena,
				    WISH_PRIORITY " '%s' is unknown; give "
						  "high, normal or low",
				    shown(req, priority));
	if (timing.p && !read_timing(timing, &ret->timing))
		return arena_printf(req->arena,
				    WISH_TIMING " '%s' is unknown; give 1 for "
						"a Server-Timing header in "
						"the answer, or 0 for none",
				    shown(req, timing));
	ret->cold = str_eq(cold, STR("1"));
	if (cold.p && !ret->cold && !str_eq(cold, STR("0")))
		return arena_printf(req->arena,
				    WISH_COLD " '%s' is unknown; give 1 to be "
					      "told how cold the start was, or "
					      "0",
				    shown(req, cold));
	if (on_cold.p && !read_on_cold(on_cold, &ret->on_cold))
		return arena_printf(req->arena,
				    WISH_ON_COLD " '%s' is unknown; give hold "
						 "to wait for a replica, or "
						 "retry to be told when to "
						 "come again",
				    shown(req, on_cold));
	return NULL;
}
