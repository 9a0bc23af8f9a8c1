#include "cli/batching.h"

#include "cli/term.h"
#include "core/mem.h"

/* The first that says what it has learned. */
static yyjson_val *find(yyjson_val *replicas, const char **ret_id)
{
	size_t i, n;
	yyjson_val *r;

	yyjson_arr_foreach(replicas, i, n, r)
	{
		yyjson_val *batching = yyjson_obj_get(r, "batching");

		if (!yyjson_arr_size(yyjson_obj_get(batching, "points")))
			continue;
		*ret_id = json_str(r, "id", "?");
		return batching;
	}
	return NULL;
}

void batching_print(yyjson_val *replicas)
{
	static const char *const header[] = {"batch", "time", "p99",
					     "requests/s", ""};
	const char *id = NULL;
	yyjson_val *batching = find(replicas, &id), *points, *p;
	int64_t size = json_int(batching, "size", 0);
	char text[32];
	struct table t;
	size_t i, n;

	if (!batching)
		return;
	printf("\n%s batches up to %lld request%s for a latency of %s:\n", id,
	       (long long)size, size == 1 ? "" : "s",
	       term_latency(json_num(batching, "latency_target_ms", -1), text));
	table_init(&t, ARRAY_LEN(header), header);
	points = yyjson_obj_get(batching, "points");
	yyjson_arr_foreach(points, i, n, p)
	{
		int64_t next =
			json_int(yyjson_arr_get(points, i + 1), "size", 0);
		int64_t this = json_int(p, "size", 0);
		bool used = this <= size && (!next || next > size);

		table_cell(&t, "%lld", (long long)this);
		table_cell(&t, "%s",
			   term_latency(json_num(p, "mean_ms", -1), text));
		table_cell(&t, "%s",
			   term_latency(json_num(p, "p99_ms", -1), text));
		table_cell(&t, "%.0f", json_num(p, "requests_per_s", 0));
		table_cell(&t, "%s", used ? "now" : "");
	}
	table_print(&t);
	table_fini(&t);
}
