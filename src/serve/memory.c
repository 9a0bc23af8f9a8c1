#include "serve/memory.h"

#include <limits.h>
#include <uv.h>

#include "box/footprint.h"
#include "core/mem.h"
#include "core/str.h"
#include "serve/serve.h"
#include "serve/swap.h"

/* Of the machine's memory that much is not given away: what is free by the
 * kernel's word is an estimate, and others live here, too. */
enum { SPARE_SHARE = 64 };

uint64_t memory_total(const struct serve *s)
{
	uint64_t most = uv_get_total_memory();
	uint64_t ours = uv_get_constrained_memory(); /* 0: no limit */
	uint64_t limit, left;

	if (ours)
		most = MIN(most, ours);
	if (cgroup_left(&s->local.groups, &limit, &left))
		most = MIN(most, limit);
	return s->memory_limit ? MIN(most, s->memory_limit) : most;
}

uint64_t memory_observed(const struct serve *s)
{
	uint64_t free = uv_get_free_memory(); /* MemAvailable */
	uint64_t spare = uv_get_total_memory() / SPARE_SHARE;
	uint64_t limit, left;

	free -= MIN(spare, free);
	if (cgroup_left(&s->local.groups, &limit, &left))
		free = MIN(free, left);
	return free;
}

int memory_check(const struct serve *s, const struct spec *spec,
		 struct err *err)
{
	uint32_t n = MAX(spec->scale.min_replicas, 1u);
	uint64_t each = (uint64_t)spec->compute.mem_bytes;
	char needs[32], has[32];

	if (each <= memory_total(s) / n)
		return 0;
	str_human_bytes(each, needs);
	str_human_bytes(memory_total(s), has);
	return err_set(err, E_UNPROCESSABLE,
		       "%s: a replica needs %s (compute.mem) and there are at "
		       "least %u, but this machine has %s: reserve less, or "
		       "have fewer",
		       spec->name, needs, n, has);
}

/* ---- what one takes ---- */

/* Replicas that have processes, or get them. */
static unsigned running(const struct revision *rev)
{
	return revision_places(rev) - revision_resting(rev);
}

struct memory_need memory_need(const struct revision *rev)
{
	const struct measure *m = &rev->measure;
	uint64_t said = (uint64_t)rev->spec->compute.mem_bytes;
	struct memory_need n = {.own = m->own, .shared = m->shared};

	/* Of one alone: the files that it maps are in it. Where they are more
	 * than that they were not meant: they have what memory is left over,
	 * and the kernel drops them for whoever needs it. */
	if (said > m->shared) {
		n.own = said - m->shared;
	} else if (said) {
		n.own = said;
		n.shared = 0;
	}
	if (said)
		n.from = "compute.mem";
	else if (n.own)
		n.from = m->guess_of ? "as the revision before it"
				     : "as measured";
	if (m->ran_out > n.own) {
		n.own = m->ran_out;
		n.from = "since one ran out of memory";
	}
	return n;
}

uint64_t memory_of(const struct revision *rev, unsigned places)
{
	struct memory_need need = memory_need(rev);

	return places ? need.own * places + need.shared : 0;
}

unsigned memory_places(const struct revision *rev)
{
	unsigned places = revision_places(rev), runs = running(rev);

	if (runs == places || rev->state != REVISION_LIVE)
		return runs;
	return MAX(runs, MIN(places, swap_kept(rev)));
}

/* Processes of replicas that are to end. */
static unsigned ending_processes(const struct revision *rev)
{
	unsigned n = 0;

	for (const struct list *it = rev->gone.next; it != &rev->gone;
	     it = it->next)
		n += CONTAINER_OF((struct list *)(uintptr_t)it, struct replica,
				  link)
			     ->process != NULL;
	return n;
}

uint64_t memory_leaving(const struct revision *rev)
{
	struct memory_need need = memory_need(rev);
	unsigned n = ending_processes(rev);
	uint64_t shared = running(rev) ? 0 : need.shared;

	if (!n)
		return 0;
	return need.own * n / MAX(rev->spec->predictor.processes, 1u) + shared;
}

static uint64_t taken_by(const struct revision *rev, unsigned index)
{
	const struct replica *r = NULL;
	uint64_t sum = 0;

	while ((r = replica_next(&rev->replicas, r)))
		if (r->index == index && r->process && r->process->pid > 0)
			sum += resident_of(r->process->pid);
	return sum;
}

struct memory_loading memory_loading(const struct revision *rev)
{
	uint64_t has, each = memory_need(rev).own;
	const struct replica *r = NULL, *last = NULL;
	struct memory_loading l = {0};

	for (; (r = replica_next(&rev->replicas, r)); last = r) {
		if (last && last->index == r->index)
			continue;
		if (!revision_loads(rev, r->index))
			continue;
		has = taken_by(rev, r->index);
		l.taken += has;
		l.left += each - MIN(has, each);
	}
	return l;
}

/* ---- what all take ---- */

struct reserved {
	uint64_t staying; /* by replicas that are wanted */
	uint64_t leaving; /* by those that have not ended yet */
	uint64_t frozen;  /* by those that end for others */
	uint64_t loading; /* that those that start have not taken yet */
};

