/* What is told to policy of memory, and what its word means for a revision. */
#include "scale_fixture.h"

#include "serve/gate_parts.h"
#include "serve/memory.h"
#include "serve/swap_parts.h"

enum { A, B, C, APIS };

#define MIB ((uint64_t)1 << 20)

/* Three apis of 30 MiB each on memory for two. */
struct crowd {
	struct serve serve;
	struct fixture f[APIS];
	struct replica r[APIS];
	struct waiter w[APIS];
	struct http_req req[APIS];
};

static void gather(struct crowd *c)
{
	*c = (struct crowd){.serve = {.memory_limit = 70 * MIB}};
	c->serve.loop = uv_default_loop();
	list_init(&c->serve.busy);
	list_init(&c->serve.changed);
	map_init(&c->serve.apis);
	for (int i = 0; i < APIS; i++) {
		struct fixture *f = &c->f[i];

		init(f);
		f->name[0] = (char)('a' + i);
		f->name[1] = 0;
		f->api.serve = &c->serve;
		list_init(&f->api.revisions);
		list_push_back(&f->api.revisions, &f->rev.link);
		list_init(&f->api.busy);
		list_init(&f->rev.frozen.replicas);
		gate_init(&f->api.gate);
		f->spec.compute.mem_bytes = 30 << 20;
		map_set(&c->serve.apis, f->name, &f->api);
	}
}

static void scatter(struct crowd *c)
{
	for (int i = 0; i < APIS; i++)
		gate_fini(&c->f[i].api.gate);
	map_fini(&c->serve.apis);
}

static void has_replica(struct crowd *c, int i, bool ready)
{
	add(&c->f[i], &c->r[i], 0, 0, ready);
	c->f[i].rev.in_ns = 1;
}

/* A request of it has waited for so long, and there is no memory. */
static void starves(struct crowd *c, int i, uint64_t ns)
{
	struct fixture *f = &c->f[i];

	c->req[i].start_ns = uv_hrtime() - ns;
	c->w[i].req = &c->req[i];
	c->w[i].api = &f->api;
	c->w[i].state = QUEUED;
	list_push_back(&f->api.gate.queue[PRIORITY_NORMAL], &c->w[i].queue);
	f->api.gate.queued++;
	f->rev.starving = true;
	f->rev.starving_ns = uv_hrtime() - ns;
	c->serve.swap.starving++;
}

static struct swap_model seen(struct crowd *c, int i)
{
	struct swap_look l = swap__look(&c->serve, NULL);
	struct swap_model m = l.models[swap__find(&l, &c->f[i].rev)];

	swap__look_fini(&l);
	return m;
}

static struct swap_step next(struct crowd *c, int *ret_model)
{
	struct swap_look l = swap__look(&c->serve, NULL);
	struct swap_step step = swap_next(&l.view, &swap__rule);

	*ret_model = step.act == SWAP_NONE
			     ? -1
			     : l.revs[step.model]->api->name[0] - 'a';
	swap__look_fini(&l);
	return step;
}

static void says_text(char *text, const char *part)
{
	if (!text || !strstr(text, part))
		fail_msg("no '%s' in %s", part, text ? text : "nothing");
	free(text);
}

static void what_a_replica_takes(void **state)
{
	struct memory_need n;
	struct crowd c;
	struct revision *rev = &c.f[A].rev;

	(void)state;
	gather(&c);
	n = memory_need(rev);
	assert_true(n.own == 30 * MIB && !n.shared);
	assert_string_equal(n.from, "compute.mem");
	/* What it says is of one alone: files that all share are in it. */
	rev->measure.own = 12 * MIB;
	rev->measure.shared = 20 * MIB;
	n = memory_need(rev);
	assert_true(n.own == 10 * MIB && n.shared == 20 * MIB);
	assert_true(memory_of(rev, 1) == 30 * MIB);
	assert_true(memory_of(rev, 3) == 50 * MIB);
	assert_true(memory_of(rev, 0) == 0);
	/* More than it says: they are no part of it, and are reserved for
	 * nobody. */
	rev->measure.shared = 40 * MIB;
	n = memory_need(rev);
	assert_true(n.own == 30 * MIB && !n.shared);
	assert_true(memory_of(rev, 2) == 60 * MIB);
	rev->measure.shared = 20 * MIB;
	c.f[A].spec.compute.mem_bytes = 0;
	n = memory_need(rev);
	assert_true(n.own == 12 * MIB);
	assert_string_equal(n.from, "as measured");
	scatter(&c);
}

