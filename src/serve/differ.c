#include "serve/differ.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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
	double x = yyjson_get_num(a), y = yyjson_get_num(b), by, most;

	/* Integers may be more exact than what they are compared as. */
	if (x == y)
		return l->tolerance <= 0 && yyjson_is_int(a) &&
		       yyjson_is_int(b) && !yyjson_equals(a, b);
	most = fmax(fabs(x), fabs(y));
	by = fabs(x / most - y / most); /* x - y may be no number */
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

/* Members by their keys; those of one key in their order. */
static int by_key(const void *a, const void *b)
{
	yyjson_val *const *x = a, *const *y = b;
	size_t n = yyjson_get_len(*x), m = yyjson_get_len(*y);
	int by = memcmp(yyjson_get_str(*x), yyjson_get_str(*y), MIN(n, m));

	if (by)
		return by;
	if (n != m)
		return n < m ? -1 : 1;
	return *x < *y ? -1 : *x > *y;
}

/* Keys, sorted; free() it. */
static yyjson_val **keys_of(yyjson_val *map)
{
	size_t i, n, size = yyjson_obj_size(map);
	yyjson_val **keys = mem_grow(NULL, (size + 1) * sizeof(yyjson_val *));
	yyjson_val *key, *val;

	yyjson_obj_foreach(map, i, n, key, val)
	{
		(void)val;
		keys[i] = key;
	}
	qsort(keys, size, sizeof *keys, by_key);
	return keys;
}

static bool same_key(yyjson_val *a, yyjson_val *b)
{
	return yyjson_get_len(a) == yyjson_get_len(b) &&
	       memcmp(yyjson_get_str(a), yyjson_get_str(b),
		      yyjson_get_len(a)) == 0;
}

/* As they come in most answers. */
static bool same_order(yyjson_val *a, yyjson_val *b)
{
	yyjson_val *key, *val;
	yyjson_obj_iter other;
	size_t i, n;

	yyjson_obj_iter_init(b, &other);
	yyjson_obj_foreach(a, i, n, key, val)
	{
		(void)val;
		if (!same_key(key, yyjson_obj_iter_next(&other)))
			return false;
	}
	return true;
}

static bool pairs_differ(struct look *l, yyjson_val *a, yyjson_val *b,
			 unsigned depth)
{
	yyjson_val *key, *x;
	yyjson_obj_iter other;
	bool differ = false;
	size_t i, n;

	yyjson_obj_iter_init(b, &other);
	yyjson_obj_foreach(a, i, n, key, x)
	{
		yyjson_val *y =
			yyjson_obj_iter_get_val(yyjson_obj_iter_next(&other));

		(void)key;
		differ |= values_differ(l, x, y, depth);
	}
	return differ;
}

/* To look each up would take the square of their number. */
static bool maps_differ(struct look *l, yyjson_val *a, yyjson_val *b,
			unsigned depth)
{
	size_t size = yyjson_obj_size(a);
	cleanup_free yyjson_val **x = NULL;
	cleanup_free yyjson_val **y = NULL;
	bool differ = false;

	if (size != yyjson_obj_size(b))
		return true;
	if (same_order(a, b))
		return pairs_differ(l, a, b, depth);
	x = keys_of(a);
	y = keys_of(b);
	for (size_t i = 0; i < size; i++)
		differ |= !same_key(x[i], y[i]) ||
			  values_differ(l, yyjson_obj_iter_get_val(x[i]),
					yyjson_obj_iter_get_val(y[i]), depth);
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
