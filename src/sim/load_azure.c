/* load_azure.c: the Azure Functions trace of 2019: a day in minutes. */
#include <stdio.h>

#include "core/map.h"
#include "core/mem.h"
#include "sim/draw.h"
#include "sim/each.h"
#include "sim/load_parts.h"

enum {
	MINUTES = 1440,
	FIRST_MINUTE = 3,
	PERCENTILES = 7,
	FIRST_PERCENTILE = 7,
	RUN_FIELDS = FIRST_PERCENTILE + PERCENTILES,
	MEM_AVERAGE = 3,
};

#define MINUTE_NS 60000000000ull

static const double shares[PERCENTILES] = {0, .01, .25, .5, .75, .99, 1};

/* What FILE_run.csv and FILE_mem.csv say of a function. */
struct about {
	double ms[PERCENTILES];
	double mem_mb;
};

/* FILE_run.csv for FILE_inv.csv. */
static char *beside(const char *path, const char *what)
{
	const char *at = NULL, *next = path;

	while ((next = strstr(next, "_inv.csv")))
		at = next++;
	if (!at)
		return NULL;
	return mem_printf("%.*s_%s%s", (int)(at - path), path, what,
			  at + strlen("_inv"));
}

static int read_run(struct map *abouts, const char *path, struct err *err)
{
	struct csv c;
	int rc;

	if (csv_open(&c, path, err))
		return err->code;
	rc = csv_need(&c, RUN_FIELDS, err);
	while (!rc && csv_next(&c)) {
		cleanup_free char *name = NULL;
		struct about *a;

		rc = csv_need(&c, RUN_FIELDS, err);
		if (rc)
			break;
		a = mem_alloc(sizeof *a);
		for (int i = 0; i < PERCENTILES && !rc; i++)
			rc = csv_number(&c, (size_t)(FIRST_PERCENTILE + i),
					&a->ms[i], err);
		name = mem_strndup(c.fields[0].p, c.fields[0].n);
		free(map_set(abouts, name, a));
	}
	csv_close(&c);
	return rc;
}

static int read_mem(struct map *abouts, const char *path, struct err *err)
{
	struct csv c;
	int rc = 0;

	if (csv_open(&c, path, err)) {
		/* Without it memory is not counted. */
		err->code = 0;
		return 0;
	}
	while (!rc && csv_next(&c)) {
		cleanup_free char *name =
			mem_strndup(c.fields[0].p, c.fields[0].n);
		struct about *a = map_get(abouts, name);

		if (a)
			rc = csv_number(&c, MEM_AVERAGE, &a->mem_mb, err);
	}
	csv_close(&c);
	return rc;
}

/* A time that a request takes: on the lines through the percentiles. */
static uint64_t takes(const struct about *a, struct draw *d)
{
	double share = draw_unit(d), ms;
	int i = 1;

	while (i < PERCENTILES - 1 && shares[i] < share)
		i++;
	ms = a->ms[i - 1] + (a->ms[i] - a->ms[i - 1]) *
				    (share - shares[i - 1]) /
				    (shares[i] - shares[i - 1]);
	return (uint64_t)(MAX(ms, 1) * 1e6);
}

/* n arrivals, each at any time of the minute alike, in their order: the sums of
 * n + 1 exponential distances, as a share of all of them, are. */
static void arrive(uint64_t *at, uint32_t n, uint64_t from, struct draw *d)
{
	double sum = 0;

	for (uint32_t i = 0; i < n; i++) {
		sum += draw_exp(d);
		/* Kept in millionths until the whole is known. */
		at[i] = (uint64_t)(sum * 1e6);
	}
	sum += draw_exp(d);
	for (uint32_t i = 0; i < n; i++)
		at[i] = from + (uint64_t)((double)at[i] / (sum * 1e6) *
					  (double)MINUTE_NS);
}

/* What is to be drawn, one for each load. */
struct day {
	const struct about *about; /* borrowed */
	uint32_t counts[MINUTES];
};

struct days {
	struct day *all; /* owned */
	size_t cap;
	struct sim_loads *loads;
	uint64_t seed;
};

static struct day *next_day(struct days *days)
{
	if (days->loads->n == days->cap) {
		days->cap = MAX(days->cap * 2, (size_t)64);
		days->all = mem_grow(days->all, days->cap * sizeof *days->all);
	}
	return &days->all[days->loads->n];
}

static int read_function(struct days *days, const struct csv *c,
			 struct map *abouts, struct err *err)
{
	cleanup_free char *name = mem_strndup(c->fields[0].p, c->fields[0].n);
	const struct about *a = map_get(abouts, name);
	struct day *day = next_day(days);
	struct sim_load *l;
	size_t n = 0;

	if (csv_need(c, FIRST_MINUTE + MINUTES, err))
		return err->code;
	if (!a)
		return err_set(err, E_INVALID,
			       "%s:%u: nothing is said of function %s in the "
			       "_run.csv beside it",
			       c->path, c->line, name);
	day->about = a;
	for (int i = 0; i < MINUTES; i++) {
		if (csv_count(c, (size_t)(FIRST_MINUTE + i), &day->counts[i],
			      err))
			return err->code;
		n += day->counts[i];
	}
	l = sim__load_add(days->loads, c->fields[0], n);
	l->mem_mb = a->mem_mb;
	l->horizon = MINUTES * MINUTE_NS;
	return 0;
}

static void draw_day(void *data, size_t k)
{
	const struct days *days = data;
	const struct day *day = &days->all[k];
	struct sim_load *l = &days->loads->all[k];
	struct draw d = draw_begin(days->seed, str_of(l->name));
	size_t n = 0;

	for (uint32_t i = 0; i < MINUTES; i++) {
		arrive(l->at + n, day->counts[i], i * MINUTE_NS, &d);
		n += day->counts[i];
	}
	for (size_t i = 0; i < n; i++)
		l->takes[i] = takes(day->about, &d);
}

int sim__read_azure(struct sim_loads *loads, struct csv *c, uint64_t seed,
		    struct err *err)
{
	cleanup_free char *run = beside(c->path, "run");
	cleanup_free char *mem = beside(c->path, "mem");
	struct days days = {.loads = loads, .seed = seed};
	struct map abouts;
	struct about *a;
	int rc;

	if (!run)
		return err_set(err, E_INVALID,
			       "%s: a trace of Azure Functions is named "
			       "NAME_inv.csv, and NAME_run.csv is beside it",
			       c->path);
	map_init(&abouts);
	rc = read_run(&abouts, run, err);
	if (!rc)
		rc = read_mem(&abouts, mem, err);
	while (!rc && csv_next(c))
		rc = read_function(&days, c, &abouts, err);
	if (!rc)
		sim__each(loads->n, draw_day, &days);
	free(days.all);
	for (size_t i = 0; (a = map_next(&abouts, &i, NULL));)
		free(a);
	map_fini(&abouts);
	return rc;
}
