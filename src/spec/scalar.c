/* What a plain scalar is. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "spec/tree.h"

static bool one_of(const struct node *n, const char *const *words, size_t count)
{
	if (n->type != NODE_SCALAR || n->quoted)
		return false;
	for (size_t i = 0; i < count; i++)
		if (strcmp(n->text, words[i]) == 0)
			return true;
	return false;
}

bool node_is_null(const struct node *n)
{
	static const char *const words[] = {"", "~", "null", "Null", "NULL"};

	return one_of(n, words, ARRAY_LEN(words));
}

bool node_bool(const struct node *n, bool *ret)
{
	static const char *const yes[] = {"true", "True", "TRUE", "yes", "Yes",
					  "YES",  "on",	  "On",	  "ON"};
	static const char *const no[] = {"false", "False", "FALSE", "no", "No",
					 "NO",	  "off",   "Off",   "OFF"};
	bool is_yes = one_of(n, yes, ARRAY_LEN(yes));

	if (!is_yes && !one_of(n, no, ARRAY_LEN(no)))
		return false;
	*ret = is_yes;
	return true;
}

/* Magnitude of an integer without its sign. */
static bool digits(const char *s, uint64_t *ret)
{
	const char *set = "0123456789";
	int base = 10;
	char *end;

	if (s[0] == '0' && s[1]) {
		base = s[1] == 'x' ? 16 : s[1] == 'o' ? 8 : 0;
		set = base == 16 ? "0123456789abcdefABCDEF" : "01234567";
		s += 2;
	}
	if (!base || !*s || s[strspn(s, set)])
		return false;
	errno = 0;
	*ret = strtoull(s, &end, base);
	return !errno;
}

bool node_uint(const struct node *n, uint64_t *ret)
{
	if (n->type != NODE_SCALAR || n->quoted)
		return false;
	return digits(n->text + (n->text[0] == '+'), ret);
}

bool node_int(const struct node *n, int64_t *ret)
{
	const char *s = n->text;
	bool minus = s[0] == '-';
	uint64_t v;

	if (n->type != NODE_SCALAR || n->quoted)
		return false;
	if (!digits(s + (minus || *s == '+'), &v))
		return false;
	if (v > (uint64_t)INT64_MAX)
		return false;
	*ret = minus ? -(int64_t)v : (int64_t)v;
	return true;
}

static const char *skip_digits(const char *s, size_t *count)
{
	size_t n = strspn(s, "0123456789");

	*count += n;
	return s + n;
}

bool node_float(const struct node *n, double *ret)
{
	const char *s = n->text;
	size_t mantissa = 0, exponent = 0;
	double v;

	if (n->type != NODE_SCALAR || n->quoted)
		return false;
	s += *s == '-' || *s == '+';
	s = skip_digits(s, &mantissa);
	if (*s == '.')
		s = skip_digits(s + 1, &mantissa);
	if (!mantissa)
		return false;
	if (*s == 'e' || *s == 'E') {
		s++;
		s += *s == '-' || *s == '+';
		s = skip_digits(s, &exponent);
		if (!exponent)
			return false;
	}
	if (*s)
		return false;
	v = strtod(n->text, NULL);
	if (!isfinite(v))
		return false;
	*ret = v;
	return true;
}

const char *node_shown(struct reader *r, const struct node *n)
{
	if (n->type == NODE_MAP)
		return n->n ? "a map" : "an empty map";
	if (n->type == NODE_LIST)
		return n->n ? "a list" : "an empty list";
	if (node_is_null(n))
		return "nothing";
	return problem_quote(r, n->text);
}
