#include "cli/split.h"

#include <stdio.h>
#include <string.h>

#include "cli/term.h"

static void print_shadow(yyjson_val *t)
{
	printf("shadow %s: %lld copies sent, %lld dropped, %lld failed; of "
	       "%lld compared answers %lld differ, numbers by %g at most (%lld "
	       "could not be compared)\n",
	       json_str(t, "name", "?"), (long long)json_int(t, "copies", 0),
	       (long long)json_int(t, "dropped", 0),
	       (long long)json_int(t, "failed", 0),
	       (long long)json_int(t, "compared", 0),
	       (long long)json_int(t, "differ", 0),
	       json_num(t, "largest_difference", 0),
	       (long long)json_int(t, "not_compared", 0));
}

static double percent(int64_t part, int64_t all)
{
	return all > 0 ? 100.0 * (double)part / (double)all : 0;
}

/* "step 2 of 3, 25%, for 4m12s of 10m" */
static void print_step(yyjson_val *c)
{
	char in[32], of[32];

	printf("canary %s: step %lld of %zu, %lld%%, for %s of %s",
	       json_str(c, "api", "?"), (long long)json_int(c, "step", 0),
	       yyjson_arr_size(yyjson_obj_get(c, "steps")),
	       (long long)json_int(c, "weight", 0),
	       term_age(json_int(c, "in_step_ms", 0), in),
	       term_age(json_int(c, "every_ms", 0), of));
}

static void print_counts(yyjson_val *c)
{
	yyjson_val *others = yyjson_obj_get(c, "others");
	int64_t its = json_int(c, "requests", 0);
	int64_t all = json_int(others, "requests", 0);
	int64_t failed = json_int(c, "errors", 0);
	int64_t theirs = json_int(others, "errors", 0);

	printf("; %lld of its %lld requests failed (%.3g%%; %lld are needed), "
	       "of the others' %lld of %lld (%.3g%%)\n",
	       (long long)failed, (long long)its, percent(failed, its),
	       (long long)json_int(c, "min_requests", 0), (long long)theirs,
	       (long long)all, percent(theirs, all));
}

void split_print_canary(yyjson_val *c)
{
	const char *state = json_str(c, "state", "");
	const char *why = json_str(c, "why", NULL);

	if (!yyjson_is_obj(c))
		return;
	if (strcmp(state, "stepping") == 0) {
		print_step(c);
		print_counts(c);
		if (why)
			printf("last step: %s\n", why);
	} else {
		printf("canary %s\n", why ? why : state);
	}
}

void split_print(yyjson_val *splitter)
{
	const char *sticky = json_str(splitter, "sticky", NULL);
	yyjson_val *list = yyjson_obj_get(splitter, "apis"), *t;
	size_t i, n;

	if (!yyjson_is_obj(splitter))
		return;
	putchar('\n');
	yyjson_arr_foreach(list, i, n, t)
	{
		int64_t missing = json_int(t, "missing", 0);

		printf("%s: %lld%%%s, %lld requests", json_str(t, "name", "?"),
		       (long long)json_int(t, "weight", 0),
		       json_bool(t, "shadow", false) ? " copied" : "",
		       (long long)json_int(t, "requests", 0));
		if (missing)
			printf(", %lld while it was not deployed",
			       (long long)missing);
		putchar('\n');
	}
	yyjson_arr_foreach(list, i, n, t) if (json_bool(t, "shadow", false))
		print_shadow(t);
	split_print_canary(yyjson_obj_get(splitter, "canary"));
	if (sticky)
		printf("sticky by: %s\n", sticky);
}