static void one_that_ran_out_needs_more(void **state)
{
	struct memory_need n;
	struct crowd c;
	struct revision *rev = &c.f[A].rev;

	(void)state;
	gather(&c);
	measure_ran_out(rev, 36 * MIB);
	n = memory_need(rev);
	assert_true(n.own == 54 * MIB);
	assert_string_equal(n.from, "since one ran out of memory");
	assert_true(c.f[A].api.scale.is_changed); /* it is kept */
	/* Never more than it could have at all ... */
	measure_ran_out(rev, 60 * MIB);
	assert_true(memory_need(rev).own == 70 * MIB);
	/* ... beside what stays. */
	rev->measure.ran_out = 0;
	has_replica(&c, B, true);
	c.f[B].spec.scale.min_replicas = 1;
	measure_ran_out(rev, 36 * MIB);
	assert_true(memory_need(rev).own == 40 * MIB);
	/* A limit of its own ends it beyond that. */
	rev->measure.ran_out = 0;
	c.f[A].spec.compute.mem_limit = 35 << 20;
	measure_ran_out(rev, 35 * MIB);
	assert_true(memory_need(rev).own == 35 * MIB);
	scatter(&c);
}

/* What it had, may have and can have is with the files that it maps. */
static void files_are_not_counted_twice(void **state)
{
	struct memory_need n;
	struct swap_step s;
	struct crowd c;
	struct revision *rev = &c.f[A].rev;
	int i;

	(void)state;
	gather(&c);
	c.f[A].spec.compute.mem_bytes = 0;
	rev->measure.own = 4 * MIB;
	rev->measure.shared = 30 * MIB;
	measure_ran_out(rev, 42 * MIB);
	assert_true(memory_need(rev).own == 18 * MIB);
	rev->measure.ran_out = 0;
	c.f[A].spec.compute.mem_limit = 44 << 20;
	measure_ran_out(rev, 44 * MIB);
	assert_true(memory_need(rev).own == 14 * MIB);
	rev->measure.ran_out = 0;
	c.f[A].spec.compute.mem_limit = 0;
	measure_ran_out(rev, 70 * MIB);
	n = memory_need(rev);
	assert_true(n.own + n.shared == 70 * MIB);
	/* Another one stays by now: the guess is in nobody's way, ... */
	has_replica(&c, B, true);
	c.f[B].spec.scale.min_replicas = 1;
	starves(&c, A, SECOND);
	s = next(&c, &i);
	assert_true(s.act == SWAP_REFUSE && s.has == 40 * MIB);
	assert_true(measure_lower(rev, s.has));
	n = memory_need(rev);
	assert_true(n.own + n.shared == 40 * MIB);
	assert_true(next(&c, &i).act == SWAP_START && i == A);
	/* ... what was measured is. */
	rev->measure.own = 11 * MIB;
	assert_true(next(&c, &i).act == SWAP_REFUSE);
	assert_false(measure_lower(rev, 40 * MIB));
	scatter(&c);
}

/* As it was, or as it is taken to be since. */
static void one_that_died_starts_where_its_memory_is(void **state)
{
	struct crowd c;
	struct revision *rev = &c.f[A].rev;

	(void)state;
	gather(&c);
	has_replica(&c, A, false);
	has_replica(&c, B, true);
	c.r[A].state = REPLICA_BACKOFF;
	assert_true(memory_fits_again(rev));
	measure_ran_out(rev, 36 * MIB);
	assert_true(memory_need(rev).own == 54 * MIB);
	assert_false(memory_fits_again(rev));
	/* What others keep for their next start is in the way as well. */
	rev->measure.ran_out = 0;
	c.serve.zygote_bytes = 20 * MIB;
	assert_false(memory_fits_again(rev));
	c.serve.zygote_bytes = 0;
	/* Of one that nothing is known of it is tried. */
	c.f[A].spec.compute.mem_bytes = 0;
	c.serve.memory_limit = MIB;
	assert_true(memory_fits_again(rev));
	scatter(&c);
}

