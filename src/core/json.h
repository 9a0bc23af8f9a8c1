/* json.h: the few shapes over yyjson that readers of our own JSON need. */
#ifndef CORE_JSON_H
#define CORE_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <yyjson.h>

#include "core/buf.h"
#include "core/err.h"
#include "core/str.h"

/* Parses strictly. The document is the caller's (yyjson_doc_free). On failure
 * NULL, and err names the byte offset. Text is copied. */
yyjson_doc *json_parse(const char *text, size_t len, struct err *err);

/* Members by key; the fallback when absent or of another type. The string is
 * borrowed from the document. obj may be NULL. */
const char *json_str(yyjson_val *obj, const char *key, const char *fallback);
int64_t json_int(yyjson_val *obj, const char *key, int64_t fallback);
double json_num(yyjson_val *obj, const char *key, double fallback);
bool json_bool(yyjson_val *obj, const char *key, bool fallback);

/* Adds "text" with quotes and escapes to b; bytes that are not UTF-8 become
 * U+FFFD. */
void json_quote(struct buf *b, struct str text);

/* Serialises; the text is the caller's (free()). Never NULL: aborts when
 * memory is out. */
char *json_write(yyjson_mut_doc *doc, size_t *ret_len);
char *json_write_val(yyjson_val *val, size_t *ret_len);

static inline void json_freep(yyjson_doc **doc)
{
	yyjson_doc_free(*doc);
}

static inline void json_mut_freep(yyjson_mut_doc **doc)
{
	yyjson_mut_doc_free(*doc);
}

#define cleanup_json __attribute__((cleanup(json_freep)))
#define cleanup_json_mut __attribute__((cleanup(json_mut_freep)))

#endif
