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
		       : rev->api->measure.bytes;
}

static uint64_t reserved_by(const struct revision *rev)
{
	return need_of(rev) * revision_places(rev);
}

/* By other apis, and by those of its own that are there. */
static uint64_t reserved_beside(const struct revision *rev)
{
	const struct serve *s = rev->api->serve;
	uint64_t sum = reserved_by(rev);
	const struct api *a;

	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));) {
		if (a == rev->api)
			continue;
		for (const struct list *it = a->revisions.next;
		     it != &a->revisions; it = it->next)
			sum += reserved_by(
				CONTAINER_OF((struct list *)(uintptr_t)it,
					     struct revision, link));
	}
	return sum;
}

unsigned memory_fits(const struct revision *rev)
{
	uint64_t each = need_of(rev), total = memory_total(), taken;

	if (!each)
		return UINT_MAX;
	taken = reserved_beside(rev);
	return taken < total ? (unsigned)MIN((total - taken) / each,
					     (uint64_t)INT_MAX)
			     : 0;
}

char *memory_text(const struct revision *rev)
{
	char needs[32], taken[32], has[32];

	return mem_printf(
		"another replica needs %s (%s), but %s of this machine's %s "
		"are reserved by those that are there; it is started when "
		"there is room",
		str_human_bytes(need_of(rev), needs),
		rev->spec->compute.mem_bytes ? "compute.mem" : "as measured",
		str_human_bytes(reserved_beside(rev), taken),
		str_human_bytes(memory_total(), has));
}
