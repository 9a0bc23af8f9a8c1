#include "spec/value.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "core/mem.h"
#include "core/str.h"

void value_unexpected(struct reader *r, const struct key *k, struct node *n,
		      const char *what)
{
	problem_error(r, n, k->path, "expected %s, found %s", what,
		      node_shown(r, n));
}

/* A bound as one would write it. */
const char *value_bound(struct arena *a, const struct key *k, double v)
{
	static const struct {
		enum key_type type;
		double per;
		const char *unit;
	} units[] = {
		{KEY_DURATION, 3600000, "h"},
		{KEY_DURATION, 60000, "m"},
		{KEY_DURATION, 1000, "s"},
		{KEY_DURATION, 1, "ms"},
		{KEY_CPU, 1000, ""},
		{KEY_CPU, 1, "m"},
		{KEY_BYTES, 1073741824.0, "Gi"},
		{KEY_BYTES, 1048576.0, "Mi"},
	};

	for (size_t i = 0; v > 0 && i < ARRAY_LEN(units); i++)
		if (units[i].type == k->type && fmod(v, units[i].per) == 0)
			return arena_printf(a, "%.0f%s", v / units[i].per,
					    units[i].unit);
	return arena_printf(a, "%.15g", v);
}

bool value_in_range(const struct key *k, double v)
{
	if (!k->ranged)
		return true;
	if (k->above_min ? v <= k->min : v < k->min)
		return false;
	return k->below_max ? v < k->max : v <= k->max;
}

const char *value_range_text(struct arena *a, const struct key *k)
{
	const char *low = value_bound(a, k, k->min);

	if (!k->ranged)
		return "";
	if (isinf(k->max))
		return arena_printf(a, " %s %s",
				    k->above_min ? "above" : "of at least",
				    low);
	return arena_printf(a, " from %s to %s%s", low,
			    k->below_max ? "below " : "",
			    value_bound(a, k, k->max));
}

static void out_of_range(struct reader *r, const struct key *k, struct node *n,
			 const char *noun)
{
	value_unexpected(r, k, n,
			 arena_printf(&r->set->arena, "%s%s", noun,
				      value_range_text(&r->set->arena, k)));
}

static bool read_int(struct reader *r, const struct key *k, struct node *n,
		     int64_t *ret)
{
	int64_t v;

	if (!node_int(n, &v) || !value_in_range(k, (double)v)) {
		out_of_range(r, k, n, "an integer");
		return false;
	}
	*ret = v;
	return true;
}

static bool read_float(struct reader *r, const struct key *k, struct node *n,
		       double *ret)
{
	double v;

	if (!node_float(n, &v) || !value_in_range(k, v)) {
		out_of_range(r, k, n, "a number");
		return false;
	}
	*ret = v;
	return true;
}

static bool is_digits(const char *s)
{
	return *s && !s[strspn(s, "0123456789")];
}

/* Durations, cores, sizes: text with a unit. */
static bool read_quantity(struct reader *r, const struct key *k, struct node *n,
			  int64_t *ret)
{
	const char *noun, *such_as;
	bool ok = n->type == NODE_SCALAR && !node_is_null(n);
	int64_t v = 0;

	if (k->type == KEY_DURATION) {
		ok = ok && str_duration_ms(n->text, &v);
		noun = "a duration";
		such_as = "a duration such as 30s, 5m or 1h30m";
	} else if (k->type == KEY_CPU) {
		ok = ok && str_cpu_millis(n->text, &v);
		noun = "cores";
		such_as = "cores such as 200m, 0.5 or 2";
	} else {
		ok = ok && str_bytes(n->text, &v);
		noun = "a size";
		such_as = "a size such as 512Mi or 2Gi";
	}
	if (ok && value_in_range(k, (double)v)) {
		*ret = v;
		return true;
	}
	if (ok)
		out_of_range(r, k, n, noun);
	else if (k->type == KEY_DURATION && is_digits(n->text))
		problem_error(r, n, k->path,
			      "expected %s, found %s: write %ss for seconds",
			      such_as, problem_quote(r, n->text),
			      problem_clean(r, n->text));
	else
		value_unexpected(r, k, n, such_as);
	return false;
}

