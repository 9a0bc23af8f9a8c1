/* The table as a JSON schema. */
#include <math.h>
#include <string.h>

#include "core/arena.h"
#include "core/json.h"
#include "core/mem.h"
#include "spec/document.h"
#include "spec/source.h"
#include "spec/value.h"

#define DURATION                                                               \
	"^([0-9]+(\\.[0-9]*)?|\\.[0-9]+)(ns|us|\xc2\xb5s|ms|s|m|h)"            \
	"(([0-9]+(\\.[0-9]*)?|\\.[0-9]+)(ns|us|\xc2\xb5s|ms|s|m|h))*$"
#define DECIMAL "([0-9]+(\\.[0-9]*)?|\\.[0-9]+)"
#define SHARE "0*((100|[1-9]?[0-9])%|[0-9]{1,4}|10000)"
#define TOKEN "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
#define VARIABLE "^(?!CORTEX_|SOMA_)[A-Za-z_][A-Za-z0-9_.-]*$"

enum { PATH_LEN = 1024 };

struct schema {
	yyjson_mut_doc *doc;
	struct arena arena;
	uint8_t kind; /* whose keys they are */
};

static yyjson_mut_val *object_of(struct schema *s, const char *path);

/* A schema of one type. */
static yyjson_mut_val *typed(struct schema *s, const char *type)
{
	yyjson_mut_val *v = yyjson_mut_obj(s->doc);

	yyjson_mut_obj_add_str(s->doc, v, "type", type);
	return v;
}

static yyjson_mut_val *pattern(struct schema *s, const char *regex)
{
	yyjson_mut_val *v = typed(s, "string");

	yyjson_mut_obj_add_str(s->doc, v, "pattern", regex);
	return v;
}

static yyjson_mut_val *pattern_up_to(struct schema *s, const char *regex,
				     double longest)
{
	yyjson_mut_val *v = pattern(s, regex);

	yyjson_mut_obj_add_int(s->doc, v, "maxLength", (int64_t)longest);
	return v;
}

/* What YAML may write as a text without quotes. */
static yyjson_mut_val *any_text(struct schema *s, bool empty)
{
	static const char *const types[] = {"string", "number", "boolean"};
	yyjson_mut_val *v = yyjson_mut_obj(s->doc);
	yyjson_mut_val *list = yyjson_mut_obj_add_arr(s->doc, v, "type");

	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		yyjson_mut_arr_add_str(s->doc, list, types[i]);
	if (!empty)
		yyjson_mut_obj_add_int(s->doc, v, "minLength", 1);
	return v;
}

/* `one` may be a choice already. */
static yyjson_mut_val *either(struct schema *s, yyjson_mut_val *one,
			      yyjson_mut_val *other)
{
	yyjson_mut_val *list = yyjson_mut_obj_get(one, "anyOf");
	yyjson_mut_val *v = one;

	if (!list) {
		v = yyjson_mut_obj(s->doc);
		list = yyjson_mut_obj_add_arr(s->doc, v, "anyOf");
		yyjson_mut_arr_append(list, one);
	}
	yyjson_mut_arr_append(list, other);
	return v;
}

/* Bounds of a number, in the unit that it is written in. */
static yyjson_mut_val *number(struct schema *s, const struct key *k,
			      const char *type, double per, double most)
{
	yyjson_mut_val *v = typed(s, type);
	double max = k->ranged && !isinf(k->max) ? k->max / per : most;
	double min = k->ranged ? k->min / per : 0;

	yyjson_mut_obj_add_real(
		s->doc, v, k->above_min ? "exclusiveMinimum" : "minimum", min);
	yyjson_mut_obj_add_real(
		s->doc, v, k->below_max ? "exclusiveMaximum" : "maximum", max);
	return v;
}

static yyjson_mut_val *integer(struct schema *s, int64_t min, int64_t max)
{
	yyjson_mut_val *v = typed(s, "integer");

	yyjson_mut_obj_add_int(s->doc, v, "minimum", min);
	yyjson_mut_obj_add_int(s->doc, v, "maximum", max);
	return v;
}

/* The word of `kind` says which keys there are. */
static bool is_of_kind(const struct schema *s, const struct key *k,
		       const char *word, size_t n)
{
	static const char splitter[] = "TrafficSplitter";
	bool is_splitter =
		n == strlen(splitter) && memcmp(word, splitter, n) == 0;

	return strcmp(k->path, "kind") != 0 ||
	       is_splitter == (s->kind == KIND_SPLITTER);
}

static yyjson_mut_val *words(struct schema *s, const struct key *k)
{
	yyjson_mut_val *v = yyjson_mut_obj(s->doc);
	yyjson_mut_val *list = yyjson_mut_obj_add_arr(s->doc, v, "enum");
	const char *text = document__words(&s->arena, k, " ");

	while (*text) {
		size_t n = strcspn(text, " ");

		if (is_of_kind(s, k, text, n))
			yyjson_mut_arr_append(
				list, yyjson_mut_strncpy(s->doc, text, n));
		text += n + (text[n] == ' ');
	}
	return v;
}

