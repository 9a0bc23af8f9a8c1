#include "policy/batch.h"

#include <assert.h>

struct batch_verdict batch_decide(const struct batch_facts *f)
{
	assert(f->max > 0);
	if (!f->slot_free || !f->waiting)
		return (struct batch_verdict){0, BATCH_NEVER};
	if (f->waiting >= f->max)
		return (struct batch_verdict){f->max, 0};
	if (!f->more_are_coming || f->age >= f->interval)
		return (struct batch_verdict){f->waiting, 0};
	return (struct batch_verdict){0, f->interval - f->age};
}
