#include "serve/swap.h"

#include <limits.h>

#include "core/mem.h"
#include "core/str.h"
#include "loop/log.h"
#include "serve/memory.h"
#include "serve/serve.h"
#include "serve/swap_parts.h"

enum {
	STEPS_MAX = 64,	 /* in one turn of the loop */
	LATER_MS = 1000, /* the longest that one waits for */
};

static const uint64_t MS = 1000000;

static void on_timer(uv_timer_t *timer);

static void arm(struct serve *s, uint64_t ms)
{
	if (s->swap.open && !s->stopping && !s->yielded)
		uv_timer_start(&s->swap.timer, on_timer, ms, 0);
}

void swap_wake(struct serve *s)
{
	if (s->swap.starving || s->swap.yielding)
		arm(s, 0);
}

/* ---- what policy says ---- */

static void yield(struct revision *rev, unsigned index, bool yielding)
{
	struct replica *r = NULL;

	while ((r = replica_next(&rev->replicas, r)))
		if (r->index == index && r->yielding != yielding)
			replica_yield(r, yielding);
}

static void none_yields(struct revision *rev)
{
	struct replica *r = NULL;

	while ((r = replica_next(&rev->replicas, r)))
		if (r->yielding)
			replica_yield(r, false);
}

/* Nobody waits for their memory any more, or policy says so anew. All are
 * asked: policy sees one place of one revision of an api, and that only while
 * all of its processes are ready. */
static void no_more_yields(struct serve *s)
{
	struct list *it, *tmp;
	struct api *a;

	if (!s->swap.yielding)
		return;
	s->swap.yielding = false;
	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));)
		LIST_EACH (&a->revisions, it, tmp)
			none_yields(LIST_ENTRY(it, struct revision, link));
}

static const char *name_of(const struct swap_look *l, size_t i)
{
	return l->revs[i]->api->name;
}

/* It takes its memory itself, as swap_allows lets it. */
static bool start(const struct swap_look *l, const struct swap_step *step)
{
	struct revision *rev = l->revs[step->model];

	no_more_yields(rev->api->serve);
	revision_step(rev);
	if (!rev->starving)
		return true;
	/* It does not for a reason of its own. */
	arm(rev->api->serve, swap__rule.look / MS);
	return false;
}

static void evict(const struct swap_look *l, const struct swap_step *step)
{
	struct revision *rev = l->revs[step->model];
	struct api *a = rev->api;
	char holds[32];

	str_human_bytes(l->models[step->model].holds, holds);
	log_info(LOG_F(F_S("api", a->name),
		       F_S("for", name_of(l, step->claimant)),
		       F_I("bytes", l->models[step->model].holds)),
		 "a replica leaves, others wait for its memory");
	api_event(a, rev->number, "swap", NULL, NULL,
		  "%s, and leaves: requests of '%s' wait for its %s",
		  step->why == SWAP_EMPTY ? "its requests are over"
					  : "it has nothing to do",
		  name_of(l, step->claimant), holds);
	a->swaps++;
	revision_evict(rev);
}

static void let_yield(const struct swap_look *l, const struct swap_step *step)
{
	struct revision *rev = l->revs[step->model];

	/* Once, though it may be asked again and again while a stream lasts. */
	if (rev->spared_ns <= rev->in_ns)
		api_event(rev->api, rev->number, "swap", NULL, NULL,
			  "takes no new requests: those of '%s' have waited "
			  "for its memory for longer than max_wait",
			  name_of(l, step->claimant));
	rev->api->serve->swap.yielding = true;
	yield(rev, revision_next_to_go(rev).index, true);
}

static void spare(const struct swap_look *l, const struct swap_step *step)
{
	struct revision *rev = l->revs[step->model];

	rev->spared_ns = l->view.now;
	none_yields(rev);
}

/* Who stays, whoever waits: "a keeps 300 MiB". */
static char *keepers(const struct swap_look *l, size_t but)
{
	char *text = mem_strdup(""), bytes[32];

	for (size_t i = 0; i < l->view.n; i++) {
		char *longer;

		if (i == but || !l->models[i].keeps)
			continue;
		longer = mem_printf("%s%s'%s' keeps %s", text,
				    *text ? ", " : "", name_of(l, i),
				    str_human_bytes(l->models[i].keeps, bytes));
		free(text);
		text = longer;
	}
	return text;
}

static void refuse(const struct swap_look *l, const struct swap_step *step)
{
	struct revision *rev = l->revs[step->model];
	struct memory_need need = memory_need(rev);
	cleanup_free char *others = keepers(l, step->model);
	cleanup_free char *text = NULL;
	char needs[32], has[32], total[32];

	if (measure_lower(rev, step->has))
		return;
	text = mem_printf(
		"a replica needs %s (%s), and of the %s that there are it can "
		"have %s at most%s%s%s: let it take less, or let others go to "
		"zero (autoscaling.min_replicas: 0), or give Soma more (the "
		"setting `memory`)",
		str_human_bytes(step->needs, needs),
		need.from ? need.from : "assumed",
		str_human_bytes(l->view.total, total),
		str_human_bytes(step->has, has), *others ? " (" : "", others,
		*others ? ")" : "");
	log_warn(LOG_F(F_S("api", rev->api->name), F_S("why", text)),
		 "it can never have the memory that it needs");
	revision_refuse(rev, text);
}