static yyjson_mut_val *list_of(struct schema *s, const struct key *k,
			       yyjson_mut_val *items)
{
	yyjson_mut_val *v = typed(s, "array");

	yyjson_mut_obj_add_val(s->doc, v, "items", items);
	if (k->ranged)
		yyjson_mut_obj_add_int(s->doc, v, "minItems", (int64_t)k->min);
	if (k->ranged && !isinf(k->max))
		yyjson_mut_obj_add_int(s->doc, v, "maxItems", (int64_t)k->max);
	return v;
}

static yyjson_mut_val *map_of(struct schema *s, yyjson_mut_val *values)
{
	yyjson_mut_val *v = typed(s, "object");

	if (values)
		yyjson_mut_obj_add_val(s->doc, v, "additionalProperties",
				       values);
	return v;
}

static yyjson_mut_val *environment(struct schema *s)
{
	yyjson_mut_val *secret = typed(s, "object");
	yyjson_mut_val *v;
	yyjson_mut_val *properties =
		yyjson_mut_obj_add_obj(s->doc, secret, "properties");
	yyjson_mut_val *required =
		yyjson_mut_obj_add_arr(s->doc, secret, "required");

	yyjson_mut_obj_add_val(s->doc, properties, "from_secret",
			       pattern_up_to(s, "^[a-z0-9_-]+$", 64));
	yyjson_mut_arr_add_str(s->doc, required, "from_secret");
	yyjson_mut_obj_add_bool(s->doc, secret, "additionalProperties", false);
	v = map_of(s, either(s, any_text(s, true), secret));
	yyjson_mut_obj_add_val(s->doc, v, "propertyNames",
			       pattern(s, VARIABLE));
	yyjson_mut_obj_add_int(s->doc, v, "maxProperties", 1000);
	return v;
}

static yyjson_mut_val *headers(struct schema *s)
{
	yyjson_mut_val *value = any_text(s, true), *v = map_of(s, value);

	yyjson_mut_obj_add_str(s->doc, value, "pattern", "^[ -~]*$");
	yyjson_mut_obj_add_val(s->doc, v, "propertyNames",
			       pattern_up_to(s, TOKEN, 100));
	return v;
}

static yyjson_mut_val *command(struct schema *s)
{
	yyjson_mut_val *list = typed(s, "array");
	yyjson_mut_val *text = typed(s, "string");

	yyjson_mut_obj_add_val(s->doc, list, "items", any_text(s, true));
	yyjson_mut_obj_add_int(s->doc, list, "minItems", 1);
	yyjson_mut_obj_add_int(s->doc, list, "maxItems", 1000);
	yyjson_mut_obj_add_int(s->doc, text, "minLength", 1);
	return either(s, list, text);
}

static yyjson_mut_val *quantity(struct schema *s, const struct key *k)
{
	if (k->type == KEY_DURATION)
		return either(s, pattern(s, DURATION), integer(s, 0, 0));
	if (k->type == KEY_CPU)
		return either(s, pattern(s, "^" DECIMAL "m?$"),
			      number(s, k, "number", 1000, 1e6));
	if (k->type == KEY_SHARE)
		return either(s,
			      pattern(s, k->words ? "^(auto|" SHARE ")$"
						  : "^" SHARE "$"),
			      integer(s, 0, 10000));
	return either(s, pattern(s, "^" DECIMAL "([kKMGTP]|[KMGTP]i|m)?$"),
		      number(s, k, "number", 1, 1e15));
}

static yyjson_mut_val *path(struct schema *s, const struct key *k)
{
	switch (k->type) {
	case KEY_PROGRAM:
		return pattern_up_to(s, "^[^~]", PATH_LEN);
	case KEY_PY_FILE:
		return pattern_up_to(s, "^[^/~].*\\.py$", PATH_LEN);
	case KEY_ENGINE:
		return either(s, words(s, k),
			      pattern_up_to(s, "^[^/~].*\\.so$", PATH_LEN));
	case KEY_SOURCE:
		return either(s, pattern_up_to(s, SOURCE_URL_PATTERN, PATH_LEN),
			      pattern_up_to(s, SOURCE_PATH_PATTERN, PATH_LEN));
	default:
		return pattern_up_to(s, "^[^/~]", PATH_LEN);
	}
}

