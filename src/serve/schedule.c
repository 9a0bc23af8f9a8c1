#include "serve/schedule.h"

#include <string.h>

#include "core/json.h"
#include "core/mem.h"

void schedule_init(struct schedule *s, const char *json)
{
	cleanup_json yyjson_doc *doc =
		json ? json_parse(json, strlen(json), NULL) : NULL;
	yyjson_val *list = yyjson_obj_get(yyjson_doc_get_root(doc), "items"),
		   *v;
	size_t i, n;

	*s = (struct schedule){0};
	if (!yyjson_arr_size(list))
		return;
	s->items = mem_alloc(yyjson_arr_size(list) * sizeof *s->items);
	yyjson_arr_foreach(list, i, n, v)
	{
		struct schedule_item *item = &s->items[s->n];

		/* It was read when it came; what the store has was not. */
		if (cron_parse(&item->cron, json_str(v, "cron", ""), NULL))
			continue;
		item->minutes = json_int(v, "for", 0) / 60000;
		item->min_replicas = (uint32_t)json_int(v, "min_replicas", 0);
		item->looked = item->begun = -1;
		s->n++;
	}
}

void schedule_fini(struct schedule *s)
{
	free(s->items);
	*s = (struct schedule){0};
}

static bool names(const struct cron *c, int64_t minute)
{
	time_t t = (time_t)(minute * 60);
	struct tm tm;

	return localtime_r(&t, &tm) && cron_matches(c, &tm);
}

static bool is_on(struct schedule_item *item, int64_t minute)
{
	int64_t from = minute - item->minutes + 1;

	/* The clock was put back: what has begun may not have. */
	if (minute < item->looked)
		item->looked = item->begun = -1;
	for (int64_t m = MAX(from, item->looked + 1); m <= minute; m++)
		if (names(&item->cron, m))
			item->begun = m;
	item->looked = minute;
	return item->begun >= 0 && item->begun >= from;
}

uint32_t schedule_floor(struct schedule *s, int64_t now_s)
{
	uint32_t most = 0;

	for (size_t i = 0; i < s->n; i++)
		if (is_on(&s->items[i], now_s / 60))
			most = MAX(most, s->items[i].min_replicas);
	return most;
}
