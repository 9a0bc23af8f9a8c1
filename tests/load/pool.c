#include "pool.h"

#include <unistd.h>

struct client pool[POOL_MOST];
size_t pool_n;
static struct client *unused, *released; /* those of this turn */
static struct client *oldest, *newest;	 /* that rest */

void pool_rest(struct client *c, uint64_t now_ns)
{
	c->state = RESTING;
	c->rests_ns = now_ns;
	c->older = newest;
	c->newer = NULL;
	*(newest ? &newest->newer : &oldest) = c;
	newest = c;
}

static void rests_no_more(struct client *c)
{
	*(c->older ? &c->older->newer : &oldest) = c->newer;
	*(c->newer ? &c->newer->older : &newest) = c->older;
}

struct client *pool_wake(void)
{
	struct client *c = oldest;

	if (c)
		rests_no_more(c);
	return c;
}

void pool_release(struct client *c)
{
	if (c->state == RESTING)
		rests_no_more(c);
	close(c->fd);
	c->state = FREE;
	c->next_free = released;
	released = c;
}

void pool_turn(void)
{
	while (released) {
		struct client *c = released;

		released = c->next_free;
		c->next_free = unused;
		unused = c;
	}
}

struct client *pool_take(void)
{
	struct client *c = unused;

	if (c)
		unused = c->next_free;
	else if (pool_n < POOL_MOST)
		c = &pool[pool_n++];
	return c;
}
