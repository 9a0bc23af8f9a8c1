/*
 * Requests that a replica was loaded for, or was sent: where memory is short it
 * does not leave for others before it has answered them.
 */
#include "serve/gate_parts.h"
#include "serve/swap.h"

void gate__take_lease(struct waiter *w)
{
	w->api->gate.leases += !w->lease;
	w->lease = true;
}

void gate__end_lease(struct waiter *w)
{
	if (!w->lease)
		return;
	w->lease = false;
	if (--w->api->gate.leases)
		return;
	w->api->gate.rests_ns = uv_hrtime();
	swap_wake(w->api->serve);
}

static void take_all(struct list *queue)
{
	struct list *it, *tmp;

	LIST_EACH (queue, it, tmp)
		gate__take_lease(LIST_ENTRY(it, struct waiter, queue));
}

void gate_lease(struct api *a)
{
	for (int i = 0; i < PRIORITIES; i++)
		take_all(&a->gate.queue[i]);
	take_all(&a->gate.suspects);
}
