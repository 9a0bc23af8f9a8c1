#include "serve/history.h"

#include <string.h>

#include "core/mem.h"
#include "loop/log.h"
#include "serve/serve.h"

/* As many as the store keeps, and one or two that it keeps because they are
 * asked for or live. */
enum { ROWS_MAX = 22 };

static void row_fini(struct history_row *r)
{
	free(r->why);
	free(r->origin);
	free(r->project);
}

void history_fini(struct history *h)
{
	for (size_t i = 0; i < h->n; i++)
		row_fini(&h->rows[i]);
	free(h->rows);
	*h = (struct history){0};
}

void history_add(struct history *h, const struct store_revision *row)
{
	if (h->n == ROWS_MAX) {
		row_fini(&h->rows[0]);
		memmove(h->rows, h->rows + 1, --h->n * sizeof *h->rows);
	}
	h->rows = mem_grow(h->rows, (h->n + 1) * sizeof *h->rows);
	h->rows[h->n++] = (struct history_row){
		.number = row->number,
		.created_ms = row->created_ms,
		.live_ms = row->live_ms,
		.failed_ms = row->failed_ms,
		.why = mem_strdup(row->why),
		.origin = mem_strdup(row->origin),
		.project = mem_strdup(row->project),
	};
}

static struct history_row *find(const struct history *h, int64_t number)
{
	for (size_t i = 0; i < h->n; i++)
		if (h->rows[i].number == number)
			return &h->rows[i];
	return NULL;
}

const struct history_row *history_find(const struct history *h, int64_t number)
{
	return find(h, number);
}

void history_live(struct api *a, int64_t number)
{
	struct history_row *r = find(&a->history, number);

	if (r) {
		r->live_ms = log_now_ms();
		r->failed_ms = 0;
		free(mem_take(&r->why));
	}
	store_mark_live(a->serve->store, a->name, number);
}

void history_failed(struct api *a, int64_t number, const char *why,
		    int64_t back)
{
	struct history_row *r = find(&a->history, number);

	if (r) {
		r->failed_ms = log_now_ms();
		free(r->why);
		r->why = mem_strdup(why);
	}
	store_mark_failed(a->serve->store, a->name, number, why, back);
}

const struct history_row *history_before(const struct history *h,
					 int64_t number)
{
	for (size_t i = h->n; i-- > 0;)
		if (h->rows[i].number < number && h->rows[i].live_ms &&
		    !h->rows[i].failed_ms)
			return &h->rows[i];
	return NULL;
}

/* ---- telling ---- */

static const char *state_of(const struct api *a, const struct history_row *r)
{
	if (a->live && a->live->number == r->number)
		return "live";
	if (r->failed_ms)
		return "failed";
	if (a->want && a->want->number == r->number)
		return "updating";
	return r->live_ms ? "replaced" : "never live";
}

static void put_time(yyjson_mut_doc *doc, yyjson_mut_val *o, const char *key,
		     int64_t ms)
{
	char time[32];

	if (!ms) {
		yyjson_mut_obj_add_null(doc, o, key);
		return;
	}
	log_time(ms, time);
	yyjson_mut_obj_add_strcpy(doc, o, key, time);
}

static void put_text(yyjson_mut_doc *doc, yyjson_mut_val *o, const char *key,
		     const char *text)
{
	if (text)
		yyjson_mut_obj_add_strcpy(doc, o, key, text);
	else
		yyjson_mut_obj_add_null(doc, o, key);
}

/* How far it is is known of the newest alone; of others, whether it failed. */
static void put_canary(yyjson_mut_doc *doc, yyjson_mut_val *o,
		       const struct api *a, const struct history_row *r)
{
	cleanup_free char *text =
		a->splitter && a->splitter->revision == r->number
			? ramp_words(a)
			: NULL;

	put_text(doc, o, "canary", text);
}

static void put_row(yyjson_mut_doc *doc, yyjson_mut_val *o, const struct api *a,
		    const struct history_row *r)
{
	yyjson_mut_obj_add_int(doc, o, "revision", r->number);
	yyjson_mut_obj_add_str(doc, o, "state", state_of(a, r));
	put_text(doc, o, "origin", r->origin);
	put_time(doc, o, "created", r->created_ms);
	put_time(doc, o, "live", r->live_ms);
	put_time(doc, o, "failed", r->failed_ms);
	put_text(doc, o, "why", r->why);
	put_text(doc, o, "project", r->project);
	put_canary(doc, o, a, r);
}

char *history_json(const struct api *a)
{
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc), *arr;

	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_strcpy(doc, root, "name", a->name);
	arr = yyjson_mut_obj_add_arr(doc, root, "revisions");
	for (size_t i = a->history.n; i-- > 0;)
		put_row(doc, yyjson_mut_arr_add_obj(doc, arr), a,
			&a->history.rows[i]);
	return json_write(doc, NULL);
}

void history_put(const struct api *a, yyjson_mut_doc *doc, yyjson_mut_val *root)
{
	const struct history *h = &a->history;
	const struct history_row *r = h->n ? &h->rows[h->n - 1] : NULL;
	yyjson_mut_val *o;

	/* From the moment it has failed: that it leaves is a matter of a tick.
	 */
	if (!r || !r->failed_ms || !a->live || a->live->number == r->number) {
		yyjson_mut_obj_add_null(doc, root, "rolled_back");
		return;
	}
	o = yyjson_mut_obj_add_obj(doc, root, "rolled_back");
	put_row(doc, o, a, r);
	yyjson_mut_obj_add_int(doc, o, "serves", a->live->number);
}
