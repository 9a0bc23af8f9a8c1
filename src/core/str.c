#include "core/str.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/mem.h"

bool str_u64(struct str s, uint64_t *ret)
{
	uint64_t v = 0;

	if (!s.n)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		unsigned d = (unsigned char)s.p[i] - (unsigned)'0';

		if (d > 9 || v > (UINT64_MAX - d) / 10)
			return false;
		v = v * 10 + d;
	}
	*ret = v;
	return true;
}

/* A plain decimal number: digits with at most one point; strtod alone would
 * take "inf", "0x1p3", exponents and leading blanks. Sets *end behind it. */
static bool decimal(const char *s, double *ret, const char **end)
{
	char digits[40];
	const char *p = s;

	while (isdigit((unsigned char)*p))
		p++;
	if (*p == '.')
		for (p++; isdigit((unsigned char)*p);)
			p++;
	if (p == s || (p == s + 1 && *s == '.'))
		return false;
	if ((size_t)(p - s) >= sizeof digits)
		return false;
	memcpy(digits, s, (size_t)(p - s));
	digits[p - s] = 0;
	*ret = strtod(digits, NULL);
	*end = p;
	return true;
}

bool str_duration_ms(const char *s, int64_t *ret_ms)
{
	static const struct {
		const char *unit;
		double ms;
	} units[] = {{"ns", 1e-6},	 {"us", 1e-3}, {"ms", 1},
		     {"s", 1000},	 {"m", 60e3},  {"h", 3600e3},
		     {"\xc2\xb5s", 1e-3}};
	const double most = 100.0 * 365 * 24 * 3600e3;
	double total = 0;

	if (strcmp(s, "0") == 0) {
		*ret_ms = 0;
		return true;
	}
	if (!*s)
		return false;
	while (*s) {
		double v;
		size_t u, best = ARRAY_LEN(units);

		if (!decimal(s, &v, &s))
			return false;
		for (u = 0; u < ARRAY_LEN(units); u++) {
			size_t len = strlen(units[u].unit);

			/* "m" is also the head of "ms": the longest wins. */
			if (strncmp(s, units[u].unit, len) == 0 &&
			    (best == ARRAY_LEN(units) ||
			     len > strlen(units[best].unit)))
				best = u;
		}
		if (best == ARRAY_LEN(units))
			return false;
		s += strlen(units[best].unit);
		total += v * units[best].ms;
		if (total > most)
			return false;
	}
	*ret_ms = (int64_t)ceil(total - 1e-9);
	return true;
}

bool str_cpu_millis(const char *s, int64_t *ret_millis)
{
	const char *end;
	double v;

	if (!decimal(s, &v, &end))
		return false;
	if (*end == 'm' && !end[1])
		;
	else if (!*end)
		v *= 1000;
	else
		return false;
	if (v > 1e9)
		return false;
	*ret_millis = (int64_t)ceil(v - 1e-9);
	return true;
}

bool str_bytes(const char *s, int64_t *ret_bytes)
{
	static const struct {
		const char *suffix;
		double factor;
	} units[] = {
		{"", 1},
		{"k", 1e3},
		{"K", 1e3},
		{"M", 1e6},
		{"G", 1e9},
		{"T", 1e12},
		{"P", 1e15},
		{"Ki", 1024.0},
		{"Mi", 1048576.0},
		{"Gi", 1073741824.0},
		{"Ti", 1099511627776.0},
		{"Pi", 1125899906842624.0},
		{"m", 1e-3},
	};
	const char *end;
	double v;

	if (!decimal(s, &v, &end))
		return false;
	if ((*end == 'e' || *end == 'E') && isdigit((unsigned char)end[1])) {
		double power = 0;

		if (!decimal(end + 1, &power, &end) || *end || power > 18)
			return false;
		v *= pow(10, power);
	}
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (strcmp(end, units[i].suffix) != 0)
			continue;
		v *= units[i].factor;
		if (v > 9e18)
			return false;
		*ret_bytes = (int64_t)ceil(v - 1e-9);
		return true;
	}
	return false;
}