/* With the last request of it its rest begins, not with the last that came. */
static void it_rests_from_its_last_answer_on(void **state)
{
	struct crowd c;
	struct waiter *w = &c.w[A];

	(void)state;
	gather(&c);
	has_replica(&c, A, true);
	w->api = &c.f[A].api;
	w->api->came.at = 7;
	assert_true(seen(&c, A).idle_since == 7);
	gate__take_lease(w);
	gate__end_lease(w);
	assert_true(uv_hrtime() - seen(&c, A).idle_since < SECOND);
	scatter(&c);
}

static void who_is_where(void **state)
{
	struct process p = {.pid = 0};
	struct swap_model m;
	struct crowd c;

	(void)state;
	gather(&c);
	has_replica(&c, A, true);
	has_replica(&c, B, false);
	m = seen(&c, A);
	assert_true(m.state == SWAP_IN && m.holds == 30 * MIB && !m.kept);
	assert_true(m.in_since == 1 && m.patience == SECOND / 10);
	m = seen(&c, B);
	assert_true(m.state == SWAP_LOADING && m.need == 30 * MIB);
	assert_true(m.holds == 0);
	assert_true(seen(&c, C).state == SWAP_OUT);
	/* One that leaves holds its memory until its process has ended. */
	list_remove(&c.r[A].link);
	list_push_back(&c.f[A].rev.gone, &c.r[A].link);
	assert_true(seen(&c, A).state == SWAP_OUT);
	c.r[A].process = &p;
	m = seen(&c, A);
	assert_true(m.state == SWAP_LEAVING && m.holds == 30 * MIB);
	scatter(&c);
}

static void what_is_kept(void **state)
{
	struct crowd c;
	struct replica second;

	(void)state;
	gather(&c);
	has_replica(&c, A, true);
	assert_true(!seen(&c, A).kept && !seen(&c, A).keeps);
	c.f[A].spec.scale.min_replicas = 1;
	assert_true(seen(&c, A).kept && seen(&c, A).keeps == 30 * MIB);
	/* Those beyond are not. */
	add(&c.f[A], &second, 1, 0, true);
	assert_true(!seen(&c, A).kept && seen(&c, A).keeps == 30 * MIB);
	c.f[A].api.scale.held = 2;
	c.f[A].api.scale.held_until = uv_hrtime() + SECOND;
	assert_true(seen(&c, A).kept && seen(&c, A).keeps == 60 * MIB);
	scatter(&c);
}

/* It has no process: what it had is free for whoever waits, until it is
 * started again. */
static void one_in_back_off_holds_nothing(void **state)
{
	struct revision *rev;
	struct swap_step s;
	struct crowd c;
	int i;

	(void)state;
	gather(&c);
	rev = &c.f[A].rev;
	has_replica(&c, A, false);
	has_replica(&c, B, false);
	c.f[B].api.gate.leases = 1;
	c.r[A].state = REPLICA_BACKOFF;
	assert_true(seen(&c, A).state == SWAP_OUT && !seen(&c, A).waiting);
	assert_true(memory_unreserved(&c.serve) == 40 * MIB);
	starves(&c, C, SECOND);
	s = next(&c, &i);
	assert_true(s.act == SWAP_START && i == C);
	/* Its back-off is over, and another has waited for longer. */
	assert_true(memory_fits_again(rev));
	assert_false(swap_allows_again(rev));
	/* What is always to be there is kept, unless it never was. */
	c.f[A].spec.scale.min_replicas = 1;
	assert_true(memory_places(rev) == 1);
	assert_true(memory_unreserved(&c.serve) == 10 * MIB);
	assert_true(swap_allows_again(rev));
	assert_true(seen(&c, A).keeps == 30 * MIB);
	rev->state = REVISION_FAILED;
	assert_true(memory_places(rev) == 0 && !seen(&c, A).keeps);
	scatter(&c);
}

/* For a while: nobody is refused for that. */
static void who_was_told_to_come_again_finds_it(void **state)
{
	struct crowd c;

	(void)state;
	gather(&c);
	has_replica(&c, A, true);
	c.f[A].api.scale.awaited_until = uv_hrtime() + 9 * SECOND;
	c.f[A].rev.in_ns = uv_hrtime();
	assert_true(seen(&c, A).kept && !seen(&c, A).keeps);
	c.f[A].rev.in_ns -= 3 * SECOND;
	assert_true(!seen(&c, A).kept);
	/* While it loads, unless it is known to fail. */
	c.r[A].state = REPLICA_STARTING;
	assert_true(seen(&c, A).kept);
	c.r[A].hopeless = true;
	assert_true(!seen(&c, A).kept);
	scatter(&c);
}