static yyjson_mut_val *of_type(struct schema *s, const struct key *k)
{
	switch (k->type) {
	case KEY_MAP:
		return k->words ? either(s, words(s, k), object_of(s, k->path))
				: object_of(s, k->path);
	case KEY_LIST:
		return list_of(
			s, k,
			object_of(s, arena_printf(&s->arena, "%s[]", k->path)));
	case KEY_STRINGS:
		return list_of(s, k, any_text(s, true));
	case KEY_ORIGINS:
		return list_of(s, k,
			       pattern(s, "^(\\*|[a-z][a-z0-9+.-]*://"
					  "[]a-z0-9._:[-]+)$"));
	case KEY_TOKENS: {
		yyjson_mut_val *item = any_text(s, false);

		yyjson_mut_obj_add_str(s->doc, item, "pattern", TOKEN);
		return list_of(s, k, item);
	}
	case KEY_PERCENTS:
		return list_of(s, k, integer(s, 1, 99));
	case KEY_JSON:
		return map_of(s, NULL);
	case KEY_ANY:
		return yyjson_mut_obj(s->doc);
	case KEY_HEADERS:
		return headers(s);
	case KEY_OPTIONS:
		return map_of(s, any_text(s, true));
	case KEY_ENV:
		return environment(s);
	case KEY_COMMAND:
		return command(s);
	case KEY_NAME:
		return pattern_up_to(s, "^[a-z]([-a-z0-9]*[a-z0-9])?$", k->max);
	case KEY_ENDPOINT:
		return pattern_up_to(s,
				     "^/?[A-Za-z0-9._~-]+"
				     "(/[A-Za-z0-9._~-]+)*/?$",
				     k->max);
	case KEY_URL_PATH:
		return pattern_up_to(s, "^/[!\"$-~]*$", PATH_LEN);
	case KEY_PROGRAM:
	case KEY_FILE:
	case KEY_PY_FILE:
	case KEY_DIR:
	case KEY_ENGINE:
	case KEY_SOURCE:
		return path(s, k);
	case KEY_WORD:
	case KEY_CHOICE:
		return words(s, k);
	case KEY_INT:
		return integer(s, (int64_t)k->min, (int64_t)k->max);
	case KEY_FLOAT:
		return number(s, k, "number", 1, 1e15);
	case KEY_BOOL:
		return typed(s, "boolean");
	case KEY_DURATION:
	case KEY_CPU:
	case KEY_BYTES:
	case KEY_SHARE:
		return quantity(s, k);
	case KEY_STRING:
		break;
	}
	return any_text(s, false);
}

/* What is refused may still say what is so anyway. */
static yyjson_mut_val *nothing(struct schema *s, const struct key *k)
{
	yyjson_mut_val *v = yyjson_mut_obj(s->doc);
	yyjson_mut_val *list = yyjson_mut_obj_add_arr(s->doc, v, "enum");

	yyjson_mut_arr_add_null(s->doc, list);
	if (k->type == KEY_INT && k->def)
		yyjson_mut_arr_add_int(s->doc, list, strtoll(k->def, NULL, 10));
	return v;
}

static const char *description(struct schema *s, const struct key *k)
{
	const char *predictors = document__predictors(&s->arena, k);
	const char *text = k->text;

	if (predictors)
		text = arena_printf(&s->arena, "%s For type %s.", text,
				    predictors);
	if (!k->required && (k->def || k->def_shown))
		text = arena_printf(&s->arena, "%s Default: %s.", text,
				    k->def_shown ? k->def_shown : k->def);
	if (k->why)
		text = arena_printf(&s->arena, "%s %s: %s.", text,
				    k->acts == WARNS ? "Not acted on yet"
						     : "Refused",
				    k->why);
	return text;
}

/* Where null says that there is none, or that the default is wanted. */
static bool may_be_null(const struct key *k)
{
	return k->type == KEY_MAP || k->type == KEY_ENV ||
	       k->type == KEY_JSON || k->type == KEY_OPTIONS || k->null_ok ||
	       (!k->required && !k->def);
}

static yyjson_mut_val *value_of(struct schema *s, const struct key *k)
{
	yyjson_mut_val *v = k->acts == REFUSED ? nothing(s, k) : of_type(s, k);

	if (k->acts != REFUSED && may_be_null(k))
		v = either(s, v, typed(s, "null"));
	yyjson_mut_obj_add_strcpy(s->doc, v, "description", description(s, k));
	return v;
}

/* Whether k is wanted whatever else is written: where the map around it is for
 * some types of predictor alone, so is its key. */
static bool is_wanted(struct schema *s, const struct key *k, const char *at)
{
	size_t n = strlen(at);
	bool item = n > 2 && strcmp(at + n - 2, "[]") == 0;
	const struct key *map =
		key_find(item ? arena_strndup(&s->arena, at, n - 2) : at);

	return k->required && k->acts != REFUSED &&
	       (!k->predictors || (map && map->predictors));
}