int value_word(const char *words, const char *word)
{
	size_t len = strlen(word);
	int at = 0;

	for (const char *p = words; *p; at++) {
		size_t n = strcspn(p, " ");

		if (n == len && memcmp(p, word, n) == 0)
			return at;
		p += n + (p[n] == ' ');
	}
	return -1;
}

/* A count, a percentage up to 100%, or a word of the row. */
static bool read_share(struct reader *r, const struct key *k, struct node *n,
		       const char **ret)
{
	struct str s = {n->text, n->len};
	bool percent = s.n && s.p[s.n - 1] == '%';
	uint64_t v;

	if (n->type == NODE_SCALAR && k->words &&
	    value_word(k->words, n->text) >= 0) {
		*ret = n->text;
		return true;
	}
	s.n -= percent;
	if (n->type == NODE_SCALAR && str_u64(s, &v) &&
	    v <= (percent ? 100 : 10000)) {
		*ret = n->text;
		return true;
	}
	value_unexpected(r, k, n,
			 k->words ? "a count or a percentage, such as 1 or "
				    "25%, or auto"
				  : "a count or a percentage, such as 1 or "
				    "25%");
	return false;
}

/* The words of a row as they are offered: not those that are refused. */
static size_t split_words(struct reader *r, const struct key *k,
			  const char **out, size_t room)
{
	size_t count = 0;

	for (const char *p = k->words; *p && count < room;) {
		size_t n = strcspn(p, " ");
		char *word = arena_strndup(&r->set->arena, p, n);

		if (!key_refusal(k, word))
			out[count++] = word;
		p += n + (p[n] == ' ');
	}
	return count;
}

/* By letters, or as a beginning: warn for warning. */
static const char *nearest_word(const char *word, const char *const *words,
				size_t count)
{
	size_t n = strlen(word);

	for (size_t i = 0; i < count && n >= 2; i++)
		if (strncasecmp(words[i], word, n) == 0)
			return words[i];
	return str_nearest(word, words, count);
}

static bool read_word(struct reader *r, const struct key *k, struct node *n,
		      int *ret)
{
	const char *words[16], *near = NULL, *list = "";
	size_t count = split_words(r, k, words, ARRAY_LEN(words));
	bool text = n->type == NODE_SCALAR && !node_is_null(n);
	int at = text ? value_word(k->words, n->text) : -1;
	const char *why = at >= 0 ? key_refusal(k, n->text) : NULL;

	if (why) {
		problem_error(r, n, k->path, "%s", why);
		return false;
	}
	if (at >= 0) {
		*ret = at;
		return true;
	}
	if (text && n->len <= 40)
		near = nearest_word(n->text, words, count);
	for (size_t i = 0; i < count; i++)
		list = arena_printf(&r->set->arena, "%s%s%s", list,
				    i == 0	     ? ""
				    : i + 1 == count ? " or "
						     : ", ",
				    words[i]);
	problem_error(r, n, k->path, "expected %s, found %s%s%s%s", list,
		      node_shown(r, n), near ? "; did you mean '" : "",
		      near ? near : "", near ? "'?" : "");
	return false;
}

static bool read_named(struct reader *r, const struct key *k, struct node *n,
		       const char **ret)
{
	switch (k->type) {
	case KEY_NAME:
		return value_read_name(r, k, n, ret);
	case KEY_ENDPOINT:
		return value_read_endpoint(r, k, n, ret);
	case KEY_URL_PATH:
		return value_read_url_path(r, k, n, ret);
	case KEY_PROGRAM:
		return value_read_program(r, k, n, ret);
	case KEY_FILE:
	case KEY_PY_FILE:
	case KEY_DIR:
		return value_read_path(r, k, n, ret);
	case KEY_ENGINE:
		return value_read_engine(r, k, n, ret);
	case KEY_SOURCE:
		return value_read_source(r, k, n, ret);
	default:
		*ret = n->text;
		return true;
	}
}