/* Where one is ready and one is in back-off the ready one is what may go. */
static void who_is_ready_goes_before_who_rests(void **state)
{
	struct replica second;
	struct swap_model m;
	struct crowd c;

	(void)state;
	gather(&c);
	has_replica(&c, A, true);
	c.r[A].in_flight = 2;
	add(&c.f[A], &second, 1, 0, false);
	second.state = REPLICA_BACKOFF;
	m = seen(&c, A);
	assert_true(m.state == SWAP_IN && m.in_flight == 2);
	assert_true(m.holds == 30 * MIB);
	assert_int_equal(revision_next_to_go(&c.f[A].rev).index, 0);
	scatter(&c);
}

/* Only one that is under way. */
static void a_failed_rollout_keeps_nothing(void **state)
{
	struct revision newer = {.number = 2, .state = REVISION_UPDATING};
	struct replica third;
	struct crowd c;

	(void)state;
	gather(&c);
	has_replica(&c, A, true);
	newer.spec = &c.f[A].spec;
	newer.api = &c.f[A].api;
	list_init(&newer.replicas);
	list_init(&newer.gone);
	list_init(&newer.frozen.replicas);
	list_push_back(&c.f[A].api.revisions, &newer.link);
	third = (struct replica){.rev = &newer, .state = REPLICA_STARTING};
	list_push_back(&newer.replicas, &third.link);
	c.f[A].api.want = &newer;
	assert_true(seen(&c, A).kept && !seen(&c, A).keeps);
	newer.state = REVISION_FAILED;
	third.state = REPLICA_BACKOFF;
	assert_true(!seen(&c, A).kept && !seen(&c, A).keeps);
	assert_true(memory_unreserved(&c.serve) == 40 * MIB);
	scatter(&c);
}

/* A place loads until all of its processes are ready; in back-off it does not.
 */
static void what_is_still_to_be_taken(void **state)
{
	struct replica second, third;
	struct revision newer = {.number = 2, .state = REVISION_UPDATING};
	struct swap_look l;
	struct crowd c;
	struct revision *rev = &c.f[A].rev;

	(void)state;
	gather(&c);
	c.f[A].spec.predictor.processes = 2;
	has_replica(&c, A, false);
	add(&c.f[A], &second, 0, 1, false);
	assert_true(memory_loading(rev).left == 30 * MIB);
	c.r[A].state = REPLICA_READY;
	assert_true(memory_loading(rev).left == 30 * MIB);
	second.state = REPLICA_READY;
	assert_true(memory_loading(rev).left == 0);
	c.r[A].state = REPLICA_STARTING;
	assert_true(memory_loading(rev).left == 30 * MIB);
	c.r[A].state = second.state = REPLICA_BACKOFF;
	assert_true(memory_loading(rev).left == 0);
	c.r[A].state = second.state = REPLICA_READY;
	/* Policy sees one revision of an api, and hears of the others. */
	newer.spec = &c.f[A].spec;
	newer.api = &c.f[A].api;
	list_init(&newer.replicas);
	list_init(&newer.gone);
	list_init(&newer.frozen.replicas);
	list_push_back(&c.f[A].api.revisions, &newer.link);
	third = (struct replica){.rev = &newer, .state = REPLICA_STARTING};
	list_push_back(&newer.replicas, &third.link);
	c.f[A].api.want = &newer;
	l = swap__look(&c.serve, NULL);
	assert_int_equal(swap__find(&l, &newer), SIZE_MAX);
	assert_true(l.view.coming_in == 30 * MIB);
	swap__look_fini(&l);
	third.state = REPLICA_BACKOFF;
	l = swap__look(&c.serve, NULL);
	assert_true(l.view.coming_in == 0);
	swap__look_fini(&l);
	scatter(&c);
}

