/* zygote_budget.c: which zygotes are worth their memory. All of them together
 * have a limit (the setting warm_memory); the one that saves the least goes
 * first:
 *
 *     saved = time that its fork is faster than a start / time between uses
 *
 * per byte. One that is `auto` is a guess of ours. One that the spec asks for
 * by its level is not in that limit, and goes only where replicas have no
 * memory else: it makes starts faster, and they are what starts. */
#include <float.h>

#include "box/footprint.h"
#include "core/mem.h"
#include "loop/log.h"
#include "serve/measure.h"
#include "serve/memory.h"
#include "serve/serve.h"

enum {
	GUESS_BYTES = 32 << 20, /* nothing is known of it */
	GUESS_GAP_MS = 60 * 1000,
	GUESS_SAVED_MS = 100,
	AGAIN_MS = 10 * 1000,
	LOOK_USES = 64,		/* after so many it is looked at again */
	GROWN_BYTES = 64 << 20, /* beyond twice of what it was */
};

static struct serve *serve_of(const struct zygote *z)
{
	return z->rev->api->serve;
}

static uint64_t now_of(const struct zygote *z)
{
	return uv_now(serve_of(z)->loop);
}

void zygote__used(struct zygote *z)
{
	uint64_t now = now_of(z);

	z->uses++;
	z->gap_ms = z->used_at ? now - z->used_at : GUESS_GAP_MS;
	z->used_at = now;
}

static uint64_t bytes_of(const struct zygote *z)
{
	if (z->bytes)
		return z->bytes;
	/* A first look at a replica comes when it has run nothing yet. */
	return MAX(z->rev->measure.bytes, (uint64_t)GUESS_BYTES);
}

/* Milliseconds saved per millisecond and byte. */
static double worth(const struct zygote *z)
{
	const struct scale_load *loads = z->rev->api->scale.loads;
	uint64_t process = loads[COLD_PROCESS].mean_ns;
	uint64_t forked = loads[zygote_tier(z)].mean_ns;
	uint64_t idle = z->used_at ? now_of(z) - z->used_at : 0;
	double saved = process > forked ? (double)(process - forked) / 1e6
					: (double)GUESS_SAVED_MS;

	return saved / (double)MAX(MAX(z->gap_ms, idle), (uint64_t)1) /
	       (double)bytes_of(z);
}

static bool is_guess(const struct zygote *z)
{
	return z->rev->spec->predictor.zygote == ZYGOTE_AUTO;
}

static bool may_go(const struct zygote *z)
{
	return z->process && !z->process->forks;
}

/* guesses: of those that are `auto`, else of those that the spec asks for. but:
 * who is not meant, or NULL. */
static struct zygote *least_worth(struct serve *s, bool guesses,
				  const struct zygote *but)
{
	struct zygote *least = NULL;
	double of_least = DBL_MAX;
	struct api *a;

	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));) {
		struct zygote *z = a->want ? &a->want->zygote : NULL;

		if (!z || z == but || !may_go(z) || is_guess(z) != guesses ||
		    worth(z) >= of_least)
			continue;
		least = z;
		of_least = worth(z);
	}
	return least;
}

/* for_replicas: not for zygotes that are worth more. */
static void make_room(struct zygote *z, bool for_replicas)
{
	log_info(
		LOG_F(F_S("api", z->rev->api->name), F_I("bytes", bytes_of(z))),
		"its zygote makes room for others");
	if (!is_guess(z))
		api_event(z->rev->api, z->rev->number, "zygote", NULL, NULL,
			  "the zygote leaves: replicas need its memory; "
			  "another one is loaded when there is room");
	zygote__end(z);
	z->admit_at = now_of(z) + AGAIN_MS;
	z->no_memory = for_replicas;
}

void zygote_enforce(struct serve *s)
{
	struct zygote *least;

	while (s->zygote_bytes > s->warm_limit &&
	       (least = least_worth(s, true, NULL)))
		make_room(least, false);
}

bool zygote_give_way(struct serve *s, const struct revision *to)
{
	struct zygote *least = NULL;

	for (int guesses = 1; !least && guesses >= 0; guesses--) {
		least = least_worth(s, guesses, &to->zygote);
		if (!least)
			least = least_worth(s, guesses, NULL);
	}
	if (least)
		make_room(least, true);
	return least;
}

/* It is a help, and takes what replicas leave. */
static bool has_memory(const struct zygote *z)
{
	const struct serve *s = serve_of(z);
	uint64_t left = memory_unreserved(s), others = memory_giving_way(s);

	left -= MIN(others, left);
	return !s->swap.starving &&
	       bytes_of(z) <= MIN(left, memory_observed(s));
}

const char *zygote__no_room(const struct zygote *z)
{
	if (z->no_memory)
		return "replicas need the memory";
	return bytes_of(z) > serve_of(z)->warm_limit
		       ? "it takes more than all of warm_memory"
		       : "those of other apis that save more take all of "
			 "warm_memory";
}

bool zygote__admit(struct zygote *z)
{
	struct serve *s = serve_of(z);
	uint64_t now = now_of(z);

	if (now < z->admit_at)
		return false;
	z->no_memory = (bytes_of(z) <= s->warm_limit || !is_guess(z)) &&
		       !has_memory(z);
	if (z->no_memory) {
		z->admit_at = now + AGAIN_MS;
		return false;
	}
	if (!is_guess(z))
		return true;
	while (s->zygote_bytes + bytes_of(z) > s->warm_limit) {
		struct zygote *least = least_worth(s, true, z);

		if (!least || worth(least) >= worth(z)) {
			z->admit_at = now + AGAIN_MS;
			return false;
		}
		make_room(least, false);
	}
	return true;
}

void zygote__forget_bytes(struct zygote *z)
{
	serve_of(z)->zygote_bytes -= z->counted;
	z->counted = 0;
}

void zygote__count_bytes(struct zygote *z)
{
	zygote__forget_bytes(z);
	z->counted = bytes_of(z);
	serve_of(z)->zygote_bytes += z->counted;
	frozen_enforce(serve_of(z));
}

/* ---- what it takes ---- */

static void on_measured(struct api *a, const struct measured *m)
{
	struct zygote *z = m->rev ? &m->rev->zygote : NULL;

	if (!z || !z->process || z->process->pid != m->pid || !m->took.all)
		return;
	z->bytes = m->took.all;
	zygote__count_bytes(z);
	zygote_enforce(a->serve);
}

char *zygote__grown(struct zygote *z)
{
	uint64_t now;

	if (z->uses < LOOK_USES)
		return NULL;
	z->uses = 0;
	/* What it shares with them is no less its own. */
	now = resident_of(z->process->pid);
	if (!z->resident || now <= 2 * z->resident + GROWN_BYTES)
		return NULL;
	return mem_printf("the zygote has grown from %llu to %llu MiB with its "
			  "forks: another one is loaded",
			  (unsigned long long)(z->resident >> 20),
			  (unsigned long long)(now >> 20));
}

void zygote__measure(struct zygote *z)
{
	z->uses = 0;
	z->resident = resident_of(z->process->pid);
	measure_look(z->rev, z->process->pid, on_measured);
}
