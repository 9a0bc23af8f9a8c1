#include "cli/split.h"

#include <stdio.h>

static void print_shadow(yyjson_val *t)
{
	printf("shadow %s: %lld copies sent, %lld dropped, %lld failed; of "
	       "%lld compared answers %lld differ, numbers by %g at most\n",
	       json_str(t, "name", "?"), (long long)json_int(t, "copies", 0),
	       (long long)json_int(t, "dropped", 0),
	       (long long)json_int(t, "failed", 0),
	       (long long)json_int(t, "compared", 0),
	       (long long)json_int(t, "differ", 0),
	       json_num(t, "largest_difference", 0));
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
	if (sticky)
		printf("sticky by: %s\n", sticky);
}
