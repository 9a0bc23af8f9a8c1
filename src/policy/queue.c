#include "policy/queue.h"

#include "core/mem.h"

struct priority_turn priority_next(const uint64_t since[PRIORITIES],
				   uint32_t passed)
{
	int next = 0, lower;

	while (next < PRIORITIES && since[next] == PRIORITY_NOBODY)
		next++;
	if (next == PRIORITIES)
		return (struct priority_turn){-1, 0};
	lower = next;
	for (int i = next + 1; i < PRIORITIES; i++)
		if (since[i] != PRIORITY_NOBODY &&
		    (lower == next || since[i] < since[lower]))
			lower = i;
	if (lower == next)
		return (struct priority_turn){next, 0};
	if (passed >= PRIORITY_TURNS - 1)
		return (struct priority_turn){lower, 0};
	return (struct priority_turn){next, passed + 1};
}

uint32_t retry_after_s(uint64_t waiting, uint64_t slots, uint64_t service_ns)
{
	double s;

	if (!slots)
		return 1;
	s = (double)waiting * (double)service_ns / (double)slots / 1e9;
	if (s >= RETRY_AFTER_MAX_S)
		return RETRY_AFTER_MAX_S;
	return MAX((uint32_t)s + ((double)(uint32_t)s < s), 1u);
}