static void the_idle_one_makes_room(void **state)
{
	struct swap_step s;
	struct crowd c;
	int i;

	(void)state;
	gather(&c);
	has_replica(&c, A, true);
	has_replica(&c, B, true);
	assert_true(next(&c, &i).act == SWAP_NONE);
	starves(&c, C, SECOND / 100);
	/* A request is with the other one. */
	c.r[A].in_flight = c.r[A].placed = 1;
	s = next(&c, &i);
	assert_true(s.act == SWAP_EVICT && i == B);
	says_text(swap_stay_text(&c.f[B].rev), "it is number 1 to go");
	says_text(swap_stay_text(&c.f[A].rev), "it goes when it is idle");
	says_text(swap_text(&c.f[C].rev),
		  "number 1 of 1 that wait for memory: 'b' makes room");
	/* So are those for which it was loaded. */
	c.f[B].api.gate.leases = 1;
	s = next(&c, &i);
	assert_true(s.act == SWAP_WAIT && s.why == SWAP_PATIENCE);
	says_text(swap_text(&c.f[C].rev), "waited for max_wait (100 ms)");
	assert_false(swap_helps(&c.f[C].rev));
	c.f[B].api.gate.leases = 0;
	assert_true(swap_helps(&c.f[C].rev));
	scatter(&c);
}

static void busy_ones_yield(void **state)
{
	struct swap_step s;
	struct crowd c;
	int i;

	(void)state;
	gather(&c);
	has_replica(&c, A, true);
	has_replica(&c, B, true);
	c.f[A].api.scale.loads[COLD_PROCESS].mean_ns = SECOND;
	c.f[B].api.scale.loads[COLD_PROCESS].mean_ns = SECOND;
	c.f[B].rev.in_ns = uv_hrtime();
	c.r[A].in_flight = c.r[B].in_flight = 1;
	starves(&c, C, SECOND);
	s = next(&c, &i);
	assert_true(s.act == SWAP_YIELD && i == A);
	c.r[A].yielding = true;
	c.r[A].yield_ns = uv_hrtime();
	s = next(&c, &i);
	assert_true(s.act == SWAP_WAIT && s.why == SWAP_FINISHING);
	says_text(swap_text(&c.f[C].rev), "'a' is sent nothing new, and goes");
	says_text(swap_stay_text(&c.f[A].rev), "it is sent nothing new");
	c.r[A].in_flight = 0;
	s = next(&c, &i);
	assert_true(s.act == SWAP_EVICT && i == A && s.why == SWAP_EMPTY);
	scatter(&c);
}

/* Also what policy does not see: a place of which one process loads. */
static void nobody_yields_when_nobody_waits(void **state)
{
	struct replica second;
	struct crowd c;

	(void)state;
	gather(&c);
	c.f[A].spec.predictor.processes = 2;
	has_replica(&c, A, true);
	add(&c.f[A], &second, 0, 1, false);
	c.r[A].yielding = true;
	c.r[A].yield_ns = 1;
	assert_true(seen(&c, A).state == SWAP_LOADING);
	swap_open(&c.serve);
	c.serve.swap.yielding = true;
	swap_wake(&c.serve);
	uv_run(c.serve.loop, UV_RUN_ONCE);
	assert_false(c.r[A].yielding);
	assert_false(c.serve.swap.yielding);
	swap_close(&c.serve);
	uv_run(c.serve.loop, UV_RUN_ONCE);
	scatter(&c);
}

/* Requests wait for one that yields, but those that it was loaded for. */
static void one_that_yields_takes_none_but_its_own(void **state)
{
	struct crowd c;
	struct waiter *w = &c.w[A];

	(void)state;
	gather(&c);
	has_replica(&c, A, true);
	c.r[A].room = 4;
	w->api = &c.f[A].api;
	assert_ptr_equal(gate__pick(w->api, w), &c.r[A]);
	c.r[A].yielding = true;
	assert_null(gate__pick(w->api, w));
	gate__take_lease(w);
	gate__take_lease(w);
	assert_int_equal(w->api->gate.leases, 1);
	assert_ptr_equal(gate__pick(w->api, w), &c.r[A]);
	gate__end_lease(w);
	gate__end_lease(w);
	assert_int_equal(w->api->gate.leases, 0);
	assert_null(gate__pick(w->api, w));
	scatter(&c);
}

static void all_who_wait_have_a_lease_when_it_is_ready(void **state)
{
	struct crowd c;

	(void)state;
	gather(&c);
	starves(&c, A, SECOND);
	gate_lease(&c.f[A].api);
	assert_true(c.w[A].lease);
	assert_int_equal(c.f[A].api.gate.leases, 1);
	gate_lease(&c.f[A].api);
	assert_int_equal(c.f[A].api.gate.leases, 1);
	scatter(&c);
}

