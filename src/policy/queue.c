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

/* Of so many requests, through all slots. */
static double take_ns(uint64_t n, const struct queue_rate *rate)
{
	return rate->slots ? (double)n * (double)rate->service_ns /
				     (double)rate->slots
			   : 0;
}

bool waits_in_vain(uint64_t ahead, const struct queue_rate *rate,
		   uint64_t limit_ns)
{
	return rate->answers >= RATE_ANSWERS &&
	       rate->for_ns >= limit_ns / RATE_SHARE &&
	       take_ns(ahead + 1, rate) > 0.75 * (double)limit_ns;
}

uint32_t retry_after_s(uint64_t waiting, const struct queue_rate *rate)
{
	double s = take_ns(waiting, rate) / 1e9;

	if (s >= RETRY_AFTER_MAX_S)
		return RETRY_AFTER_MAX_S;
	return MAX((uint32_t)s + ((double)(uint32_t)s < s), 1u);
}