/* What YAML takes for something else is likely meant so, except in texts that
 * may say anything. */
static bool is_other(const struct node *n)
{
	double f;
	bool b;

	return node_bool(n, &b) || node_float(n, &f);
}

static bool read_text(struct reader *r, const struct key *k, struct node *n,
		      const char **ret)
{
	if (n->type != NODE_SCALAR || node_is_null(n) || !n->len) {
		value_unexpected(r, k, n, "a text");
		return false;
	}
	if (!read_named(r, k, n, ret))
		return false;
	if (k->type == KEY_STRING || !is_other(n))
		return true;
	problem_error(r, n, k->path, "expected a text, found %s: quote it",
		      problem_clean(r, n->text));
	return false;
}

bool value_read(struct reader *r, const struct key *k, struct node *n,
		union value *ret)
{
	int at;

	switch (k->type) {
	case KEY_INT:
		return read_int(r, k, n, &ret->i);
	case KEY_FLOAT:
		return read_float(r, k, n, &ret->f);
	case KEY_BOOL:
		if (node_bool(n, &ret->b))
			return true;
		value_unexpected(r, k, n, "true or false");
		return false;
	case KEY_DURATION:
	case KEY_CPU:
	case KEY_BYTES:
		return read_quantity(r, k, n, &ret->i);
	case KEY_SHARE:
		return read_share(r, k, n, &ret->s);
	case KEY_WORD:
		if (!read_word(r, k, n, &at))
			return false;
		ret->s = n->text;
		return true;
	case KEY_CHOICE:
		if (!read_word(r, k, n, &at))
			return false;
		ret->i = at;
		return true;
	default:
		return read_text(r, k, n, &ret->s);
	}
}

void value_store(struct spec *spec, const struct key *k, union value v)
{
	char *field = (char *)spec + k->at;
	uint32_t small = (uint32_t)v.i;
	uint8_t tiny = (uint8_t)v.i;

	if (!k->size)
		return;
	switch (k->type) {
	case KEY_BOOL:
		memcpy(field, &v.b, k->size);
		break;
	case KEY_INT:
	case KEY_DURATION:
	case KEY_CPU:
	case KEY_BYTES:
	case KEY_CHOICE:
		if (k->size == sizeof v.i) {
			memcpy(field, &v.i, k->size);
		} else if (k->size == sizeof small) {
			assert(v.i >= 0 && v.i <= UINT32_MAX);
			memcpy(field, &small, k->size);
		} else {
			assert(k->size == 1 && v.i >= 0 && v.i <= 1);
			memcpy(field, &tiny, k->size);
		}
		break;
	case KEY_FLOAT:
		assert(k->size == sizeof v.f);
		memcpy(field, &v.f, k->size);
		break;
	default:
		assert(k->size == sizeof v.s);
		memcpy(field, &v.s, k->size);
	}
}

void value_set_defaults(struct reader *r, struct spec *spec)
{
	const struct key *k;

	for (size_t i = 0; (k = key_at(i)); i++) {
		struct node n = {
			.type = NODE_SCALAR,
			.text = k->def,
			.len = k->def ? strlen(k->def) : 0,
		};
		union value v;
		bool ok;

		if (!k->size || !k->def || k->again || k->type == KEY_ENV)
			continue;
		if (k->type == KEY_JSON || k->type == KEY_OPTIONS) {
			v.s = k->def;
			value_store(spec, k, v);
			continue;
		}
		if (key_is_texts(k)) {
			texts_set_default(r, k, spec);
			continue;
		}
		ok = value_read(r, k, &n, &v);
		assert(ok);
		value_store(spec, k, v);
	}
}
