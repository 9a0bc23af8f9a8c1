#include "policy/swap.h"

#include <math.h>

#include "core/mem.h"

static const size_t NOBODY = SIZE_MAX;
static const double NS = 1e9;

const char *swap_why_word(enum swap_why why)
{
	static const char *const words[] = {
		[SWAP_NOBODY] = "nobody",	[SWAP_ROOM] = "room",
		[SWAP_IDLE] = "idle",		[SWAP_EMPTY] = "empty",
		[SWAP_FAIR] = "fair",		[SWAP_ENDING] = "ending",
		[SWAP_FINISHING] = "finishing", [SWAP_PATIENCE] = "patience",
		[SWAP_OVERDUE] = "overdue",	[SWAP_DWELL] = "dwell",
		[SWAP_ELSEWHERE] = "elsewhere", [SWAP_TOO_LARGE] = "too-large",
	};

	return words[why];
}

/* ---- what a model is ---- */

static bool claims(const struct swap_model *m)
{
	return m->state == SWAP_OUT && m->waiting;
}

/* It may go at all, once it has nothing to do. */
static bool may_go(const struct swap_model *m)
{
	return m->state == SWAP_IN && !m->kept && m->holds;
}

static bool is_empty(const struct swap_model *m)
{
	return may_go(m) && !m->in_flight && !m->leases;
}

uint64_t swap_dwell(const struct swap_model *m, const struct swap_rule *rule)
{
	return MAX(rule->dwell, (uint64_t)(m->reload * rule->loads * NS));
}

static uint64_t dwell_ends(const struct swap_model *m,
			   const struct swap_rule *rule)
{
	return MAX(m->in_since, m->spared_since) + swap_dwell(m, rule);
}

/* A moment without a request is no rest: its clients may be about to send the
 * next one. */
static uint64_t rests_at(const struct swap_model *m,
			 const struct swap_rule *rule)
{
	return m->idle_since + rule->lull;
}

static bool is_idle(const struct swap_view *v, const struct swap_rule *rule,
		    size_t i)
{
	const struct swap_model *m = &v->models[i];

	return is_empty(m) && !m->yielding && !m->waiting &&
	       v->now >= rests_at(m, rule);
}

/* It was to become empty, and has not for so long that another one is to. */
static bool is_overdue(const struct swap_model *m, uint64_t now,
		       const struct swap_rule *rule)
{
	return m->yielding && now >= m->yield_since + swap_dwell(m, rule);
}

/* ---- those who claim, the longest first ---- */

static bool claims_before(const struct swap_view *v, size_t a, size_t b)
{
	uint64_t of_a = v->models[a].oldest, of_b = v->models[b].oldest;

	return of_a > of_b || (of_a == of_b && a < b);
}

/* The one behind `last`; NOBODY: the first. */
static size_t next_claimant(const struct swap_view *v, size_t last)
{
	size_t next = NOBODY;

	for (size_t i = 0; i < v->n; i++)
		if (claims(&v->models[i]) &&
		    (last == NOBODY || claims_before(v, last, i)) &&
		    (next == NOBODY || claims_before(v, i, next)))
			next = i;
	return next;
}

size_t swap_place(const struct swap_view *v, size_t i, size_t *ret_of)
{
	size_t place = 0, n = 0;

	for (size_t c = next_claimant(v, NOBODY); c != NOBODY;
	     c = next_claimant(v, c)) {
		n++;
		if (c == i)
			place = n;
	}
	*ret_of = n;
	return place;
}

/* ---- those that are idle, the one of the least value first ---- */

static double value(const struct swap_model *m)
{
	return m->reload * m->per_s / (double)m->holds;
}

static bool goes_before(const struct swap_view *v, size_t a, size_t b)
{
	const struct swap_model *x = &v->models[a], *y = &v->models[b];
	double of_x = value(x), of_y = value(y);

	if (of_x < of_y || of_y < of_x)
		return of_x < of_y;
	if (x->idle_since != y->idle_since)
		return x->idle_since < y->idle_since;
	return a < b;
}

static size_t next_idle(const struct swap_view *v, const struct swap_rule *rule,
			size_t last)
{
	size_t next = NOBODY;

	for (size_t i = 0; i < v->n; i++)
		if (is_idle(v, rule, i) &&
		    (last == NOBODY || goes_before(v, last, i)) &&
		    (next == NOBODY || goes_before(v, i, next)))
			next = i;
	return next;
}