static yyjson_mut_val *object_of(struct schema *s, const char *at)
{
	yyjson_mut_val *v = typed(s, "object");
	yyjson_mut_val *properties =
		yyjson_mut_obj_add_obj(s->doc, v, "properties");
	yyjson_mut_val *required = yyjson_mut_arr(s->doc);
	const struct key *k;

	for (size_t i = 0; (k = key_at(i)); i++) {
		const char *last = key_in(k, at);

		if (!last || !(k->kinds & s->kind))
			continue;
		yyjson_mut_obj_add_val(s->doc, properties, last,
				       value_of(s, k));
		if (is_wanted(s, k, at))
			yyjson_mut_arr_add_str(s->doc, required, last);
	}
	if (yyjson_mut_arr_size(required))
		yyjson_mut_obj_add_val(s->doc, v, "required", required);
	yyjson_mut_obj_add_bool(s->doc, v, "additionalProperties", false);
	return v;
}

/* One of the blocks that say what is run. */
static void add_blocks(struct schema *s, yyjson_mut_val *api)
{
	static const char *const blocks[] = {"predictor", "handler", "pod"};
	yyjson_mut_val *list = yyjson_mut_obj_add_arr(s->doc, api, "oneOf");

	for (size_t i = 0; i < ARRAY_LEN(blocks); i++) {
		yyjson_mut_val *v = yyjson_mut_arr_add_obj(s->doc, list);
		yyjson_mut_val *required =
			yyjson_mut_obj_add_arr(s->doc, v, "required");
		yyjson_mut_val *properties =
			yyjson_mut_obj_add_obj(s->doc, v, "properties");

		yyjson_mut_arr_add_str(s->doc, required, blocks[i]);
		yyjson_mut_obj_add_val(s->doc, properties, blocks[i],
				       typed(s, "object"));
	}
}

static yyjson_mut_val *reference(struct schema *s, const char *name)
{
	yyjson_mut_val *v = yyjson_mut_obj(s->doc);

	yyjson_mut_obj_add_strcpy(
		s->doc, v, "$ref",
		arena_printf(&s->arena, "#/definitions/%s", name));
	return v;
}

/* By its kind, so that what is wrong is told of that kind alone. */
static yyjson_mut_val *any_kind(struct schema *s)
{
	yyjson_mut_val *v = yyjson_mut_obj(s->doc);
	yyjson_mut_val *of = yyjson_mut_obj_add_obj(s->doc, v, "if");
	yyjson_mut_val *kind = yyjson_mut_obj_add_obj(
		s->doc, yyjson_mut_obj_add_obj(s->doc, of, "properties"),
		"kind");

	yyjson_mut_obj_add_str(s->doc, kind, "const", "TrafficSplitter");
	yyjson_mut_arr_add_str(
		s->doc, yyjson_mut_obj_add_arr(s->doc, of, "required"), "kind");
	yyjson_mut_obj_add_val(s->doc, v, "then", reference(s, "splitter"));
	yyjson_mut_obj_add_val(s->doc, v, "else", reference(s, "api"));
	return v;
}

static void add_definitions(struct schema *s, yyjson_mut_val *root)
{
	yyjson_mut_val *all =
		yyjson_mut_obj_add_obj(s->doc, root, "definitions");
	yyjson_mut_val *api, *splitter;

	s->kind = KIND_REALTIME;
	api = object_of(s, "");
	add_blocks(s, api);
	s->kind = KIND_SPLITTER;
	splitter = object_of(s, "");
	yyjson_mut_arr_add_str(s->doc, yyjson_mut_obj_get(splitter, "required"),
			       "kind");
	yyjson_mut_obj_add_val(s->doc, all, "api", api);
	yyjson_mut_obj_add_val(s->doc, all, "splitter", splitter);
	yyjson_mut_obj_add_val(s->doc, all, "any", any_kind(s));
}

char *document_schema(void)
{
	struct schema s = {.doc = yyjson_mut_doc_new(NULL)};
	cleanup_json_mut yyjson_mut_doc *doc = s.doc;
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	yyjson_mut_val *list = typed(&s, "array");
	yyjson_mut_val *either_of;
	char *text;

	arena_init(&s.arena);
	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_str(doc, root, "$schema",
			       "http://json-schema.org/draft-07/schema#");
	yyjson_mut_obj_add_str(doc, root, "title", "soma.yaml");
	yyjson_mut_obj_add_str(doc, root, "description",
			       "One api, or a list of apis.");
	yyjson_mut_obj_add_val(doc, list, "items", reference(&s, "any"));
	yyjson_mut_obj_add_int(doc, list, "minItems", 1);
	either_of = yyjson_mut_obj_add_arr(doc, root, "anyOf");
	yyjson_mut_arr_append(either_of, reference(&s, "any"));
	yyjson_mut_arr_append(either_of, list);
	add_definitions(&s, root);
	text = json_write(doc, NULL);
	arena_fini(&s.arena);
	return text;
}
