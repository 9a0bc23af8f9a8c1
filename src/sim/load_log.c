/* load_log.c: the access log of a daemon: a line of JSON for each request, in
 * the order of their ends. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/json.h"
#include "core/map.h"
#include "core/mem.h"
#include "sim/load_parts.h"

struct request {
	double at, takes; /* seconds */
	size_t api;
};

struct log {
	struct sim_loads *loads;
	struct request *all; /* owned */
	size_t n, cap;
	struct map by_name; /* the number of each, and one more */
};

/* "2026-11-26T18:17:03.979Z" in seconds since 1970; below 0: it is none. */
static double seconds_of(const char *text)
{
	struct tm tm = {0};
	double sec;
	int used = 0;

	if (sscanf(text, "%d-%d-%dT%d:%d:%lfZ%n", &tm.tm_year, &tm.tm_mon,
		   &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &sec, &used) != 6 ||
	    !used || text[used])
		return -1;
	tm.tm_year -= 1900;
	tm.tm_mon--;
	return (double)timegm(&tm) + sec;
}

/* The first part of a path: an api is there, or below it. */
static struct str api_of(const char *path)
{
	size_t n = strcspn(path + 1, "/");

	return (struct str){path, n + 1};
}

static size_t number_of(struct log *log, struct str api)
{
	cleanup_free char *name = mem_strndup(api.p, api.n);
	size_t i = (size_t)(uintptr_t)map_get(&log->by_name, name);

	if (i)
		return i - 1;
	sim__load_add(log->loads, api, 0);
	i = log->loads->n;
	map_set(&log->by_name, name, (void *)(uintptr_t)i);
	return i - 1;
}

/* False: it is no line of a log. */
static bool read_line(struct log *log, const char *text, size_t n)
{
	cleanup_json yyjson_doc *doc = json_parse(text, n, NULL);
	yyjson_val *root = yyjson_doc_get_root(doc);
	const char *path = json_str(root, "path", NULL);
	double end = seconds_of(json_str(root, "time", ""));
	double ms = json_num(root, "ms", -1);

	if (end < 0 || ms < 0 || !path || path[0] != '/')
		return false;
	/* What was refused has held nothing. */
	if (json_int(root, "status", 0) >= 400 ||
	    yyjson_get_bool(yyjson_obj_get(root, "gone")))
		return true;
	if (log->n == log->cap) {
		log->cap = MAX(log->cap * 2, (size_t)1024);
		log->all = mem_grow(log->all, log->cap * sizeof *log->all);
	}
	log->all[log->n++] =
		(struct request){.at = end - ms / 1000,
				 .takes = ms / 1000,
				 .api = number_of(log, api_of(path))};
	return true;
}

static int by_time(const void *a, const void *b)
{
	const struct request *x = a, *y = b;

	return (x->at > y->at) - (x->at < y->at);
}

static void put_all(struct log *log)
{
	struct sim_loads *loads = log->loads;
	size_t *caps = mem_alloc((loads->n + 1) * sizeof *caps);
	uint64_t horizon = 0;

	qsort(log->all, log->n, sizeof *log->all, by_time);
	for (size_t i = 0; i < log->n; i++) {
		const struct request *r = &log->all[i];
		struct sim_load *l = &loads->all[r->api];

		sim__load_put(l, &caps[r->api], r->at - log->all[0].at,
			      r->takes);
		horizon = MAX(horizon, l->horizon);
	}
	/* All were there from the first request to the last. */
	for (size_t i = 0; i < loads->n; i++)
		loads->all[i].horizon = horizon;
	free(caps);
}

int sim__read_log(struct sim_loads *loads, struct csv *c, struct err *err)
{
	struct log log = {.loads = loads};
	const char *at = c->text, *end;
	unsigned line = 0;
	int rc = 0;

	map_init(&log.by_name);
	for (; *at && !rc; at = end + (*end == '\n')) {
		end = at + strcspn(at, "\n");
		line++;
		/* The last one may not be whole yet. */
		if (end > at && !read_line(&log, at, (size_t)(end - at)) &&
		    *end)
			rc = err_set(err, E_INVALID,
				     "%s:%u: no line of an access log, which "
				     "has time, status, ms and path",
				     c->path, line);
	}
	if (!rc && log.n)
		put_all(&log);
	map_fini(&log.by_name);
	free(log.all);
	return rc;
}
