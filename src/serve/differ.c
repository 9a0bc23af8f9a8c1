#include "serve/differ.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"

enum { DEPTH_MAX = 256 };

struct look {
	double tolerance, largest;
	struct difference *first; /* to be told; NULL: it was, or is not asked
				     for */
};

/* Where it looks: a member or an item of what is above. */
struct place {
	const struct place *up; /* NULL: all of it */
	const char *key;	/* NULL: of a list */
	size_t index;
	unsigned depth;
};

static bool differ_at(struct look *l, yyjson_val *a, yyjson_val *b,
		      const struct place *at);

/* ---- telling ---- */

static void put_place(struct buf *b, const struct place *at)
{
	if (!at->up)
		return;
	put_place(b, at->up);
	if (!at->key)
		buf_addf(b, "[%zu]", at->index);
	else if (at->key[strspn(at->key, "abcdefghijklmnopqrstuvwxyz"
					 "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
					 "0123456789_-")])
		buf_addf(b, "[\"%s\"]", at->key);
	else
		buf_addf(b, ".%s", at->key);
}

/* What is longer is cut, not through the middle of a character. */
static void put_text(char *out, size_t size, const char *text)
{
	size_t n = strlen(text);

	if (n < size) {
		memcpy(out, text, n + 1);
		return;
	}
	for (n = size - 4; n && ((unsigned char)text[n] & 0xc0) == 0x80;)
		n--;
	memcpy(out, text, n);
	memcpy(out + n, "...", 4);
}

static void put_value(char *out, size_t size, yyjson_val *v)
{
	cleanup_free char *text =
		v ? json_write_val(v, NULL) : mem_strdup("nothing");

	put_text(out, size, text);
	str_tidy(out, false);
}

/* a or b may be NULL: there is none. */
static bool tell(struct look *l, yyjson_val *a, yyjson_val *b,
		 const struct place *at)
{
	struct difference *d = l->first;
	struct buf path;

	if (!d)
		return true;
	l->first = NULL;
	buf_init(&path, 64 * 1024);
	put_place(&path, at);
	put_text(d->path, sizeof d->path, buf_cstr(&path));
	buf_fini(&path);
	str_tidy(d->path, false);
	put_value(d->a, sizeof d->a, a);
	put_value(d->b, sizeof d->b, b);
	return true;
}

/* ---- looking ---- */

static bool numbers_differ(struct look *l, yyjson_val *a, yyjson_val *b,
			   const struct place *at)
{
	double x = yyjson_get_num(a), y = yyjson_get_num(b), by, most;

	/* Integers may be more exact than what they are compared as. */
	if (x == y)
		return l->tolerance <= 0 && yyjson_is_int(a) &&
		       yyjson_is_int(b) && !yyjson_equals(a, b) &&
		       tell(l, a, b, at);
	most = fmax(fabs(x), fabs(y));
	by = fabs(x / most - y / most); /* x - y may be no number */
	l->largest = fmax(l->largest, by);
	return by > l->tolerance && tell(l, a, b, at);
}

/* All are looked at, for the largest difference. */
static bool lists_differ(struct look *l, yyjson_val *a, yyjson_val *b,
			 const struct place *at)
{
	yyjson_val *x = yyjson_arr_get_first(a), *y = yyjson_arr_get_first(b);
	size_t n = yyjson_arr_size(a), m = yyjson_arr_size(b);
	struct place in = {.up = at, .depth = at->depth + 1};
	bool differ = false;

	/* Lists of different sizes tell nothing item by item but where the
	 * first difference is. */
	if (n != m && !l->first)
		return true;
	for (; in.index < MIN(n, m); in.index++) {
		differ |= differ_at(l, x, y, &in);
		x = unsafe_yyjson_get_next(x);
		y = unsafe_yyjson_get_next(y);
	}
	if (n == m)
		return differ;
	return tell(l, n > m ? x : NULL, m > n ? y : NULL, &in);
}

