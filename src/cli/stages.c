#include "cli/stages.h"

#include <math.h>
#include <stdio.h>

#include "core/mem.h"

static void print_slots(yyjson_val *slots)
{
	double busy = json_num(slots, "busy", -1);
	int64_t n = json_int(slots, "count", 0);

	if (n <= 0 || busy < 0)
		return;
	printf("slots: %lld, busy %.0f%% of the last %lld s\n", (long long)n,
	       round(busy * 100), (long long)json_int(slots, "window_s", 0));
}

static void print_in_flight(yyjson_val *stages)
{
	static const struct {
		const char *stage, *words;
	} all[] = {{"queue", "waiting for a replica"},
		   {"pre", "in pre_predict"},
		   {"ready", "waiting for a slot"},
		   {"predict", "in predict"},
		   {"replica", "in a replica"},
		   {"answer", "being answered"},
		   {"post", "in post_predict"}};
	const char *before = "in flight: ";

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		int64_t n = json_int(stages, all[i].stage, 0);

		if (n <= 0)
			continue;
		printf("%s%lld %s", before, (long long)n, all[i].words);
		before = ", ";
	}
	if (before[0] == ',')
		putchar('\n');
}

static void print_batches(yyjson_val *batches)
{
	double mean = json_num(batches, "mean", -1);

	if (mean >= 0)
		printf("batches: %.1f requests on average\n", mean);
}

void stages_print(yyjson_val *api)
{
	print_slots(yyjson_obj_get(api, "slots"));
	print_in_flight(yyjson_obj_get(api, "stages"));
	print_batches(yyjson_obj_get(api, "batches"));
}
