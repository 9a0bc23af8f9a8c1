#include "policy/batch.h"

#include <assert.h>

#include "core/mem.h"

struct batch_verdict batch_decide(const struct batch_facts *f)
{
	assert(f->max > 0);
	if (!f->slot_free || !f->waiting)
		return (struct batch_verdict){0, BATCH_NEVER};
	if (f->waiting >= f->max)
		return (struct batch_verdict){f->max, 0};
	if (f->waiting >= f->expected || f->age >= f->interval)
		return (struct batch_verdict){f->waiting, 0};
	return (struct batch_verdict){0, f->interval - f->age};
}

void batch_arrived(struct batch_callers *c, uint64_t now)
{
	c->came += now - c->ended <= c->window;
}

void batch_answered(struct batch_callers *c, uint32_t answered, uint32_t left,
		    uint64_t now)
{
	if (c->answered) {
		double share = MIN(c->came / (double)c->answered, 1.0);

		c->share += (share - c->share) / 4;
	}
	c->ended = now;
	c->answered = answered;
	c->left = left;
	c->came = 0;
}

uint32_t batch_expected(const struct batch_callers *c, uint64_t now)
{
	/* Fewer than half: rather chance than habit. */
	if (c->share < 0.5 || now - c->ended > c->window)
		return 0;
	return c->left + (uint32_t)(c->share * c->answered + 0.5);
}