static size_t idle_before(const struct swap_view *v,
			  const struct swap_rule *rule, size_t next)
{
	size_t last = NOBODY;

	for (size_t i = 0; i < v->n; i++)
		if (is_idle(v, rule, i) && goes_before(v, i, next) &&
		    (last == NOBODY || goes_before(v, last, i)))
			last = i;
	return last;
}

size_t swap_goes(const struct swap_view *v, const struct swap_rule *rule,
		 size_t i)
{
	size_t place = 1;

	if (!is_idle(v, rule, i))
		return 0;
	for (size_t k = 0; k < v->n; k++)
		place += is_idle(v, rule, k) && goes_before(v, k, i);
	return place;
}

/* Of the idle ones, the first of those that are to go for so many bytes. As
 * many as are enough are taken by their value; of these, those stay without
 * which it is enough all the same, the most valuable ones first. */
static size_t choose_idle(const struct swap_view *v,
			  const struct swap_rule *rule, uint64_t bytes)
{
	size_t last = NOBODY, chosen = NOBODY;
	uint64_t sum = 0;

	while (sum < bytes) {
		size_t next = next_idle(v, rule, last);

		if (next == NOBODY)
			break;
		sum += v->models[next].holds;
		last = next;
	}
	for (size_t i = last; i != NOBODY; i = idle_before(v, rule, i)) {
		uint64_t holds = v->models[i].holds;

		if (sum >= holds && sum - holds >= bytes)
			sum -= holds;
		else
			chosen = i;
	}
	return chosen;
}

/* ---- the bytes of a view ---- */

struct sums {
	uint64_t kept;	     /* stay, whoever waits; the claimant's aside */
	uint64_t coming_in;  /* that those that load have still to take */
	uint64_t leaving;    /* come free by themselves */
	uint64_t idle;	     /* may go at once */
	uint64_t yielding;   /* come free when their requests are over, ... */
	uint64_t overdue;    /* ... which takes long already */
	uint64_t ready;	     /* of the busy ones whose dwell is over, ... */
	uint64_t not_yet;    /* ... and is not */
	uint64_t loading;    /* may go later */
	uint64_t dwell_ends; /* of the first whose is not over; UINT64_MAX */
	uint64_t rests_at;   /* the first of those that are empty is idle */
	size_t empty;	/* one that has yielded and may go now, or NOBODY */
	size_t late;	/* one that is overdue */
	size_t longest; /* of the ready ones, in for the longest */
};

static void add_in(struct sums *s, const struct swap_view *v, size_t i,
		   const struct swap_rule *rule)
{
	const struct swap_model *m = &v->models[i];

	if (!may_go(m))
		return;
	if (is_empty(m) && !m->yielding && !m->waiting &&
	    rests_at(m, rule) > v->now)
		s->rests_at = MIN(s->rests_at, rests_at(m, rule));
	if (is_idle(v, rule, i)) {
		s->idle += m->holds;
	} else if (m->yielding) {
		if (is_empty(m))
			s->empty = i;
		else if (is_overdue(m, v->now, rule)) {
			s->overdue += m->holds;
			s->late = i;
		} else
			s->yielding += m->holds;
	} else if (v->now >= dwell_ends(m, rule)) {
		s->ready += m->holds;
		if (s->longest == NOBODY ||
		    m->in_since < v->models[s->longest].in_since)
			s->longest = i;
	} else {
		s->not_yet += m->holds;
		s->dwell_ends = MIN(s->dwell_ends, dwell_ends(m, rule));
	}
}

static struct sums sums_of(const struct swap_view *v, size_t claimant,
			   const struct swap_rule *rule)
{
	struct sums s = {.coming_in = v->coming_in,
			 .leaving = v->leaving,
			 .dwell_ends = UINT64_MAX,
			 .rests_at = UINT64_MAX,
			 .empty = NOBODY,
			 .late = NOBODY,
			 .longest = NOBODY};

	for (size_t i = 0; i < v->n; i++) {
		const struct swap_model *m = &v->models[i];

		if (i != claimant)
			s.kept += m->keeps;
		if (m->state == SWAP_IN) {
			add_in(&s, v, i, rule);
		} else if (m->state == SWAP_LEAVING) {
			s.leaving += m->holds;
		} else if (m->state == SWAP_LOADING) {
			s.coming_in += m->need - MIN(m->holds, m->need);
			s.loading += m->kept ? 0 : m->need;
		}
	}
	return s;
}

/* ---- the step for one who claims ---- */

static struct swap_step act(enum swap_act act, enum swap_why why, size_t model)
{
	return (struct swap_step){.act = act, .why = why, .model = model};
}

