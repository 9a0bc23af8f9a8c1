#include "serve/memory.h"

#include <limits.h>
#include <uv.h>

#include "core/mem.h"
#include "core/str.h"
#include "serve/serve.h"

uint64_t memory_total(void)
{
	uint64_t machine = uv_get_total_memory();
	uint64_t ours = uv_get_constrained_memory(); /* 0: no limit */

	return ours ? MIN(machine, ours) : machine;
}

int memory_check(const struct spec *spec, struct err *err)
{
	uint32_t n = MAX(spec->scale.min_replicas, 1u);
	uint64_t each = (uint64_t)spec->compute.mem_bytes;
	char needs[32], has[32];

	if (each <= memory_total() / n)
		return 0;
	str_human_bytes(each, needs);
	str_human_bytes(memory_total(), has);
	return err_set(err, E_UNPROCESSABLE,
		       "%s: a replica needs %s (compute.mem) and there are at "
		       "least %u, but this machine has %s: reserve less, or "
		       "have fewer",
		       spec->name, needs, n, has);
}

/* What it says, else what was measured; 0: neither. */
static uint64_t need_of(const struct revision *rev)
{
	return rev->spec->compute.mem_bytes
		       ? (uint64_t)rev->spec->compute.mem_bytes
		       : rev->measure.bytes;
}

/* What is reserved, in bytes. */
struct reserved {
	uint64_t staying; /* by replicas that are wanted */
	uint64_t leaving; /* by those that have not ended yet */
	uint64_t frozen;  /* by those that end for others */
};

/* What its replicas that are to end still hold, process by process. */
static uint64_t held_by_leaving(const struct revision *rev)
{
	uint64_t processes = 0;

	for (const struct list *it = rev->gone.next; it != &rev->gone;
	     it = it->next)
		processes += CONTAINER_OF((struct list *)(uintptr_t)it,
					  struct replica, link)
				     ->process != NULL;
	return need_of(rev) * processes /
	       MAX(rev->spec->predictor.processes, 1u);
}

static void add_all(struct reserved *sum, const struct api *a,
		    const struct revision *but_those_of)
{
	for (const struct list *it = a->revisions.next; it != &a->revisions;
	     it = it->next) {
		const struct revision *rev = CONTAINER_OF(
			(struct list *)(uintptr_t)it, struct revision, link);

		sum->leaving += held_by_leaving(rev);
		sum->frozen += need_of(rev) * rev->frozen.n;
		/* Its own other revisions make room for it. */
		if (rev == but_those_of || a != but_those_of->api)
			sum->staying += need_of(rev) * revision_places(rev);
	}
}

static struct reserved reserved_beside(const struct revision *rev)
{
	const struct serve *s = rev->api->serve;
	struct reserved sum = {0};
	const struct api *a;

	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));)
		add_all(&sum, a, rev);
	return sum;
}

static unsigned fit(uint64_t each, uint64_t taken)
{
	uint64_t total = memory_total();

	return taken < total ? (unsigned)MIN((total - taken) / each,
					     (uint64_t)INT_MAX)
			     : 0;
}

unsigned memory_fits(const struct revision *rev, unsigned *ret_soon)
{
	uint64_t each = need_of(rev);
	struct reserved r;

	*ret_soon = UINT_MAX;
	if (!each)
		return UINT_MAX;
	r = reserved_beside(rev);
	*ret_soon = fit(each, r.staying);
	return fit(each, r.staying + r.leaving + r.frozen);
}

char *memory_text(const struct revision *rev)
{
	struct reserved r = reserved_beside(rev);
	char needs[32], taken[32], has[32], leaving[32];

	return mem_printf(
		"another replica needs %s (%s), but %s of this machine's %s "
		"are reserved by those that are there%s%s%s; it is started "
		"when there is room",
		str_human_bytes(need_of(rev), needs),
		rev->spec->compute.mem_bytes ? "compute.mem" : "as measured",
		str_human_bytes(r.staying + r.leaving, taken),
		str_human_bytes(memory_total(), has), r.leaving ? ", " : "",
		r.leaving ? str_human_bytes(r.leaving, leaving) : "",
		r.leaving ? " by some that are ending" : "");
}
