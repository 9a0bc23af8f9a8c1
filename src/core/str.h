/* str.h: views of text, and the small parsers that every layer needs. */
#ifndef CORE_STR_H
#define CORE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

/* A view: not owned, not NUL-terminated. */
struct str {
	const char *p;
	size_t n;
};

#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})

static inline struct str str_of(const char *s)
{
	return (struct str){s, s ? strlen(s) : 0};
}

static inline bool str_eq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* ASCII case folded, as header names are compared. */
static inline bool str_ieq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || strncasecmp(a.p, b.p, a.n) == 0);
}

static inline bool str_starts(struct str a, struct str head)
{
	return a.n >= head.n && memcmp(a.p, head.p, head.n) == 0;
}

/* Spaces and tabs off both ends. */
static inline struct str str_trim(struct str s)
{
	while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
		s.p++, s.n--;
	while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

/* Digits only, no sign, no spaces, no overflow. */
bool str_u64(struct str s, uint64_t *ret);

/* Go's durations: "10s", "1.5h", "1h30m", "250ms"; plain "0" too. False when
 * malformed, negative or over 100 years. */
bool str_duration_ms(const char *s, int64_t *ret_ms);

/* Kubernetes quantities. cpu: "200m", "1", "0.5" to thousandths;
 * memory: "512Mi", "1G", "1e9", "1024" to bytes. */
bool str_cpu_millis(const char *s, int64_t *ret_millis);
bool str_bytes(const char *s, int64_t *ret_bytes);

/* "1.5 GiB", "212 KiB", "37 B" into out; returns out. */
const char *str_human_bytes(uint64_t bytes, char out[32]);
/* "1.2 s", "17 ms", "3m 20s" into out; returns out. */
const char *str_human_ms(int64_t ms, char out[32]);

/* The candidate nearest to `word` by edit distance, or NULL when none is
 * near enough to be what was meant. */
const char *str_nearest(const char *word, const char *const *candidates,
			size_t n);

/* Length of the well-formed UTF-8 sequence at s (n bytes left, at least one),
 * or 0. */
size_t str_utf8_at(const char *s, size_t n);

/* Well-formed UTF-8 to its end? */
bool str_is_utf8(struct str s);
/* The same, and nothing in it that terminals act upon? */
bool str_is_plain(struct str s);
/* For words that quote what came from elsewhere and go to logs and terminals:
 * what controls, and what is no whole character, becomes '?'. lines: newlines
 * stay. */
void str_tidy(char *text, bool lines);

/* Lower-case hex of n bytes into out, which has room for 2n+1. */
void str_hex(const void *bytes, size_t n, char *out);

#endif
