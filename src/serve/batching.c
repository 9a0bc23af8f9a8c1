#include "serve/batching.h"

#include "core/mem.h"
#include "spec/spec.h"

#define NS_MAX (3600 * UINT64_C(1000000000)) /* an hour */

static uint64_t bounded(yyjson_val *v, uint64_t most)
{
	return yyjson_is_uint(v) ? MIN(yyjson_get_uint(v), most) : 0;
}

bool batching_read(struct batching *ret, struct str payload)
{
	cleanup_json yyjson_doc *doc = json_parse(payload.p, payload.n, NULL);
	yyjson_val *root = yyjson_doc_get_root(doc), *v;
	size_t i, n;
	uint32_t last = 0;

	if (!yyjson_is_obj(root))
		return false;
	*ret = (struct batching){
		.size = (uint32_t)bounded(yyjson_obj_get(root, "size"),
					  CURVE_MOST)};
	yyjson_arr_foreach(yyjson_obj_get(root, "points"), i, n, v)
	{
		uint32_t size =
			(uint32_t)bounded(yyjson_arr_get(v, 0), CURVE_MOST);
		uint64_t mean = bounded(yyjson_arr_get(v, 1), NS_MAX);

		if (size <= last || !mean || ret->n == CURVE_CLASSES)
			continue;
		last = size;
		ret->points[ret->n].size = size;
		ret->points[ret->n].mean_ns = mean;
		ret->points[ret->n].p99_ns =
			MAX(bounded(yyjson_arr_get(v, 2), NS_MAX), mean);
		ret->n++;
	}
	return true;
}

static double ms(uint64_t ns)
{
	return (double)ns / 1e6;
}

void batching_put(yyjson_mut_doc *doc, yyjson_mut_val *to,
		  const struct batching *b, const struct spec *spec)
{
	yyjson_mut_val *o, *points;

	if (!b->size) {
		yyjson_mut_obj_add_null(doc, to, "batching");
		return;
	}
	o = yyjson_mut_obj_add_obj(doc, to, "batching");
	yyjson_mut_obj_add_uint(doc, o, "latency_target_ms",
				spec->predictor.latency_target_ms);
	yyjson_mut_obj_add_uint(doc, o, "max_batch_size",
				spec->predictor.max_batch_size);
	yyjson_mut_obj_add_uint(doc, o, "size", b->size);
	points = yyjson_mut_obj_add_arr(doc, o, "points");
	for (uint32_t i = 0; i < b->n; i++) {
		yyjson_mut_val *v = yyjson_mut_arr_add_obj(doc, points);
		double mean = ms(b->points[i].mean_ns);

		yyjson_mut_obj_add_uint(doc, v, "size", b->points[i].size);
		yyjson_mut_obj_add_real(doc, v, "mean_ms", mean);
		yyjson_mut_obj_add_real(doc, v, "p99_ms",
					ms(b->points[i].p99_ns));
		yyjson_mut_obj_add_real(doc, v, "requests_per_s",
					b->points[i].size * 1000 / mean);
	}
}
