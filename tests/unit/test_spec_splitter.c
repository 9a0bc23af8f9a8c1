/* TrafficSplitters: what is wrong with their keys, and what is stored. */
#include "test_spec_kit.h"

#define SPLIT(keys)                                                            \
	"name: s\nkind: TrafficSplitter\napis:\n  - {name: a, weight: 90}\n"   \
	"  - {name: b, weight: 10}\n  - {name: c, weight: 5, shadow: true}\n"  \
	"" keys
#define CANARY(keys) SPLIT("canary: {" keys "}\n")

static void a_canary_is_stored_whole(void **state)
{
	static const char want[] =
		"{\"apis\":[{\"name\":\"a\",\"weight\":90,\"shadow\":false},"
		"{\"name\":\"b\",\"weight\":10,\"shadow\":false},"
		"{\"name\":\"c\",\"weight\":5,\"shadow\":true}],"
		"\"tolerance\":0.000001,\"canary\":{\"api\":\"b\",\"steps\":["
		"20,50]"
		",\"end\":80,\"every_ms\":90000,\"min_requests\":100,"
		"\"max_errors\":0.5}}";
	struct spec_set set;

	(void)state;
	assert_int_equal(parse(&set, CANARY("api: b, steps: [20, 50], end: 80, "
					    "every: 1m30s, max_errors: 0.5")),
			 0);
	assert_string_equal(set.specs[0].split_json, want);
	spec_set_fini(&set);
	assert_int_equal(parse(&set, CANARY("api: b, steps: [11]")), 0);
	assert_non_null(strstr(set.specs[0].split_json,
			       "\"end\":100,\"every_ms\":600000,\"min_requests"
			       "\":100,\"max_errors\":1.0"));
	spec_set_fini(&set);
	assert_int_equal(parse(&set, SPLIT("canary:\n")), 0);
	assert_null(strstr(set.specs[0].split_json, "canary"));
	spec_set_fini(&set);
}

static void what_is_wrong_with_a_canary(void **state)
{
	CHECK({CANARY("api: b"),
	       AT "7:9: s: canary.steps: required key is missing; for example "
		  "'steps: [5, 25, 50]'\n"},
	      {CANARY("api: x, steps: [50]"),
	       AT "7:15: s: canary.api: 'x' is none of this splitter's apis: "
		  "add it there, with the weight that it goes back to, such as "
		  "0\n"},
	      {CANARY("api: c, steps: [50]"),
	       AT "7:15: s: canary.api: 'c' is the shadow, which answers "
		  "nobody: take 'shadow: true' at line 6 out, or name "
		  "another\n"},
	      {"name: s\nkind: TrafficSplitter\n"
	       "apis: [{name: a, weight: 100}]\n"
	       "canary: {api: a, steps: [50]}\n",
	       AT "4:15: s: canary.api: 'a' is the only api that answers, and "
		  "what it does not get goes to nobody: add another\n"},
	      {CANARY("api: b, steps: 50"),
	       AT "7:25: s: canary.steps: expected a list from 1 to 50 "
		  "percentages such as [5, 25, 50], found '50'\n"},
	      {CANARY("api: b, steps: [20, 100]"),
	       AT "7:30: s: canary.steps[1]: expected an integer from 1 to 99, "
		  "found '100'\n"},
	      {CANARY("api: b, steps: [20, 20]"),
	       AT "7:30: s: canary.steps[1]: 20 is no more than the step "
		  "before, 20: let the steps grow\n"},
	      {CANARY("api: b, steps: [10, 20], end: 20"),
	       AT "7:26: s: canary.steps: they begin with 10, which is no more "
		  "than its weight in apis, 10: give it less there, or begin "
		  "above\n" AT
		  "7:40: s: canary.end: 20 is no more than the last step, 20: "
		  "leave that step out, or give more\n"},
	      {CANARY("api: b, steps: [20], every: 10ms, max_errors: 100"),
	       AT "7:38: s: canary.every: expected a duration from 1s to 720h, "
		  "found '10ms'\n" AT
		  "7:56: s: canary.max_errors: expected a number from 0 to "
		  "below 100, found '100'\n"});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_canary_is_stored_whole),
		cmocka_unit_test(what_is_wrong_with_a_canary),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
