#include "sim/run.h"

#include "core/mem.h"

static const double NS = 1e9;

/* --- ends of requests: a heap, by time -------------------------------------
 */

struct ending {
	uint64_t at, took;
};

struct ends {
	struct ending *all; /* owned */
	size_t n, cap;
};

static void ends_add(struct ends *e, struct ending new)
{
	size_t i = e->n++;

	if (e->n > e->cap) {
		e->cap = MAX(e->cap * 2, (size_t)64);
		e->all = mem_grow(e->all, e->cap * sizeof *e->all);
	}
	for (; i > 0 && e->all[(i - 1) / 2].at > new.at; i = (i - 1) / 2)
		e->all[i] = e->all[(i - 1) / 2];
	e->all[i] = new;
}

static struct ending ends_take(struct ends *e)
{
	struct ending first = e->all[0], last = e->all[--e->n];
	size_t i = 0, child;

	for (; (child = 2 * i + 1) < e->n; i = child) {
		if (child + 1 < e->n && e->all[child + 1].at < e->all[child].at)
			child++;
		if (e->all[child].at >= last.at)
			break;
		e->all[i] = e->all[child];
	}
	if (e->n)
		e->all[i] = last;
	return first;
}

/* --- replicas that load: all take as long, so the oldest is ready first ----
 */

struct loading {
	uint64_t *at; /* owned ring: when each will be ready */
	uint32_t first, n, cap;
};

static void loading_add(struct loading *l, uint64_t at)
{
	if (l->n == l->cap) {
		uint32_t cap = MAX(l->cap * 2, 16u);
		uint64_t *to = mem_alloc(cap * sizeof *to);

		for (uint32_t i = 0; i < l->n; i++)
			to[i] = l->at[(l->first + i) % l->cap];
		free(l->at);
		l->at = to;
		l->first = 0;
		l->cap = cap;
	}
	l->at[(l->first + l->n++) % l->cap] = at;
}

/* --- the run ---------------------------------------------------------------
 */

struct run {
	const struct sim_load *load;
	const struct sim_case *c;
	const struct sim_policy *policy;
	void *with;
	struct sim_state s;
	struct sim_result *sum;
	struct ends ends;
	struct loading loading;
	size_t came, served; /* requests so far */
	uint64_t again;
	double service_ns; /* mean of those that have ended */
	uint32_t n_ended;
	uint64_t since; /* up to when time has been counted */
};

static uint32_t ceil_div(uint32_t a, uint32_t b)
{
	return (a + b - 1) / b;
}

/* Counts the time up to now. */
static void pass(struct run *r, uint64_t now)
{
	double dt = (double)(now - r->since) / NS;
	uint32_t all = r->s.ready + r->s.loading;
	uint32_t busy = ceil_div((uint32_t)r->ends.n, r->c->slots);

	r->s.area += r->s.in_flight * dt;
	r->sum->replica_s += all * dt;
	r->sum->busy_s += busy * dt;
	r->sum->idle_mb_s += (all - MIN(all, busy)) * dt * r->load->mem_mb;
	r->since = r->s.now = now;
}

/* Those with room take those who wait. */
static void serve(struct run *r)
{
	while (r->s.waiting && r->ends.n < (size_t)r->s.ready * r->c->slots) {
		uint64_t came = r->load->at[r->served];
		uint64_t takes = r->load->takes[r->served];

		if (r->s.now - came > r->c->patience)
			r->sum->misses++;
		ends_add(&r->ends, (struct ending){r->s.now + takes, takes});
		r->served++;
		r->s.waiting--;
	}
}

/* As many as the policy wants, as far as that goes at once. */
static void adjust(struct run *r)
{
	struct sim_want w;
	uint32_t want, busy;

	r->s.oldest = r->s.waiting ? r->s.now - r->load->at[r->served] : 0;
	w = r->policy->want(r->with, &r->s);
	want = MIN(w.want, r->c->max);
	r->again = w.again > r->s.now ? w.again : 0;
	while (r->s.ready + r->s.loading < want) {
		loading_add(&r->loading, r->s.now + r->c->load);
		r->s.loading++;
		r->sum->starts++;
	}
	r->sum->most = MAX(r->sum->most, r->s.ready + r->s.loading);
	while (r->s.ready + r->s.loading > want && r->s.loading) {
		r->loading.n--;
		r->s.loading--;
	}
	busy = ceil_div((uint32_t)r->ends.n, r->c->slots);
	r->s.ready = MIN(r->s.ready, MAX(want, busy));
}

/* Each counts alike at first, later the last hundred or so. */
static void learn(struct run *r, uint64_t took)
{
	enum { MEMORY = 100 };

	if (r->n_ended < MEMORY)
		r->n_ended++;
	r->service_ns += ((double)took - r->service_ns) / r->n_ended;
	r->s.service = (uint64_t)r->service_ns + 1;
}

static void end(struct run *r, uint64_t now)
{
	pass(r, now);
	learn(r, ends_take(&r->ends).took);
	r->s.in_flight--;
	serve(r);
	adjust(r);
}

static void come(struct run *r)
{
	pass(r, r->load->at[r->came]);
	r->came++;
	r->s.in_flight++;
	r->s.waiting++;
	if (r->policy->arrived)
		r->policy->arrived(r->with, r->s.now);
	serve(r);
	adjust(r);
}

static void loaded(struct run *r, uint64_t now)
{
	pass(r, now);
	r->loading.first = (r->loading.first + 1) % r->loading.cap;
	r->loading.n--;
	r->s.loading--;
	r->s.ready++;
	serve(r);
	adjust(r);
}

void sim_run(const struct sim_load *load, const struct sim_case *c,
	     const struct sim_policy *policy, struct sim_setting set,
	     struct sim_result *sum)
{
	struct run r = {.load = load, .c = c, .policy = policy, .sum = sum};

	r.with = policy->open(c, set);
	r.s.loads = c->load;
	sum->requests += load->n;
	for (;;) {
		uint64_t arrival =
			r.came < load->n ? load->at[r.came] : UINT64_MAX;
		uint64_t ending = r.ends.n ? r.ends.all[0].at : UINT64_MAX;
		uint64_t ready = r.loading.n ? r.loading.at[r.loading.first]
					     : UINT64_MAX;
		uint64_t again = r.again ? r.again : UINT64_MAX;
		uint64_t next = MIN(MIN(arrival, ending), MIN(ready, again));

		if (next == UINT64_MAX || (next >= load->horizon &&
					   !r.s.in_flight && r.came == load->n))
			break;
		if (next == ending) {
			end(&r, next);
		} else if (next == ready) {
			loaded(&r, next);
		} else if (next == arrival) {
			come(&r);
		} else {
			pass(&r, next);
			adjust(&r);
		}
	}
	sum->misses += r.s.waiting;
	if (r.since < load->horizon)
		pass(&r, load->horizon);
	policy->close(r.with);
	free(r.ends.all);
	free(r.loading.at);
}
