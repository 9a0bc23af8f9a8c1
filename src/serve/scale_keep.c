/*
 * What of an api's number of replicas outlives the daemon.
 */
#include <math.h>
#include <string.h>

#include "core/mem.h"
#include "loop/log.h"
#include "serve/scale_parts.h"
#include "serve/serve.h"

enum {
	KEEP_S = 60,	  /* what is learned is kept so often, at most */
	LEVELS_KEPT = 64, /* those above begin anew */
	WEIGHT_MAX = 1000,
};

static const uint64_t MS = 1000000, S = 1000000000;
static const uint64_t LOAD_MAX = 24 * 3600 * UINT64_C(1000000000);
/* Sums of them must not run over. */
static const uint64_t BYTES_MAX = UINT64_C(1) << 50;

/* ---- as JSON ---- */

static void put_by_hand(yyjson_mut_doc *doc, yyjson_mut_val *root,
			const struct scale *s)
{
	uint64_t now = uv_hrtime();
	int64_t left_ms =
		now < s->held_until ? (int64_t)((s->held_until - now) / MS) : 0;

	if (s->asleep)
		yyjson_mut_obj_add_bool(doc, root, "asleep", true);
	if (!left_ms || !s->held)
		return;
	yyjson_mut_obj_add_uint(doc, root, "held", s->held);
	yyjson_mut_obj_add_int(doc, root, "held_until_ms",
			       log_now_ms() + left_ms);
}

static void put_loads(yyjson_mut_doc *doc, yyjson_mut_val *root,
		      const struct scale *s)
{
	yyjson_mut_val *o = yyjson_mut_obj_add_obj(doc, root, "load_ns");

	for (unsigned t = 0; t < COLD_TIERS; t++)
		if (s->loads[t].mean_ns)
			yyjson_mut_obj_add_uint(doc, o, cold_tier_word(t),
						s->loads[t].mean_ns);
}

/* Of a level three numbers for each bin that any came to: bin, came, ended. */
static void put_gaps(yyjson_mut_doc *doc, yyjson_mut_val *root,
		     const struct autoscale *a)
{
	yyjson_mut_val *levels = yyjson_mut_obj_add_arr(doc, root, "levels");

	for (uint32_t k = 0; k < LEVELS_KEPT && k < a->n_levels; k++) {
		yyjson_mut_val *level = yyjson_mut_arr_add_arr(doc, levels);
		const struct gaps *g = autoscale_gaps(a, k);

		for (uint32_t i = 0; g && i < GAPS_BINS; i++) {
			if (!(g->came[i] > 0))
				continue;
			yyjson_mut_arr_add_uint(doc, level, i);
			yyjson_mut_arr_add_real(doc, level, (double)g->came[i]);
			yyjson_mut_arr_add_real(doc, level,
						(double)g->ended[i]);
		}
	}
}

/* What is the newest revision's alone. */
static void put_revision(yyjson_mut_doc *doc, yyjson_mut_val *root,
			 const struct revision *rev)
{
	yyjson_mut_val *o;

	if (!rev)
		return;
	o = yyjson_mut_obj_add_obj(doc, root, "revision");
	yyjson_mut_obj_add_int(doc, o, "number", rev->number);
	yyjson_mut_obj_add_uint(doc, o, "bytes", rev->measure.bytes);
	yyjson_mut_obj_add_uint(doc, o, "own_bytes", rev->measure.own);
	yyjson_mut_obj_add_uint(doc, o, "shared_bytes", rev->measure.shared);
	yyjson_mut_obj_add_uint(doc, o, "ran_out_bytes", rev->measure.ran_out);
	yyjson_mut_obj_add_uint(doc, o, "looks", rev->measure.looks);
	yyjson_mut_obj_add_uint(doc, o, "at_once", rev->at_once);
}

char *scale_kept_json(const struct api *a)
{
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);

	yyjson_mut_doc_set_root(doc, root);
	put_by_hand(doc, root, &a->scale);
	put_loads(doc, root, &a->scale);
	yyjson_mut_obj_add_uint(doc, root, "service_ns", a->scale.service_ns);
	put_gaps(doc, root, &a->scale.policy);
	put_revision(doc, root, a->want);
	ramp_keep(doc, root, a);
	return json_write(doc, NULL);
}

/* ---- and back ---- */

static uint64_t bounded(yyjson_val *obj, const char *key, uint64_t most)
{
	return (uint64_t)MIN(MAX(json_int(obj, key, 0), (int64_t)0),
			     (int64_t)most);
}

