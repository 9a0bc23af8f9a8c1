#include "serve/differ.h"

#include <math.h>

#include "core/json.h"
#include "core/mem.h"

enum { DEPTH_MAX = 256 };

struct look {
	double tolerance, largest;
};

static bool values_differ(struct look *l, yyjson_val *a, yyjson_val *b,
			  unsigned depth);

static bool numbers_differ(struct look *l, yyjson_val *a, yyjson_val *b)
{
	double x = yyjson_get_num(a), y = yyjson_get_num(b), by;

	if (x == y)
		return false;
	by = fabs(x - y) / fmax(fabs(x), fabs(y));
	l->largest = fmax(l->largest, by);
	return by > l->tolerance;
}

/* All are looked at, for the largest difference. */
static bool lists_differ(struct look *l, yyjson_val *a, yyjson_val *b,
			 unsigned depth)
{
	yyjson_val *x, *y = yyjson_arr_get_first(b);
	bool differ = false;
	size_t i, n;

	if (yyjson_arr_size(a) != yyjson_arr_size(b))
		return true;
	yyjson_arr_foreach(a, i, n, x)
	{
		differ |= values_differ(l, x, y, depth);
		y = unsafe_yyjson_get_next(y);
	}
	return differ;
}

static bool maps_differ(struct look *l, yyjson_val *a, yyjson_val *b,
			unsigned depth)
{
	yyjson_val *key, *x;
	bool differ = yyjson_obj_size(a) != yyjson_obj_size(b);
	size_t i, n;

	yyjson_obj_foreach(a, i, n, key, x)
	{
		yyjson_val *y = yyjson_obj_getn(b, yyjson_get_str(key),
						yyjson_get_len(key));

		differ |= !y || values_differ(l, x, y, depth);
	}
	return differ;
}

static bool values_differ(struct look *l, yyjson_val *a, yyjson_val *b,
			  unsigned depth)
{
	if (depth > DEPTH_MAX)
		return true;
	if (yyjson_is_num(a) && yyjson_is_num(b))
		return numbers_differ(l, a, b);
	if (yyjson_is_arr(a) && yyjson_is_arr(b))
		return lists_differ(l, a, b, depth + 1);
	if (yyjson_is_obj(a) && yyjson_is_obj(b))
		return maps_differ(l, a, b, depth + 1);
	return !yyjson_equals(a, b);
}

bool answers_differ(struct str a, struct str b, double tolerance,
		    double *ret_largest)
{
	struct look l = {.tolerance = tolerance, .largest = *ret_largest};
	cleanup_json yyjson_doc *x = json_parse(a.p, a.n, NULL);
	cleanup_json yyjson_doc *y = json_parse(b.p, b.n, NULL);
	bool differ;

	if (!x || !y)
		return a.n != b.n || (a.n && memcmp(a.p, b.p, a.n) != 0);
	differ = values_differ(&l, yyjson_doc_get_root(x),
			       yyjson_doc_get_root(y), 0);
	*ret_largest = l.largest;
	return differ;
}
