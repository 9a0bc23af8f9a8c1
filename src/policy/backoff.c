#include "policy/backoff.h"

#include "core/mem.h"

int64_t backoff_wait_ms(unsigned failures, uint32_t random)
{
	unsigned shift = failures ? failures - 1 : 0;
	int64_t wait = BACKOFF_MOST_MS;

	if (shift < 10)
		wait = MIN((int64_t)BACKOFF_FIRST_MS << shift, wait);
	/* 800 to 1200 thousandths */
	return wait * (800 + (int64_t)(random % 401)) / 1000;
}

unsigned backoff_count(unsigned failures, int64_t healthy_ms, int64_t start_ms)
{
	/* 200 is the middle of the jitter */
	int64_t wait = backoff_wait_ms(MAX(failures, 1u), 200);

	if (healthy_ms >= BACKOFF_RESET_MS ||
	    (failures && healthy_ms >= MAX(wait, start_ms)))
		return 1;
	return failures + 1;
}
