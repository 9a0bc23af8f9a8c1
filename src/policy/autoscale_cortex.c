#include "policy/autoscale_cortex.h"

#include <math.h>
#include <string.h>

#include "core/mem.h"

void cortex_scale_fini(struct cortex_scale *c)
{
	free(c->said);
	*c = (struct cortex_scale){0};
}

static void say(struct cortex_scale *c, uint64_t now, uint32_t replicas)
{
	if (!c->begun) {
		c->begun = true;
		c->began = now;
	}
	if (c->n_said == c->cap_said) {
		c->cap_said = MAX(c->cap_said * 2, (size_t)16);
		c->said = mem_grow(c->said, c->cap_said * sizeof *c->said);
	}
	c->said[c->n_said++] = (struct cortex_said){now, replicas};
}

/* Of more than `period` ago. */
static void forget(struct cortex_scale *c, uint64_t now, uint64_t period)
{
	size_t old = 0;

	while (old < c->n_said && c->said[old].at + period < now)
		old++;
	memmove(c->said, c->said + old, (c->n_said - old) * sizeof *c->said);
	c->n_said -= old;
}

static uint32_t whole(double x)
{
	return x > 1e9 ? 1000000000 : x > 0 ? (uint32_t)ceil(x) : 0;
}

static uint32_t recommend(const struct cortex_rule *rule, uint32_t cur,
			  double in_flight)
{
	double raw = in_flight / rule->target;
	uint32_t rec = whole(raw), least, most;

	if (raw < cur && raw > cur * (1 - rule->downscale_tolerance))
		rec = cur;
	if (raw > cur && raw < cur * (1 + rule->upscale_tolerance))
		rec = cur;
	least = whole(cur * rule->max_downscale_factor);
	if (cur)
		least = MIN(cur - 1, least);
	most = MAX(cur + 1, whole(cur * rule->max_upscale_factor));
	rec = MIN(MAX(rec, least), most);
	return MIN(MAX(rec, rule->min), rule->max);
}

uint32_t cortex_scale(struct cortex_scale *c, const struct cortex_rule *rule,
		      uint64_t now, uint32_t cur, double in_flight)
{
	uint32_t rec = recommend(rule, cur, in_flight);
	uint32_t most = rec, least = rec;

	say(c, now, rec);
	forget(c, now, MAX(rule->downscale_period, rule->upscale_period));
	for (size_t i = 0; i < c->n_said; i++) {
		const struct cortex_said *s = &c->said[i];

		if (s->at + rule->downscale_period >= now)
			most = MAX(most, s->replicas);
		if (s->at + rule->upscale_period >= now)
			least = MIN(least, s->replicas);
	}
	if (rec < cur) {
		if (now - c->began < rule->downscale_period)
			return cur;
		return MAX(rec, MIN(cur, most));
	}
	if (rec > cur) {
		if (now - c->began < rule->upscale_period)
			return cur;
		return MIN(rec, MAX(cur, least));
	}
	return rec;
}

void cortex_awaken(struct cortex_scale *c, uint64_t now)
{
	say(c, now, 1);
}
