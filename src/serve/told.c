#include "serve/told.h"

#include "core/json.h"
#include "core/mem.h"

/* Terminals act upon these: C0, DEL, and C1, which UTF-8 writes in two bytes.
 * len: of the character at p. */
static bool is_control(const char *p, size_t len)
{
	unsigned char c = (unsigned char)*p;

	return c < 0x20 || c == 0x7f ||
	       (len == 2 && c == 0xc2 && (unsigned char)p[1] < 0xa0);
}

/* UTF-8 without control characters but those of `kept`, cut at about max. */
static char *plain(struct str s, size_t max, const char *kept)
{
	struct buf b;
	size_t len;

	buf_init(&b, max + 4);
	for (size_t at = 0; at < s.n && b.len < max; at += len ? len : 1) {
		const char *p = s.p + at;

		len = str_utf8_at(p, s.n - at);
		if (!len)
			buf_adds(&b, "\xef\xbf\xbd");
		else if (is_control(p, len) && (!*p || !strchr(kept, *p)))
			buf_addc(&b, ' ');
		else
			buf_add(&b, p, len);
	}
	return buf_take(&b, NULL);
}

char *told_loading(struct str payload)
{
	return plain(payload, TOLD_LOADING_MAX, "");
}

char *told_failed(struct str payload)
{
	cleanup_json yyjson_doc *doc = json_parse(payload.p, payload.n, NULL);
	yyjson_val *root = yyjson_doc_get_root(doc);
	const char *message = json_str(root, "message", "the predictor failed");
	const char *remedy = json_str(root, "remedy", "");
	cleanup_free char *text =
		*remedy ? mem_printf("%s. Remedy: %s", message, remedy)
			: mem_strdup(message);

	return plain(str_of(text), strlen(text), "\n\t");
}

char *told_sample(struct str payload)
{
	cleanup_json yyjson_doc *doc = json_parse(payload.p, payload.n, NULL);
	const char *sample = json_str(yyjson_doc_get_root(doc), "sample", "");
	size_t n = strlen(sample);
	cleanup_json yyjson_doc *inner = NULL;
	cleanup_free char *text = NULL;

	if (n > TOLD_SAMPLE_MAX)
		return NULL;
	inner = json_parse(sample, n, NULL);
	text = plain((struct str){sample, n}, n, "");
	return yyjson_is_obj(yyjson_doc_get_root(inner)) &&
			       strcmp(text, sample) == 0
		       ? mem_take(&text)
		       : NULL;
}

char *told_note(struct str payload)
{
	cleanup_json yyjson_doc *doc = json_parse(payload.p, payload.n, NULL);
	const char *note = json_str(yyjson_doc_get_root(doc), "note", NULL);

	return note ? plain(str_of(note), TOLD_NOTE_MAX, "") : NULL;
}

static bool is_module(const char *name)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "abcdefghijklmnopqrstuvwxyz"
				      "0123456789_.";

	return name && *name && !name[strspn(name, allowed)];
}

char *told_imports(struct str payload)
{
	cleanup_json yyjson_doc *doc = json_parse(payload.p, payload.n, NULL);
	yyjson_val *list = yyjson_obj_get(yyjson_doc_get_root(doc), "imports"),
		   *one;
	cleanup_free char *text = NULL;
	size_t i, max, len;

	if (!yyjson_is_arr(list) || !yyjson_arr_size(list))
		return NULL;
	yyjson_arr_foreach(list, i, max, one) if (!is_module(yyjson_get_str(
							  one))) return NULL;
	text = yyjson_val_write(list, 0, &len);
	return text && len <= TOLD_IMPORTS_MAX ? mem_take(&text) : NULL;
}