static void add_all(struct reserved *sum, const struct api *a)
{
	for (const struct list *it = a->revisions.next; it != &a->revisions;
	     it = it->next) {
		const struct revision *rev = CONTAINER_OF(
			(struct list *)(uintptr_t)it, struct revision, link);
		uint64_t bytes = memory_of(rev, memory_places(rev));

		sum->leaving += memory_leaving(rev);
		sum->frozen += memory_need(rev).own * rev->frozen.n;
		sum->loading += memory_loading(rev).left;
		if (rollout_is_prior(rev))
			sum->frozen += bytes;
		else
			sum->staying += bytes;
	}
}

static struct reserved reserved_in(const struct serve *s)
{
	struct reserved sum = {0};
	const struct api *a;

	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));)
		add_all(&sum, a);
	return sum;
}

/* What its api's other revisions have. */
static uint64_t others_of(const struct revision *rev)
{
	uint64_t sum = 0;

	for (const struct list *it = rev->api->revisions.next;
	     it != &rev->api->revisions; it = it->next) {
		const struct revision *other = CONTAINER_OF(
			(struct list *)(uintptr_t)it, struct revision, link);

		if (other != rev && !rollout_is_prior(other))
			sum += memory_of(other, memory_places(other));
	}
	return sum;
}

uint64_t memory_unreserved(const struct serve *s)
{
	struct reserved r = reserved_in(s);
	uint64_t total = memory_total(s), taken = r.staying + r.leaving;

	return total - MIN(taken, total);
}

uint64_t memory_giving_way(const struct serve *s)
{
	return reserved_in(s).frozen + s->zygote_bytes;
}

/* ---- whether one more fits ---- */

/* first: what comes with the first of them. */
static unsigned fit(uint64_t each, uint64_t first, uint64_t left)
{
	return first < left
		       ? (unsigned)MIN((left - first) / each, (uint64_t)INT_MAX)
		       : 0;
}

static uint64_t minus(uint64_t a, uint64_t b)
{
	return a - MIN(a, b);
}

struct memory_room memory_room(const struct revision *rev)
{
	const struct serve *s = rev->api->serve;
	struct memory_room room = {UINT_MAX, UINT_MAX, UINT_MAX};
	struct memory_need need = memory_need(rev);
	uint64_t total = memory_total(s), free, first, giving_way;
	struct reserved r;

	if (!need.own)
		return room;
	first = memory_places(rev) ? 0 : need.shared;
	r = reserved_in(s);
	giving_way = r.frozen + s->zygote_bytes;
	free = minus(memory_observed(s), r.loading);
	room.now = fit(need.own, first,
		       minus(total, r.staying + r.leaving + giving_way));
	room.now = MIN(room.now, fit(need.own, first, free));
	room.soon = r.leaving + giving_way
			    ? fit(need.own, first, minus(total, r.staying))
			    : room.now;
	room.instead =
		fit(need.own, first, minus(total, r.staying - others_of(rev)));
	return room;
}

bool memory_fits_again(const struct revision *rev)
{
	const struct serve *s = rev->api->serve;
	unsigned here = memory_places(rev);
	unsigned again = running(rev) + (revision_resting(rev) > 0);
	struct reserved r;
	uint64_t taken;

	if (!memory_need(rev).own)
		return true;
	r = reserved_in(s);
	taken = r.staying + r.leaving + r.frozen + s->zygote_bytes;
	/* It may have nothing reserved itself. */
	taken += memory_of(rev, MAX(again, here)) - memory_of(rev, here);
	if (taken > memory_total(s))
		return false;
	return r.loading + (revision_resting(rev) ? memory_need(rev).own : 0) <=
	       memory_observed(s);
}

/* What keeps it out, where that is not what is reserved. */
static char *observed_text(const struct revision *rev, uint64_t reserved)
{
	const struct serve *s = rev->api->serve;
	uint64_t total = memory_total(s), free = memory_observed(s);
	char text[32];

	if (reserved < total && free < total - reserved)
		return mem_printf(
			"; others have the rest: %s of this machine is free",
			str_human_bytes(free, text));
	return mem_strdup("");
}

char *memory_text(const struct revision *rev)
{
	const struct serve *s = rev->api->serve;
	struct memory_need need = memory_need(rev);
	struct reserved r = reserved_in(s);
	cleanup_free char *observed = observed_text(rev, r.staying + r.leaving);
	char needs[32], taken[32], has[32], leaving[32];

	return mem_printf(
		"another replica needs %s (%s), but %s of this machine's %s "
		"are reserved by those that are there%s%s%s%s; it is started "
		"when there is room",
		str_human_bytes(need.own + need.shared, needs),
		need.from ? need.from : "it is not known yet",
		str_human_bytes(r.staying + r.leaving, taken),
		str_human_bytes(memory_total(s), has), r.leaving ? ", " : "",
		r.leaving ? str_human_bytes(r.leaving, leaving) : "",
		r.leaving ? " by some that are ending" : "", observed);
}

char *memory_beside_text(const struct revision *rev,
			 const struct revision *other)
{
	const struct serve *s = rev->api->serve;
	struct memory_need need = memory_need(rev);
	struct reserved r = reserved_in(s);
	uint64_t left = minus(memory_total(s), r.staying + r.leaving);
	char needs[32], has[32];

	return mem_printf("there is no memory for a replica of it beside "
			  "revision %lld: it needs %s (%s), and %s is left",
			  (long long)other->number,
			  str_human_bytes(need.own + need.shared, needs),
			  need.from ? need.from : "it is not known yet",
			  str_human_bytes(MIN(left, memory_observed(s)), has));
}