static struct swap_step wait_until(enum swap_why why, size_t model,
				   uint64_t until)
{
	struct swap_step s = act(SWAP_WAIT, why, model);

	s.until = until;
	return s;
}

/* So many bytes are missing, and those who are idle have not enough. */
static struct swap_step of_the_busy(const struct swap_view *v,
				    const struct swap_rule *rule, size_t i,
				    const struct sums *s, uint64_t missing)
{
	const struct swap_model *m = &v->models[i];
	uint64_t soon = s->leaving + s->idle + s->yielding;
	uint64_t look = v->now + rule->look;

	uint64_t others = soon + s->ready + s->not_yet + s->loading;

	/* It does without those that are overdue, or these serve on. */
	if (s->overdue && others < missing)
		return act(SWAP_UNYIELD, SWAP_OVERDUE, s->late);
	if (others < missing)
		return wait_until(SWAP_ELSEWHERE, i, look);
	if (m->oldest < m->patience)
		return wait_until(
			SWAP_PATIENCE, i,
			MIN(v->now + (m->patience - m->oldest), s->rests_at));
	if (soon >= missing && s->leaving + s->yielding >= missing)
		return wait_until(SWAP_FINISHING, i, look);
	if (soon >= missing)
		return act(SWAP_EVICT, SWAP_IDLE,
			   choose_idle(v, rule,
				       missing - s->leaving - s->yielding));
	/* Nobody stands still before it is of use. */
	if (soon + s->ready >= missing)
		return act(SWAP_YIELD, SWAP_FAIR, s->longest);
	if (s->dwell_ends != UINT64_MAX)
		return wait_until(SWAP_DWELL, i,
				  MIN(s->dwell_ends, s->rests_at));
	return wait_until(SWAP_DWELL, i, look);
}

static struct swap_step step_for(const struct swap_view *v,
				 const struct swap_rule *rule, size_t i)
{
	const struct swap_model *m = &v->models[i];
	struct sums s = sums_of(v, i, rule);
	uint64_t room = v->free - MIN(s.coming_in, v->free);
	uint64_t ever = v->total - MIN(s.kept, v->total);
	uint64_t missing = m->need - MIN(room, m->need);
	struct swap_step step;

	if (m->need > ever)
		step = act(SWAP_REFUSE, SWAP_TOO_LARGE, i);
	else if (!missing)
		step = act(SWAP_START, SWAP_ROOM, i);
	else if (s.leaving >= missing)
		step = wait_until(SWAP_ENDING, i, v->now + rule->look);
	else if (s.empty != NOBODY)
		step = act(SWAP_EVICT, SWAP_EMPTY, s.empty);
	else if (s.leaving + s.idle >= missing)
		step = act(SWAP_EVICT, SWAP_IDLE,
			   choose_idle(v, rule, missing - s.leaving));
	else
		step = of_the_busy(v, rule, i, &s, missing);
	step.claimant = i;
	step.needs = m->need;
	step.has = step.act == SWAP_REFUSE ? ever : room;
	return step;
}

struct swap_step swap_next(const struct swap_view *v,
			   const struct swap_rule *rule)
{
	struct swap_step first = {.act = SWAP_NONE, .why = SWAP_NOBODY};

	for (size_t i = next_claimant(v, NOBODY); i != NOBODY;
	     i = next_claimant(v, i)) {
		const struct swap_model *m = &v->models[i];
		struct swap_step step = step_for(v, rule, i);

		if (step.act != SWAP_WAIT)
			return step;
		if (first.act == SWAP_NONE)
			first = step;
		first.until = MIN(first.until, step.until);
		if (m->oldest >= m->patience && step.why != SWAP_ELSEWHERE)
			break;
	}
	return first;
}

/* ---- what is known of a model ---- */

static double faded(const struct swap_rate *r, uint64_t now)
{
	uint64_t since = now - MIN(r->at, now);

	return r->n * exp(-(double)since / NS / SWAP_FADE_S);
}

void swap_arrived(struct swap_rate *r, uint64_t now)
{
	r->n = faded(r, now) + 1;
	r->at = now;
}

double swap_per_s(const struct swap_rate *r, uint64_t now)
{
	return faded(r, now) / SWAP_FADE_S;
}

uint64_t swap_raised(uint64_t known, uint64_t had, uint64_t limit,
		     uint64_t most)
{
	uint64_t base = MAX(known, had);
	uint64_t raised = base + base / 2;

	if (limit)
		raised = MIN(raised, limit);
	return MAX(MIN(raised, most), MIN(known, most));
}
