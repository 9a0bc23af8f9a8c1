/* load_rows.c: traces with a row for each request. */
#include <stdio.h>
#include <string.h>

#include "core/map.h"
#include "core/mem.h"
#include "sim/load_parts.h"

static const double NS = 1e9;

/* "2023-11-16 18:17:03.9799600" in seconds of some day. */
static bool clock_of(struct str s, double *ret)
{
	char word[40];
	int y, mo, d, h, mi, used = 0;
	double sec;

	if (s.n >= sizeof word)
		return false;
	memcpy(word, s.p, s.n);
	word[s.n] = '\0';
	if (sscanf(word, "%d-%d-%d %d:%d:%lf%n", &y, &mo, &d, &h, &mi, &sec,
		   &used) != 6 ||
	    used != (int)s.n)
		return false;
	*ret = ((d * 24.0 + h) * 60 + mi) * 60 + sec;
	return true;
}

static int backwards(const struct csv *c, struct err *err)
{
	return err_set(err, E_INVALID,
		       "%s:%u: the request came before the one above; sort "
		       "the file by its first column",
		       c->path, c->line);
}

int sim__read_llm(struct sim_loads *loads, struct csv *c, struct err *err)
{
	struct sim_load *l = sim__load_add(loads, STR("llm"), 0);
	double first = -1, at, before = 0, context, made;
	size_t cap = 0;

	while (csv_next(c)) {
		if (csv_need(c, 3, err) || csv_number(c, 1, &context, err) ||
		    csv_number(c, 2, &made, err))
			return err->code;
		if (!clock_of(c->fields[0], &at))
			return err_set(err, E_INVALID,
				       "%s:%u: '%.*s' is no time like "
				       "2023-11-16 18:17:03.97",
				       c->path, c->line,
				       (int)MIN(c->fields[0].n, (size_t)40),
				       c->fields[0].p);
		if (first < 0)
			first = at;
		at -= first;
		if (at < before)
			return backwards(c, err);
		before = at;
		sim__load_put(l, &cap, at,
			      (context * SIM_LLM_CONTEXT_NS +
			       made * SIM_LLM_TOKEN_NS) /
				      NS);
	}
	return 0;
}

int sim__read_recorded(struct sim_loads *loads, struct csv *c, struct err *err)
{
	double first = -1, at, before = 0, takes;
	struct map by_name; /* the number of each, and one more */
	size_t *caps = NULL;
	int rc = 0;

	map_init(&by_name);
	while (!rc && csv_next(c)) {
		cleanup_free char *name = NULL;
		size_t i;

		rc = csv_need(c, 3, err);
		if (!rc)
			rc = csv_number(c, 0, &at, err);
		if (!rc)
			rc = csv_number(c, 2, &takes, err);
		if (rc)
			break;
		if (first < 0)
			first = at;
		at -= first;
		if (at < before) {
			rc = backwards(c, err);
			break;
		}
		before = at;
		name = mem_strndup(c->fields[1].p, c->fields[1].n);
		i = (size_t)(uintptr_t)map_get(&by_name, name);
		if (!i) {
			sim__load_add(loads, c->fields[1], 0);
			i = loads->n;
			caps = mem_grow(caps, i * sizeof *caps);
			caps[i - 1] = 0;
			map_set(&by_name, name, (void *)(uintptr_t)i);
		}
		sim__load_put(&loads->all[i - 1], &caps[i - 1], at, takes);
	}
	/* All were there from the first request to the last. */
	for (size_t i = 0; i < loads->n; i++)
		loads->all[i].horizon =
			MAX(loads->all[i].horizon, (uint64_t)(before * NS));
	free(caps);
	map_fini(&by_name);
	return rc;
}