/* Those that are kept for the next start end before any that is there. */
static bool make_room(struct serve *s, const struct swap_look *l,
		      const struct swap_step *step)
{
	if (step->act == SWAP_WAIT && step->why == SWAP_ENDING)
		return false;
	return rollout_give_way(s) || frozen_give_way(s) ||
	       zygote_give_way(s, l->revs[step->claimant]);
}

static bool wait_for(struct serve *s, const struct swap_look *l,
		     const struct swap_step *step)
{
	uint64_t now = l->view.now;
	uint64_t ns = step->until > now ? step->until - now : 0;

	arm(s, MIN(ns / MS + 1, (uint64_t)LATER_MS));
	return false;
}

/* Whether there is another step now. */
static bool follow(struct serve *s, const struct swap_look *l,
		   const struct swap_step *step)
{
	switch (step->act) {
	case SWAP_START:
		return start(l, step);
	case SWAP_REFUSE:
		refuse(l, step);
		return true;
	case SWAP_UNYIELD:
		spare(l, step);
		return true;
	case SWAP_NONE:
		no_more_yields(s);
		return false;
	default:
		break;
	}
	if (make_room(s, l, step)) {
		arm(s, swap__rule.look / MS);
		return false;
	}
	switch (step->act) {
	case SWAP_EVICT:
		evict(l, step);
		return true;
	case SWAP_YIELD:
		let_yield(l, step);
		return true;
	default:
		return wait_for(s, l, step);
	}
}

static void on_timer(uv_timer_t *timer)
{
	struct serve *s = timer->data;
	bool more = !s->stopping;

	for (unsigned n = 0; more && n < STEPS_MAX; n++) {
		struct swap_look l = swap__look(s, NULL);
		struct swap_step step = swap_next(&l.view, &swap__rule);

		more = follow(s, &l, &step);
		swap__look_fini(&l);
	}
	if (more)
		arm(s, swap__rule.look / MS);
}

/* ---- what others ask ---- */

/* It takes over from an older revision: that is no claim on others. */
static bool is_apart(const struct revision *rev)
{
	return swap__revision(rev->api) != rev;
}

unsigned swap_allows(struct revision *rev)
{
	struct serve *s = rev->api->serve;
	struct swap_look l;
	struct swap_step step;
	unsigned n = UINT_MAX;

	if (!s->swap.starving || is_apart(rev))
		return UINT_MAX;
	l = swap__look(s, rev);
	step = swap_next(&l.view, &swap__rule);
	if (step.act == SWAP_START)
		n = l.revs[step.model] == rev;
	else if (step.act != SWAP_NONE && step.why != SWAP_ELSEWHERE)
		n = 0;
	swap__look_fini(&l);
	return n;
}

bool swap_allows_again(struct revision *rev)
{
	return !rev->api->serve->swap.starving || !revision_resting(rev) ||
	       (rev->state == REVISION_LIVE && swap_kept(rev)) ||
	       swap_allows(rev);
}

/* What comes free by itself, or may go as it is. */
static uint64_t to_be_had(const struct swap_model *m)
{
	if (m->state == SWAP_LEAVING)
		return m->holds;
	if (m->state == SWAP_LOADING)
		return m->kept ? 0 : m->need;
	return m->state == SWAP_IN && !m->kept && !m->in_flight && !m->leases &&
			       !m->waiting
		       ? m->holds
		       : 0;
}

bool swap_helps(struct revision *rev)
{
	struct serve *s = rev->api->serve;
	struct swap_look l;
	uint64_t sum;
	size_t own;

	if (is_apart(rev))
		return false;
	l = swap__look(s, rev);
	own = swap__find(&l, rev);
	sum = l.view.free - MIN(l.view.coming_in, l.view.free);
	sum += l.view.leaving + memory_giving_way(s);
	for (size_t i = 0; i < l.view.n; i++) {
		const struct swap_model *m = &l.models[i];

		sum += i == own ? 0 : to_be_had(m);
		/* What is free is not, for one that loads. */
		if (m->state == SWAP_LOADING)
			sum -= MIN(m->need - m->holds, sum);
	}
	swap__look_fini(&l);
	return own != SIZE_MAX && l.view.total && sum >= memory_of(rev, 1);
}

uint64_t swap_ever(struct revision *rev)
{
	struct swap_look l = swap__look(rev->api->serve, NULL);
	size_t own = swap__find(&l, rev);
	uint64_t ever = l.view.total;

	for (size_t i = 0; i < l.view.n; i++)
		if (i != own)
			ever -= MIN(l.models[i].keeps, ever);
	swap__look_fini(&l);
	return ever;
}

/* ---- its clock ---- */

void swap_open(struct serve *s)
{
	uv_timer_init(s->loop, &s->swap.timer);
	s->swap.timer.data = s;
	s->swap.open = true;
}

static void on_closed(uv_handle_t *handle)
{
	(void)handle;
}

void swap_close(struct serve *s)
{
	s->swap.open = false;
	uv_close((uv_handle_t *)&s->swap.timer, on_closed);
}