static void memory_goes_to_who_waited_longest(void **state)
{
	struct crowd c;

	(void)state;
	gather(&c);
	has_replica(&c, A, true);
	/* Nobody lacks any. */
	assert_int_equal(swap_allows(&c.f[B].rev), UINT32_MAX);
	starves(&c, B, SECOND);
	starves(&c, C, 2 * SECOND);
	assert_int_equal(swap_allows(&c.f[C].rev), 1);
	assert_int_equal(swap_allows(&c.f[B].rev), 0);
	/* Nor to more of one that is there. */
	assert_int_equal(swap_allows(&c.f[A].rev), 0);
	says_text(swap_text(&c.f[C].rev), "there is room");
	says_text(swap_text(&c.f[B].rev), "it is number 2 of 2");
	scatter(&c);
}

/* Its requests go after a short time, and others come. */
static void it_has_waited_since_it_lacks_memory(void **state)
{
	struct crowd c;

	(void)state;
	gather(&c);
	has_replica(&c, A, true);
	starves(&c, B, SECOND);
	starves(&c, C, 2 * SECOND);
	c.f[B].rev.starving_ns = uv_hrtime() - 3 * SECOND;
	assert_true(seen(&c, B).oldest >= 3 * SECOND);
	assert_int_equal(swap_allows(&c.f[B].rev), 1);
	assert_int_equal(swap_allows(&c.f[C].rev), 0);
	scatter(&c);
}

static void too_much_is_refused(void **state)
{
	struct swap_step s;
	struct crowd c;
	int i;

	(void)state;
	gather(&c);
	has_replica(&c, A, true);
	c.f[A].spec.scale.min_replicas = 1;
	c.f[C].spec.compute.mem_bytes = 50 << 20;
	starves(&c, C, 0);
	s = next(&c, &i);
	assert_true(s.act == SWAP_REFUSE && i == C);
	assert_true(s.needs == 50 * MIB && s.has == 40 * MIB);
	assert_true(swap_ever(&c.f[C].rev) == 40 * MIB);
	assert_false(swap_helps(&c.f[C].rev));
	/* Not asked again at once. */
	c.f[C].rev.refused_until = uv_now(c.serve.loop) + 1000;
	assert_true(revision_is_refused(&c.f[C].rev));
	assert_true(revision_cannot_start(&c.f[C].rev));
	assert_true(next(&c, &i).act == SWAP_NONE);
	scatter(&c);
}

static void it_is_shown(void **state)
{
	struct crowd c;

	(void)state;
	gather(&c);
	has_replica(&c, A, true);
	c.f[A].api.scale.wanted = 1;
	tells(&c.f[A], "idle",
	      "A replica takes 30 MiB of memory (compute.mem).");
	tells(&c.f[A], "idle", "it is number 1 to go");
	list_remove(&c.r[A].link);
	c.f[A].api.scale.wanted = 0;
	c.f[A].api.scale.evicted = true;
	tells(&c.f[A], "swapped", "its next request claims some again");
	scatter(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_replica_takes),
		cmocka_unit_test(one_that_ran_out_needs_more),
		cmocka_unit_test(files_are_not_counted_twice),
		cmocka_unit_test(one_that_died_starts_where_its_memory_is),
		cmocka_unit_test(it_rests_from_its_last_answer_on),
		cmocka_unit_test(who_is_where),
		cmocka_unit_test(what_is_kept),
		cmocka_unit_test(one_in_back_off_holds_nothing),
		cmocka_unit_test(who_was_told_to_come_again_finds_it),
		cmocka_unit_test(who_is_ready_goes_before_who_rests),
		cmocka_unit_test(a_failed_rollout_keeps_nothing),
		cmocka_unit_test(what_is_still_to_be_taken),
		cmocka_unit_test(the_idle_one_makes_room),
		cmocka_unit_test(busy_ones_yield),
		cmocka_unit_test(nobody_yields_when_nobody_waits),
		cmocka_unit_test(one_that_yields_takes_none_but_its_own),
		cmocka_unit_test(all_who_wait_have_a_lease_when_it_is_ready),
		cmocka_unit_test(memory_goes_to_who_waited_longest),
		cmocka_unit_test(it_has_waited_since_it_lacks_memory),
		cmocka_unit_test(too_much_is_refused),
		cmocka_unit_test(it_is_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