const char *str_human_bytes(uint64_t bytes, char out[32])
{
	static const char *const units[] = {"B",   "KiB", "MiB",
					    "GiB", "TiB", "PiB"};
	double v = (double)bytes;
	size_t u = 0;

	while (v >= 1024 && u + 1 < ARRAY_LEN(units))
		v /= 1024, u++;
	snprintf(out, 32, u && v < 10 ? "%.1f %s" : "%.0f %s", v, units[u]);
	return out;
}

const char *str_human_ms(int64_t ms, char out[32])
{
	if (ms < 1000)
		snprintf(out, 32, "%lld ms", (long long)ms);
	else if (ms < 60000)
		snprintf(out, 32, "%.1f s", (double)ms / 1000);
	else if (ms < 3600000)
		snprintf(out, 32, "%lldm %llds", (long long)(ms / 60000),
			 (long long)(ms / 1000 % 60));
	else if (ms < 48 * 3600000LL)
		snprintf(out, 32, "%lldh %lldm", (long long)(ms / 3600000),
			 (long long)(ms / 60000 % 60));
	else
		snprintf(out, 32, "%lldd", (long long)(ms / 86400000));
	return out;
}

/* Levenshtein over at most 63 bytes; longer words are never "near". */
static size_t distance(const char *a, const char *b)
{
	size_t row[64], la = strlen(a), lb = strlen(b);

	if (la > 63 || lb > 63)
		return 64;
	for (size_t j = 0; j <= lb; j++)
		row[j] = j;
	for (size_t i = 1; i <= la; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			size_t up = row[j];
			size_t same = tolower((unsigned char)a[i - 1]) ==
				      tolower((unsigned char)b[j - 1]);
			size_t best = diagonal + (same ? 0 : 1);

			best = MIN(best, up + 1);
			best = MIN(best, row[j - 1] + 1);
			diagonal = up;
			row[j] = best;
		}
	}
	return row[lb];
}

const char *str_nearest(const char *word, const char *const *candidates,
			size_t n)
{
	size_t best = 64, limit = 1 + strlen(word) / 3;
	const char *found = NULL;

	for (size_t i = 0; i < n; i++) {
		size_t d = distance(word, candidates[i]);

		if (d < best) {
			best = d;
			found = candidates[i];
		}
	}
	return best <= limit ? found : NULL;
}

void str_hex(const void *bytes, size_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *b = bytes;

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digits[b[i] >> 4];
		out[2 * i + 1] = digits[b[i] & 15];
	}
	out[2 * n] = 0;
}

bool str_is_utf8(struct str s)
{
	for (size_t i = 0, n; i < s.n; i += n) {
		n = str_utf8_at(s.p + i, s.n - i);
		if (n == 0)
			return false;
	}
	return true;
}

/* Terminals act upon these: C0, DEL, and C1, which UTF-8 writes in two bytes.
 * n: of the character at p. */
static bool controls(const char *p, size_t n)
{
	unsigned char c = (unsigned char)*p;

	return c < ' ' || c == 0x7f ||
	       (n == 2 && c == 0xc2 && (unsigned char)p[1] < 0xa0);
}

bool str_is_plain(struct str s)
{
	for (size_t i = 0, n; i < s.n; i += n) {
		n = str_utf8_at(s.p + i, s.n - i);
		if (n == 0 || controls(s.p + i, n))
			return false;
	}
	return true;
}

void str_tidy(char *text, bool lines)
{
	size_t left = strlen(text);

	while (left) {
		size_t n = str_utf8_at(text, left);

		if (!n || (controls(text, n) && !(lines && *text == '\n'))) {
			*text = '?';
			n = 1;
		}
		text += n;
		left -= n;
	}
}

size_t str_utf8_at(const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *)s;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		return n >= 2 && (p[1] & 0xc0) == 0x80 ? 2 : 0;
	if (p[0] >= 0xe0 && p[0] <= 0xef) {
		if (n < 3 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80)
			return 0;
		if (p[0] == 0xe0 && p[1] < 0xa0)
			return 0;
		if (p[0] == 0xed && p[1] > 0x9f)
			return 0;
		return 3;
	}
	if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		if (n < 4 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80 ||
		    (p[3] & 0xc0) != 0x80)
			return 0;
		if (p[0] == 0xf0 && p[1] < 0x90)
			return 0;
		if (p[0] == 0xf4 && p[1] > 0x8f)
			return 0;
		return 4;
	}
	return 0;
}