static void recall_by_hand(struct scale *s, yyjson_val *root)
{
	int64_t left_ms = json_int(root, "held_until_ms", 0) - log_now_ms();

	s->asleep = yyjson_get_bool(yyjson_obj_get(root, "asleep"));
	if (left_ms <= 0)
		return;
	/* The clock may have been put back. */
	left_ms = MIN(left_ms, (int64_t)SCALE_HAND_S * 1000);
	s->held = (uint32_t)bounded(root, "held", UINT32_MAX);
	s->held_until = uv_hrtime() + (uint64_t)left_ms * MS;
}

static void recall_level(struct autoscale *a, uint32_t level, yyjson_val *bins)
{
	struct gaps g = {.came = {0}};
	size_t n = yyjson_arr_size(bins);

	for (size_t i = 0; i + 2 < n; i += 3) {
		uint64_t bin = yyjson_get_uint(yyjson_arr_get(bins, i));
		double came = yyjson_get_num(yyjson_arr_get(bins, i + 1));
		double ended = yyjson_get_num(yyjson_arr_get(bins, i + 2));

		if (bin >= GAPS_BINS || !(came > 0))
			continue;
		came = fmin(came, WEIGHT_MAX);
		g.came[bin] = (float)came;
		g.ended[bin] = (float)fmin(fmax(ended, 0), came);
	}
	if (n)
		autoscale_recall(a, level, &g);
}

static void recall_measure(struct measure *m, yyjson_val *o)
{
	m->bytes = bounded(o, "bytes", BYTES_MAX);
	m->own = bounded(o, "own_bytes", BYTES_MAX);
	m->shared = bounded(o, "shared_bytes", BYTES_MAX);
	m->ran_out = bounded(o, "ran_out_bytes", BYTES_MAX);
	m->looks = (uint32_t)bounded(o, "looks", UINT32_MAX);
	/* An older daemon knew the whole alone. */
	if (!m->own)
		m->own = m->bytes;
}

void scale_recall(struct api *a, const char *json)
{
	cleanup_json yyjson_doc *doc =
		json ? json_parse(json, strlen(json), NULL) : NULL;
	yyjson_val *root = yyjson_doc_get_root(doc), *o;
	struct scale *s = &a->scale;
	size_t i, n;

	recall_by_hand(s, root);
	o = yyjson_obj_get(root, "load_ns");
	for (unsigned t = 0; t < COLD_TIERS; t++)
		s->loads[t].mean_ns = bounded(o, cold_tier_word(t), LOAD_MAX);
	s->service_ns = bounded(root, "service_ns", LOAD_MAX);
	s->held_n = s->service_ns ? SCALE_HELD_MAX : 0;
	yyjson_arr_foreach(yyjson_obj_get(root, "levels"), i, n, o)
	{
		if (i < LEVELS_KEPT)
			recall_level(&s->policy, (uint32_t)i, o);
	}
	ramp_recall(a, yyjson_obj_get(root, "canary"));
	o = yyjson_obj_get(root, "revision");
	if (!a->want || json_int(o, "number", -1) != a->want->number)
		return;
	recall_measure(&a->want->measure, o);
	a->want->at_once = (uint32_t)bounded(o, "at_once", UINT32_MAX);
}

/* ---- when ---- */

void scale__changed(struct api *a)
{
	if (a->scale.is_changed)
		return;
	a->scale.is_changed = true;
	list_push_back(&a->serve->changed, &a->scale.changed);
}

void scale__keep(struct api *a, store_done *done, void *data)
{
	cleanup_free char *json = scale_kept_json(a);

	if (a->scale.is_changed)
		list_remove(&a->scale.changed);
	a->scale.is_changed = false;
	a->scale.kept_at = uv_hrtime();
	store_keep_scale(a->serve->store, a->name, json, done, data);
}

void scale_on_measured(struct api *a)
{
	scale__changed(a);
}

void scale_keep_tick(struct serve *s)
{
	uint64_t now = uv_hrtime();
	struct list *it, *tmp;

	LIST_EACH (&s->changed, it, tmp) {
		struct api *a = LIST_ENTRY(it, struct api, scale.changed);

		if (!a->scale.kept_at || now - a->scale.kept_at >= KEEP_S * S)
			scale__keep(a, NULL, NULL);
	}
}

void scale_keep_all(struct serve *s)
{
	struct list *it, *tmp;

	LIST_EACH (&s->changed, it, tmp)
		scale__keep(LIST_ENTRY(it, struct api, scale.changed), NULL,
			    NULL);
}
