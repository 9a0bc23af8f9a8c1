#include "sim/load_parts.h"

#include "core/mem.h"

struct sim_load *sim__load_add(struct sim_loads *loads, struct str name,
			       size_t n)
{
	struct sim_load *l;

	loads->all = mem_grow(loads->all, (loads->n + 1) * sizeof *l);
	l = &loads->all[loads->n++];
	*l = (struct sim_load){.name = mem_strndup(name.p, name.n), .n = n};
	l->at = mem_alloc((n + 1) * sizeof *l->at);
	l->takes = mem_alloc((n + 1) * sizeof *l->takes);
	return l;
}

void sim__load_put(struct sim_load *l, size_t *cap, double at, double takes)
{
	static const double NS = 1e9;

	if (l->n == *cap) {
		*cap = MAX(*cap * 2, (size_t)1024);
		l->at = mem_grow(l->at, *cap * sizeof *l->at);
		l->takes = mem_grow(l->takes, *cap * sizeof *l->takes);
	}
	l->at[l->n] = (uint64_t)(at * NS);
	l->takes[l->n++] = MAX((uint64_t)(takes * NS), (uint64_t)1);
	l->horizon = MAX(l->horizon, (uint64_t)((at + takes) * NS));
}

void sim_loads_fini(struct sim_loads *loads)
{
	for (size_t i = 0; i < loads->n; i++) {
		free(loads->all[i].name);
		free(loads->all[i].at);
		free(loads->all[i].takes);
	}
	free(loads->all);
	*loads = (struct sim_loads){0};
}

int sim_read(struct sim_loads *loads, const char *path, uint64_t seed,
	     struct err *err)
{
	struct csv c;
	int rc;

	*loads = (struct sim_loads){0};
	if (csv_open(&c, path, err))
		return err->code;
	if (str_eq(c.fields[0], STR("HashFunction")))
		rc = sim__read_azure(loads, &c, seed, err);
	else if (str_eq(c.fields[0], STR("TIMESTAMP")))
		rc = sim__read_llm(loads, &c, err);
	else if (str_eq(c.fields[0], STR("time")))
		rc = sim__read_recorded(loads, &c, err);
	else if (str_starts(c.fields[0], STR("{\"time\":")))
		rc = sim__read_log(loads, &c, err);
	else
		rc = err_set(
			err, E_INVALID,
			"%s is no trace that is known: its first line "
			"begins with '%.*s', and not with HashFunction "
			"(Azure Functions), TIMESTAMP (Azure LLM), time "
			"(recorded traffic) or {\"time\" (Soma's access log)",
			path, (int)MIN(c.fields[0].n, (size_t)40),
			c.fields[0].p);
	csv_close(&c);
	if (!rc && !loads->n)
		rc = err_set(err, E_INVALID, "%s has no requests", path);
	if (rc)
		sim_loads_fini(loads);
	return rc;
}
