#include "sim/csv.h"

#include <math.h>
#include <stdlib.h>

#include "core/inflate.h"
#include "core/mem.h"
#include "loop/file.h"

enum { FILE_MAX = 64 << 20, FIELD_MAX = 64 };

static bool is_gzip(struct str s)
{
	return s.n > 2 && (unsigned char)s.p[0] == 0x1f &&
	       (unsigned char)s.p[1] == 0x8b;
}

int csv_open(struct csv *c, const char *path, struct err *err)
{
	struct str raw;
	struct buf out;
	size_t len;

	*c = (struct csv){0};
	if (file_read(path, FILE_MAX, &c->text, &len, err))
		return err->code;
	raw = (struct str){c->text, len};
	if (is_gzip(raw)) {
		if (inflate_body(INFLATE_GZIP, raw, FILE_MAX, &out, err)) {
			csv_close(c);
			return err_set(err, E_INVALID,
				       "%s is not a whole gzip file", path);
		}
		free(c->text);
		c->text = buf_take(&out, &len);
		raw = (struct str){c->text, len};
	}
	c->path = mem_strdup(path);
	c->rest = raw;
	if (!csv_next(c)) {
		csv_close(c);
		return err_set(err, E_INVALID, "%s is empty", path);
	}
	return 0;
}

void csv_close(struct csv *c)
{
	free(c->path);
	free(c->text);
	free(c->fields);
	*c = (struct csv){0};
}

static void add(struct csv *c, const char *p, size_t n)
{
	if (c->n == c->cap) {
		c->cap = MAX(c->cap * 2, (size_t)16);
		c->fields = mem_grow(c->fields, c->cap * sizeof *c->fields);
	}
	c->fields[c->n++] = (struct str){p, n};
}

bool csv_next(struct csv *c)
{
	const char *end, *p, *comma;
	size_t n;

	do {
		if (!c->rest.n)
			return false;
		p = c->rest.p;
		end = memchr(p, '\n', c->rest.n);
		n = end ? (size_t)(end - p) : c->rest.n;
		c->rest.p += n + !!end;
		c->rest.n -= n + !!end;
		c->line++;
		if (n && p[n - 1] == '\r')
			n--;
	} while (!n);
	end = p + n;
	c->n = 0;
	while ((comma = memchr(p, ',', (size_t)(end - p)))) {
		add(c, p, (size_t)(comma - p));
		p = comma + 1;
	}
	add(c, p, (size_t)(end - p));
	return true;
}

int csv_need(const struct csv *c, size_t n, struct err *err)
{
	if (c->n == n)
		return 0;
	return err_set(err, E_INVALID,
		       "%s:%u: %zu fields, where the first line has %zu; is "
		       "the file whole?",
		       c->path, c->line, c->n, n);
}

int csv_number(const struct csv *c, size_t i, double *ret, struct err *err)
{
	char word[FIELD_MAX], *end;

	if (i < c->n && c->fields[i].n && c->fields[i].n < sizeof word) {
		memcpy(word, c->fields[i].p, c->fields[i].n);
		word[c->fields[i].n] = '\0';
		*ret = strtod(word, &end);
		if (!*end && isfinite(*ret) && *ret >= 0)
			return 0;
	}
	return err_set(err, E_INVALID,
		       "%s:%u: field %zu is '%.*s', and a number of at least 0 "
		       "is expected",
		       c->path, c->line, i + 1,
		       i < c->n ? (int)MIN(c->fields[i].n, (size_t)FIELD_MAX)
				: 0,
		       i < c->n ? c->fields[i].p : "");
}

int csv_count(const struct csv *c, size_t i, uint32_t *ret, struct err *err)
{
	uint64_t n;

	if (i < c->n && str_u64(c->fields[i], &n) && n <= 10000000) {
		*ret = (uint32_t)n;
		return 0;
	}
	return err_set(err, E_INVALID,
		       "%s:%u: field %zu is '%.*s', and requests of a minute "
		       "are expected: 0 to 10000000",
		       c->path, c->line, i + 1,
		       i < c->n ? (int)MIN(c->fields[i].n, (size_t)FIELD_MAX)
				: 0,
		       i < c->n ? c->fields[i].p : "");
}
