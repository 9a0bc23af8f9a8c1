/* Weights of a splitter by hand: the others keep their proportions, and all
 * are a hundred together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/mem.h"
#include "serve/serve.h"

enum { MANY = 12 };

static char name[] = "split", blue[] = "blue", green[] = "green",
	    dark[] = "dark", red[] = "red";

struct fixture {
	struct serve serve;
	struct api api;
	struct revision rev;
	struct splitter splitter;
	struct splitter_target targets[MANY];
	struct split_target shares[MANY];
	char *json;
};

static void init(struct fixture *f, const struct splitter_target *targets,
		 size_t n)
{
	*f = (struct fixture){0};
	f->api = (struct api){.serve = &f->serve,
			      .name = name,
			      .want = &f->rev,
			      .splitter = &f->splitter};
	f->splitter = (struct splitter){
		.targets = f->targets, .shares = f->shares, .n = n};
	for (size_t i = 0; i < n; i++) {
		f->targets[i] = targets[i];
		f->targets[i].declared = targets[i].weight;
	}
}

static void weights_add_up(void **state)
{
	uint32_t random = 17;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct splitter_target targets[MANY] = {{.name = NULL}};
		uint32_t weights[MANY], left = 100, sum = 0, n, up, weight;
		struct fixture f;

		random = random * 1664525 + 1013904223;
		n = 2 + (random >> 16) % (MANY - 3);
		for (uint32_t i = 0; i < n; i++) {
			random = random * 1664525 + 1013904223;
			targets[i].weight =
				i + 1 == n ? left : (random >> 16) % (left + 1);
			left -= targets[i].weight;
		}
		targets[n] =
			(struct splitter_target){.weight = 33, .shadow = true};
		init(&f, targets, n + 1);
		up = (random >> 8) % n;
		weight = (random >> 20) % 101;
		splitter_weights(&f.splitter, &f.targets[up], weight, weights);
		for (uint32_t i = 0; i < n; i++)
			sum += weights[i];
		assert_int_equal(sum, 100);
		assert_int_equal(weights[up], weight);
		assert_int_equal(weights[n], 33);
		/* In their proportions, to one percent. */
		for (uint32_t i = 0; i < n && targets[up].weight < 100; i++) {
			int32_t exact =
				(int32_t)(targets[i].weight * (100 - weight) /
					  (100 - targets[up].weight));

			if (i != up && i)
				assert_in_range((int32_t)weights[i] - exact + 1,
						0, 2);
			if (i != up && !targets[i].weight)
				assert_int_equal(weights[i], 0);
		}
	}
}

static const struct splitter_target three[] = {
	{.name = blue, .weight = 60},
	{.name = red, .weight = 40},
	{.name = green, .weight = 0},
	{.name = dark, .weight = 10, .shadow = true}};

static char stored[] =
	"{\"name\":\"split\",\"splitter\":{\"apis\":["
	"{\"name\":\"blue\",\"weight\":60,\"shadow\":false},"
	"{\"name\":\"red\",\"weight\":40,\"shadow\":false},"
	"{\"name\":\"green\",\"weight\":0,\"shadow\":false},"
	"{\"name\":\"dark\",\"weight\":10,\"shadow\":true}],"
	"\"tolerance\":1e-06,\"canary\":{\"api\":\"green\",\"steps\":[5]}}}";

static char stored_two[] = "{\"name\":\"split\",\"splitter\":{\"apis\":["
			   "{\"name\":\"blue\",\"weight\":60,\"shadow\":false},"
			   "{\"name\":\"red\",\"weight\":40,\"shadow\":false}],"
			   "\"tolerance\":1e-06}}";

static void the_spec_has_the_weights_and_no_canary(void **state)
{
	cleanup_free char *json = NULL, *who = NULL;
	struct err err = {0};
	struct fixture f;

	(void)state;
	init(&f, three, ARRAY_LEN(three));
	f.rev.spec_json = stored;
	assert_int_equal(
		splitter_promote(&f.api, "green", 50, &json, &who, &err), 0);
	assert_string_equal(who, "green");
	assert_non_null(strstr(json, "\"blue\",\"weight\":30,"));
	assert_non_null(strstr(json, "\"red\",\"weight\":20,"));
	assert_non_null(strstr(json, "\"green\",\"weight\":50,"));
	assert_non_null(strstr(json, "\"dark\",\"weight\":10,"));
	assert_null(strstr(json, "canary"));
}

static void whom_it_is_about(void **state)
{
	struct ramp ramp = {.state = RAMP_STEPS};
	char *json = NULL, *who = NULL;
	struct fixture f;
	static const struct {
		const char *api, *says;
		size_t n;
		uint32_t weight;
	} wrong[] = {
		{NULL, "has 3 apis that answer", 4, 50},
		{"grey", "has no api 'grey'", 4, 50},
		{"dark", "is the shadow of 'split'", 4, 50},
		{NULL, "has 1 apis that answer", 1, 50},
		{"blue", "is the only api of 'split'", 1, 50},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct err err = {0};

		init(&f, three, wrong[i].n);
		f.rev.spec_json = stored;
		assert_int_not_equal(splitter_promote(&f.api, wrong[i].api,
						      wrong[i].weight, &json,
						      &who, &err),
				     0);
		assert_null(json);
		if (!strstr(err.msg, wrong[i].says))
			fail_msg("%s: not %s", err.msg, wrong[i].says);
	}
	/* The second of two, or the canary of any number. */
	for (size_t n = 2; n <= 4; n += 2) {
		struct err err = {0};

		init(&f, three, n);
		f.rev.spec_json = n == 4 ? stored : stored_two;
		ramp.target = &f.targets[2];
		f.splitter.ramp = n == 4 ? &ramp : NULL;
		assert_int_equal(
			splitter_promote(&f.api, NULL, 100, &json, &who, &err),
			0);
		assert_string_equal(who, n == 4 ? "green" : "red");
		free(mem_take(&json));
		free(mem_take(&who));
	}
}

static void weights_that_are_set_hold_for_requests(void **state)
{
	unsigned had[4] = {0};
	struct fixture f;

	(void)state;
	init(&f, three, ARRAY_LEN(three));
	splitter_set_weights(&f.splitter, &f.targets[2], 50);
	for (int i = 0; i < 1000; i++)
		had[split_next(f.shares, 4)]++;
	assert_int_equal(had[0], 300);
	assert_int_equal(had[1], 200);
	assert_int_equal(had[2], 500);
	assert_int_equal(had[3], 0);
	assert_int_equal(f.targets[3].weight, 10);
	/* What they were given is not forgotten on the way. */
	splitter_set_weights(&f.splitter, &f.targets[2], 100);
	splitter_set_weights(&f.splitter, &f.targets[2], 0);
	assert_int_equal(f.targets[0].weight, 60);
	assert_int_equal(f.targets[1].weight, 40);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(weights_add_up),
		cmocka_unit_test(the_spec_has_the_weights_and_no_canary),
		cmocka_unit_test(whom_it_is_about),
		cmocka_unit_test(weights_that_are_set_hold_for_requests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
