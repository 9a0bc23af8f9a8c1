#include "sim/levels.h"

#include "core/mem.h"

void *levels_open(const struct sim_case *c, uint64_t keep)
{
	struct levels *l = mem_alloc(sizeof *l);

	l->keep = keep;
	l->slots = c->slots;
	return l;
}

void levels_close(void *state)
{
	struct levels *l = state;

	free(l->idle_since);
	free(l);
}

struct sim_want levels_want(struct levels *l, const struct sim_state *s)
{
	uint32_t busy = (s->in_flight + l->slots - 1) / l->slots;

	if (busy > l->cap) {
		l->cap = MAX(busy, l->cap * 2);
		l->idle_since =
			mem_grow(l->idle_since, l->cap * sizeof *l->idle_since);
	}
	while (l->busy > busy)
		l->idle_since[--l->busy] = s->now;
	l->busy = busy;
	l->n = MAX(l->n, busy);
	/* The topmost was idle first. */
	while (l->n > busy && l->idle_since[l->n - 1] + l->keep <= s->now)
		l->n--;
	return (struct sim_want){
		l->n, l->n > busy ? l->idle_since[l->n - 1] + l->keep : 0};
}
