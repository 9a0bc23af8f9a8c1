#include "serve/schedule.h"

#include <string.h>

#include "core/json.h"
#include "core/mem.h"

enum { AHEAD_MIN = 7 * 24 * 60 }; /* looked at at once */

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
		s->n++;
	}
}

void schedule_fini(struct schedule *s)
{
	free(s->items);
	*s = (struct schedule){0};
}

/* It holds for all that began in the last `minutes`: the first of these tells
 * for how long at least; if there is none, the next one to come does. */
static void look(struct schedule_item *item, int64_t minute)
{
	int64_t from = minute - item->minutes + 1;
	int64_t begins = cron_next(&item->cron, from, minute + AHEAD_MIN);

	item->is_on = begins <= minute;
	item->from = minute;
	item->until = item->is_on ? begins + item->minutes : begins;
}

uint32_t schedule_floor(struct schedule *s, int64_t now_s, int64_t *ret_until)
{
	int64_t minute = now_s / 60, until = minute + AHEAD_MIN;
	uint32_t most = 0;

	for (size_t i = 0; i < s->n; i++) {
		struct schedule_item *item = &s->items[i];

		/* Also where the clock was put back. */
		if (minute < item->from || minute >= item->until)
			look(item, minute);
		if (item->is_on)
			most = MAX(most, item->min_replicas);
		until = MIN(until, item->until);
	}
	*ret_until = until * 60;
	return most;
}