static bool members_differ(struct look *l, yyjson_val *a, yyjson_val *b,
			   const struct place *at)
{
	struct place in = {.up = at, .depth = at->depth + 1};
	bool differ = false;
	yyjson_val *key, *x;
	size_t i, n;

	yyjson_obj_foreach(a, i, n, key, x)
	{
		yyjson_val *y = yyjson_obj_getn(b, yyjson_get_str(key),
						yyjson_get_len(key));

		in.key = yyjson_get_str(key);
		differ |= y ? differ_at(l, x, y, &in) : tell(l, x, NULL, &in);
	}
	return differ;
}

/* The first difference is to be told. */
static bool tell_of_maps(struct look *l, yyjson_val *a, yyjson_val *b,
			 const struct place *at)
{
	struct place in = {.up = at, .depth = at->depth + 1};
	bool differ = members_differ(l, a, b, at);
	yyjson_val *key, *y;
	size_t i, n;

	if (!l->first)
		return differ || yyjson_obj_size(a) != yyjson_obj_size(b);
	yyjson_obj_foreach(b, i, n, key, y)
	{
		in.key = yyjson_get_str(key);
		if (!yyjson_obj_getn(a, in.key, yyjson_get_len(key)))
			differ |= tell(l, NULL, y, &in);
	}
	/* One that is there twice. */
	if (yyjson_obj_size(a) != yyjson_obj_size(b))
		differ |= tell(l, a, b, at);
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
			 const struct place *at)
{
	struct place in = {.up = at, .depth = at->depth + 1};
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
		differ |= differ_at(l, x, y, &in);
	}
	return differ;
}

/* To look each up would take the square of their number. */
static bool maps_differ(struct look *l, yyjson_val *a, yyjson_val *b,
			const struct place *at)
{
	struct place in = {.up = at, .depth = at->depth + 1};
	size_t size = yyjson_obj_size(a);
	cleanup_free yyjson_val **x = NULL;
	cleanup_free yyjson_val **y = NULL;
	bool differ = false;

	if (l->first)
		return tell_of_maps(l, a, b, at);
	if (size != yyjson_obj_size(b))
		return true;
	if (same_order(a, b))
		return pairs_differ(l, a, b, at);
	x = keys_of(a);
	y = keys_of(b);
	for (size_t i = 0; i < size; i++)
		differ |= !same_key(x[i], y[i]) ||
			  differ_at(l, yyjson_obj_iter_get_val(x[i]),
				    yyjson_obj_iter_get_val(y[i]), &in);
	return differ;
}

static bool differ_at(struct look *l, yyjson_val *a, yyjson_val *b,
		      const struct place *at)
{
	if (at->depth > DEPTH_MAX)
		return tell(l, a, b, at);
	if (yyjson_is_num(a) && yyjson_is_num(b))
		return numbers_differ(l, a, b, at);
	if (yyjson_is_arr(a) && yyjson_is_arr(b))
		return lists_differ(l, a, b, at);
	if (yyjson_is_obj(a) && yyjson_is_obj(b))
		return maps_differ(l, a, b, at);
	return !yyjson_equals(a, b) && tell(l, a, b, at);
}

bool values_differ(yyjson_val *a, yyjson_val *b, double tolerance,
		   struct difference *ret)
{
	struct look l = {.tolerance = tolerance, .first = ret};
	const struct place all = {.depth = 0};

	return differ_at(&l, a, b, &all);
}

bool answers_differ(struct str a, struct str b, double tolerance,
		    double *ret_largest)
{
	struct look l = {.tolerance = tolerance, .largest = *ret_largest};
	cleanup_json yyjson_doc *x = json_parse(a.p, a.n, NULL);
	cleanup_json yyjson_doc *y = json_parse(b.p, b.n, NULL);
	const struct place all = {.depth = 0};
	bool differ;

	if (!x || !y)
		return a.n != b.n || (a.n && memcmp(a.p, b.p, a.n) != 0);
	differ = differ_at(&l, yyjson_doc_get_root(x), yyjson_doc_get_root(y),
			   &all);
	*ret_largest = l.largest;
	return differ;
}
