#include "core/json.h"

#include <stdlib.h>
#include <string.h>

yyjson_doc *json_parse(const char *text, size_t len, struct err *err)
{
	yyjson_read_err why;
	yyjson_doc *doc;

	/* Not in place: the text stays as it is. */
	doc = yyjson_read_opts((char *)(uintptr_t)text, len, 0, NULL, &why);
	if (!doc)
		err_set(err, E_INVALID, "not JSON: %s at byte %zu", why.msg,
			why.pos);
	return doc;
}

const char *json_str(yyjson_val *obj, const char *key, const char *fallback)
{
	const char *s = yyjson_get_str(yyjson_obj_get(obj, key));

	return s ? s : fallback;
}

int64_t json_int(yyjson_val *obj, const char *key, int64_t fallback)
{
	yyjson_val *v = yyjson_obj_get(obj, key);

	if (yyjson_is_int(v))
		return yyjson_get_sint(v);
	return fallback;
}

double json_num(yyjson_val *obj, const char *key, double fallback)
{
	yyjson_val *v = yyjson_obj_get(obj, key);

	return yyjson_is_num(v) ? yyjson_get_num(v) : fallback;
}

bool json_bool(yyjson_val *obj, const char *key, bool fallback)
{
	yyjson_val *v = yyjson_obj_get(obj, key);

	return yyjson_is_bool(v) ? yyjson_get_bool(v) : fallback;
}

/* How many bytes from p on stand for themselves: nearly always all. */
static size_t plain_at(const unsigned char *p, size_t n)
{
	const uint64_t ones = UINT64_MAX / 255, high = ones << 7;
	size_t i = 0;

	/* Eight at a time, while none is a control character, a quote, a
	 * backslash or over 0x7e: each of these leaves the high bit of a byte
	 * set. What has one is looked at singly. */
	for (; n - i >= 8; i += 8) {
		uint64_t v, quote, slash;

		memcpy(&v, p + i, 8);
		quote = v ^ ones * '"';
		slash = v ^ ones * '\\';
		if ((v | (v + ones) | (v - ones * 0x20) | (quote - ones) |
		     (slash - ones)) &
		    high)
			break;
	}
	while (i < n && p[i] >= 0x20 && p[i] < 0x7f && p[i] != '"' &&
	       p[i] != '\\')
		i++;
	return i;
}

void json_quote(struct buf *b, struct str text)
{
	const unsigned char *p = (const unsigned char *)text.p;
	const unsigned char *end = p + text.n;

	buf_addc(b, '"');
	while (p < end) {
		size_t n = plain_at(p, (size_t)(end - p));

		if (n) {
			buf_add(b, p, n);
			p += n;
			continue;
		}
		n = str_utf8_at((const char *)p, (size_t)(end - p));
		if (!n) {
			buf_adds(b, "\xef\xbf\xbd");
			p++;
			continue;
		}
		if (n > 1)
			buf_add(b, p, n);
		else if (*p == '"' || *p == '\\')
			buf_addf(b, "\\%c", *p);
		else if (*p == '\n')
			buf_adds(b, "\\n");
		else if (*p == '\t')
			buf_adds(b, "\\t");
		else
			buf_addf(b, "\\u%04x", *p);
		p += n;
	}
	buf_addc(b, '"');
}

char *json_write(yyjson_mut_doc *doc, size_t *ret_len)
{
	char *text = yyjson_mut_write(doc, YYJSON_WRITE_ALLOW_INVALID_UNICODE,
				      ret_len);

	if (!text)
		abort();
	return text;
}

char *json_write_val(yyjson_val *val, size_t *ret_len)
{
	char *text = yyjson_val_write(val, YYJSON_WRITE_ALLOW_INVALID_UNICODE,
				      ret_len);

	if (!text)
		abort();
	return text;
}
