/*
 * Places that a revision lacks for want of memory.
 */
#include "core/mem.h"
#include "serve/memory.h"
#include "serve/revision_parts.h"
#include "serve/serve.h"
#include "serve/swap.h"

enum { REFUSED_MS = 5000 }; /* until one looks again */

static void starve(struct revision *rev)
{
	if (!rev->starving) {
		rev->starving = true;
		rev->starving_ns = uv_hrtime();
		rev->api->serve->swap.starving++;
	}
	api_is_busy(rev->api);
	swap_wake(rev->api->serve);
}

void revision__sated(struct revision *rev)
{
	rev->refused_until = 0;
	if (!rev->starving)
		return;
	rev->starving = false;
	rev->api->serve->swap.starving--;
	swap_wake(rev->api->serve);
	if (rev->state == REVISION_LIVE)
		revision__set_message(rev, NULL);
}

bool revision_is_refused(const struct revision *rev)
{
	return rev->refused_until > uv_now(rev->api->serve->loop);
}

void revision_refuse(struct revision *rev, const char *text)
{
	rev->refused_until = uv_now(rev->api->serve->loop) + REFUSED_MS;
	revision__failed(rev, NULL, text);
	gate_give_up(rev->api);
}

/* What those that are kept for the next start hold is free when they have
 * ended. */
static void make_room(const struct revision *rev, unsigned n)
{
	struct serve *s = rev->api->serve;

	while (n-- && (rollout_give_way(s) || frozen_give_way(s) ||
		       zygote_give_way(s, rev)))
		;
}

static void say_why(struct revision *rev, bool hopeful)
{
	cleanup_free char *reserved = memory_text(rev);
	cleanup_free char *turn = swap_text(rev);
	cleanup_free char *text = mem_printf(
		"%s%s%s", reserved, turn ? "; " : "", turn ? turn : "");

	if (hopeful)
		revision__set_message(rev, text);
	else
		revision__failed(rev, NULL, text);
}

unsigned revision__lacking(struct revision *rev, unsigned missing)
{
	struct memory_room room = {0};
	unsigned fit;

	if (missing)
		room = memory_room(rev);
	fit = room.now;
	if (fit < missing && room.soon > fit)
		make_room(rev, MIN(missing, room.soon) - fit);
	/* What is free may be for somebody who has waited for it. */
	if (fit && missing && memory_need(rev).own)
		fit = MIN(fit, swap_allows(rev));
	if (fit >= missing) {
		revision__sated(rev);
		return missing;
	}
	starve(rev);
	if (!revision_is_refused(rev))
		say_why(rev, fit || room.soon || revision_places(rev) ||
				     rollout_makes_room(rev) ||
				     swap_helps(rev));
	return fit;
}
