#include "spec/emit.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#include "core/mem.h"

enum { INDENT = 2, NUMBER_MAX = 64 };

static int on_text(void *data, unsigned char *text, size_t len)
{
	return buf_add(data, text, len) == 0;
}

/* libyaml's functions fail when memory is out, and for what is no UTF-8, which
 * a value of yyjson is not. */
static void must(int ok)
{
	if (!ok)
		abort();
}

static void put(yaml_emitter_t *e, yaml_event_t *event, int made)
{
	must(made);
	/* A writer that has no room says so by out->full. */
	yaml_emitter_emit(e, event);
}

/* Words that some reader takes for null, true or false. */
static bool is_word_of_yaml(const char *text)
{
	static const char *const words[] = {"null", "true", "false", "yes",
					    "no",   "on",   "off",   "y",
					    "n",    "~"};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcasecmp(text, words[i]) == 0)
			return true;
	return false;
}

/* Plain only where nobody can take it for anything but text: numbers, dates,
 * times and merge keys begin with one of these. What plain text may hold at
 * all is libyaml's to know. */
static yaml_scalar_style_t style_of(const char *text, size_t len)
{
	if (len == 0 || strchr("0123456789.+-=<", text[0]) ||
	    is_word_of_yaml(text))
		return YAML_SINGLE_QUOTED_SCALAR_STYLE;
	if (memchr(text, '\n', len))
		return YAML_DOUBLE_QUOTED_SCALAR_STYLE;
	return YAML_ANY_SCALAR_STYLE;
}

static void put_scalar(yaml_emitter_t *e, const char *text, size_t len,
		       yaml_scalar_style_t style)
{
	yaml_event_t event;

	put(e, &event,
	    yaml_scalar_event_initialize(&event, NULL, NULL,
					 (const yaml_char_t *)text, (int)len, 1,
					 1, style));
}

static void put_text(yaml_emitter_t *e, yyjson_val *val)
{
	const char *text = yyjson_get_str(val);
	size_t len = yyjson_get_len(val);

	put_scalar(e, text, len, style_of(text, len));
}

/* JSON's 1e20 is text to readers of YAML 1.1: they want 1.0e+20. */
static void put_real(yaml_emitter_t *e, yyjson_val *val)
{
	cleanup_free char *json = yyjson_val_write(val, 0, NULL);
	char out[NUMBER_MAX];
	char *exponent;

	must(json != NULL);
	exponent = strpbrk(json, "eE");
	if (!exponent) {
		put_scalar(e, json, strlen(json), YAML_PLAIN_SCALAR_STYLE);
		return;
	}
	*exponent++ = '\0';
	snprintf(out, sizeof out, "%s%se%s%s", json,
		 strchr(json, '.') ? "" : ".0",
		 *exponent == '-' || *exponent == '+' ? "" : "+", exponent);
	put_scalar(e, out, strlen(out), YAML_PLAIN_SCALAR_STYLE);
}

static void put_value(yaml_emitter_t *e, yyjson_val *val);

static void put_list(yaml_emitter_t *e, yyjson_val *val)
{
	yaml_event_t event;
	yyjson_val *item;
	size_t i, n;

	put(e, &event,
	    yaml_sequence_start_event_initialize(&event, NULL, NULL, 1,
						 YAML_BLOCK_SEQUENCE_STYLE));
	yyjson_arr_foreach(val, i, n, item) put_value(e, item);
	put(e, &event, yaml_sequence_end_event_initialize(&event));
}

static void put_map(yaml_emitter_t *e, yyjson_val *val)
{
	yaml_event_t event;
	yyjson_val *key, *item;
	size_t i, n;

	put(e, &event,
	    yaml_mapping_start_event_initialize(&event, NULL, NULL, 1,
						YAML_BLOCK_MAPPING_STYLE));
	yyjson_obj_foreach(val, i, n, key, item)
	{
		put_text(e, key);
		put_value(e, item);
	}
	put(e, &event, yaml_mapping_end_event_initialize(&event));
}

static void put_value(yaml_emitter_t *e, yyjson_val *val)
{
	cleanup_free char *json = NULL;

	switch (yyjson_get_type(val)) {
	case YYJSON_TYPE_ARR:
		put_list(e, val);
		break;
	case YYJSON_TYPE_OBJ:
		put_map(e, val);
		break;
	case YYJSON_TYPE_STR:
		put_text(e, val);
		break;
	default: /* null, booleans, integers: as in JSON */
		if (yyjson_is_real(val)) {
			put_real(e, val);
			break;
		}
		json = yyjson_val_write(val, 0, NULL);
		must(json != NULL);
		put_scalar(e, json, strlen(json), YAML_PLAIN_SCALAR_STYLE);
	}
}

void emit_yaml(struct buf *out, yyjson_val *val, bool stream)
{
	yaml_emitter_t e;
	yaml_event_t event;

	must(yaml_emitter_initialize(&e));
	yaml_emitter_set_output(&e, on_text, out);
	yaml_emitter_set_unicode(&e, 1);
	yaml_emitter_set_width(&e, -1);
	yaml_emitter_set_indent(&e, INDENT);
	put(&e, &event,
	    yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING));
	put(&e, &event,
	    yaml_document_start_event_initialize(&event, NULL, NULL, NULL,
						 !stream));
	put_value(&e, val);
	put(&e, &event, yaml_document_end_event_initialize(&event, 1));
	put(&e, &event, yaml_stream_end_event_initialize(&event));
	yaml_emitter_delete(&e);
}
