/*
 * The form that the store keeps: an object by the table's paths, in its
 * order; durations in ms, cores in thousandths, sizes in bytes, env as a list
 * in the file's order. What is absent reads as its default, so that a new
 * field needs no migration.
 */
#include "core/json.h"

#include <math.h>
#include <string.h>

#include "core/mem.h"
#include "spec/keys.h"
#include "spec/rules.h"
#include "spec/value.h"

static bool is_number(const struct key *k)
{
	return k->type == KEY_INT || k->type == KEY_DURATION ||
	       k->type == KEY_CPU || k->type == KEY_BYTES;
}

static bool is_json(const struct key *k)
{
	return k->type == KEY_JSON || k->type == KEY_OPTIONS;
}

/* The field as a number, whatever its width. */
static int64_t field_int(const struct spec *spec, const struct key *k)
{
	const char *field = (const char *)spec + k->at;
	uint32_t small;
	uint8_t tiny;
	int64_t v;

	if (k->size == sizeof v) {
		memcpy(&v, field, sizeof v);
		return v;
	}
	if (k->size == sizeof small) {
		memcpy(&small, field, sizeof small);
		return small;
	}
	memcpy(&tiny, field, sizeof tiny);
	return tiny;
}

static double field_float(const struct spec *spec, const struct key *k)
{
	double v;

	memcpy(&v, (const char *)spec + k->at, sizeof v);
	return v;
}

static const char *field_str(const struct spec *spec, const struct key *k)
{
	const char *s;

	memcpy(&s, (const char *)spec + k->at, sizeof s);
	return s;
}

static yyjson_mut_val *write_command(yyjson_mut_doc *doc,
				     const struct spec *spec)
{
	yyjson_mut_val *list = yyjson_mut_arr(doc);

	for (uint32_t i = 0; i < spec->predictor.n_command; i++)
		yyjson_mut_arr_add_str(doc, list, spec->predictor.command[i]);
	return list;
}

static yyjson_mut_val *write_env(yyjson_mut_doc *doc, const struct spec *spec)
{
	yyjson_mut_val *list = yyjson_mut_arr(doc);

	for (uint32_t i = 0; i < spec->predictor.n_env; i++) {
		const struct spec_var *var = &spec->predictor.env[i];
		yyjson_mut_val *obj = yyjson_mut_arr_add_obj(doc, list);

		yyjson_mut_obj_add_str(doc, obj, "name", var->name);
		if (var->from_secret)
			yyjson_mut_obj_add_str(doc, obj, "from_secret",
					       var->from_secret);
		else
			yyjson_mut_obj_add_str(doc, obj, "value", var->value);
	}
	return list;
}

static struct spec_texts field_texts(const struct spec *spec,
				     const struct key *k)
{
	struct spec_texts texts;

	memcpy(&texts, (const char *)spec + k->at, sizeof texts);
	return texts;
}

static yyjson_mut_val *write_texts(yyjson_mut_doc *doc, const struct key *k,
				   const struct spec *spec)
{
	struct spec_texts texts = field_texts(spec, k);
	yyjson_mut_val *list = yyjson_mut_arr(doc);

	for (uint32_t i = 0; i < texts.n; i++)
		yyjson_mut_arr_add_str(doc, list, texts.items[i]);
	return list;
}

static yyjson_mut_val *write_json(yyjson_mut_doc *doc, const struct key *k,
				  const struct spec *spec)
{
	const char *text = field_str(spec, k);
	cleanup_json yyjson_doc *config =
		text ? json_parse(text, strlen(text), NULL) : NULL;

	if (!text)
		return yyjson_mut_null(doc);

	return yyjson_val_mut_copy(doc, yyjson_doc_get_root(config));
}

/* The nth word of words, from 0. */
static yyjson_mut_val *write_choice(yyjson_mut_doc *doc, const char *words,
				    int64_t nth)
{
	while (nth--)
		words += strcspn(words, " ") + 1;
	return yyjson_mut_strncpy(doc, words, strcspn(words, " "));
}

static yyjson_mut_val *write_field(yyjson_mut_doc *doc, const struct key *k,
				   const struct spec *spec)
{
	const char *s;

	if (k->type == KEY_COMMAND)
		return write_command(doc, spec);
	if (k->type == KEY_ENV)
		return write_env(doc, spec);
	if (is_json(k))
		return write_json(doc, k, spec);
	if (key_is_texts(k))
		return write_texts(doc, k, spec);
	if (k->type == KEY_CHOICE)
		return write_choice(doc, k->words, field_int(spec, k));
	if (k->type == KEY_BOOL)
		return yyjson_mut_bool(doc, field_int(spec, k));
	if (is_number(k))
		return yyjson_mut_sint(doc, field_int(spec, k));
	if (k->type == KEY_FLOAT)
		return yyjson_mut_real(doc, field_float(spec, k));
	s = field_str(spec, k);
	return s ? yyjson_mut_str(doc, s) : yyjson_mut_null(doc);
}

/* The object that has the path's last word, made where it is missing. */
static yyjson_mut_val *parent_of(yyjson_mut_doc *doc, yyjson_mut_val *obj,
				 const char *path, const char **ret_last)
{
	const char *dot;

	for (; (dot = strchr(path, '.')); path = dot + 1) {
		size_t n = (size_t)(dot - path);
		yyjson_mut_val *next = yyjson_mut_obj_getn(obj, path, n);

		if (!next) {
			next = yyjson_mut_obj(doc);
			yyjson_mut_obj_add(
				obj, yyjson_mut_strncpy(doc, path, n), next);
		}
		obj = next;
	}
	*ret_last = path;
	return obj;
}

/* A member that says nothing would make all that was stored before there were
 * splitters another content. */
static bool is_of_others(const struct key *k, const struct spec *spec)
{
	return k->kinds == KIND_SPLITTER && !spec->split_json;
}

char *spec_to_json(const struct spec *spec)
{
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc), *obj;
	const struct key *k;
	const char *last;

	yyjson_mut_doc_set_root(doc, root);
	for (size_t i = 0; (k = key_field_at(i)); i++) {
		if (!k->size || k->again || is_of_others(k, spec))
			continue;
		obj = parent_of(doc, root, k->path, &last);
		yyjson_mut_obj_add(obj, yyjson_mut_str(doc, last),
				   write_field(doc, k, spec));
	}
	return json_write(doc, NULL);
}

/* Text without NUL bytes, in the arena; NULL: not that. */
static const char *copy_str(struct arena *a, yyjson_val *v)
{
	const char *s = yyjson_get_str(v);

	if (!s || strlen(s) != yyjson_get_len(v))
		return NULL;
	return arena_strdup(a, s);
}

static bool read_command(struct arena *a, yyjson_val *list, struct spec *spec)
{
	size_t i, n, count = yyjson_arr_size(list);
	yyjson_val *v;

	if (!yyjson_is_arr(list))
		return false;
	if (!count)
		return true;
	spec->predictor.command =
		arena_zalloc(a, count * sizeof *spec->predictor.command);
	yyjson_arr_foreach(list, i, n, v)
	{
		spec->predictor.command[i] = copy_str(a, v);
		if (!spec->predictor.command[i])
			return false;
	}
	spec->predictor.n_command = (uint32_t)count;
	return true;
}

static bool read_env(struct arena *a, yyjson_val *list, struct spec *spec)
{
	size_t i, n, count = yyjson_arr_size(list);
	yyjson_val *v;

	if (!yyjson_is_arr(list))
		return false;
	if (!count)
		return true;
	spec->predictor.env =
		arena_zalloc(a, count * sizeof *spec->predictor.env);
	yyjson_arr_foreach(list, i, n, v)
	{
		struct spec_var *var = &spec->predictor.env[i];

		var->name = copy_str(a, yyjson_obj_get(v, "name"));
		var->value = copy_str(a, yyjson_obj_get(v, "value"));
		var->from_secret =
			copy_str(a, yyjson_obj_get(v, "from_secret"));
		if (!var->name || !var->value == !var->from_secret)
			return false;
	}
	spec->predictor.n_env = (uint32_t)count;
	return true;
}

static bool read_json(struct arena *a, const struct key *k, yyjson_val *v,
		      struct spec *spec)
{
	cleanup_free char *text = NULL;

	if (yyjson_is_null(v) && !k->def)
		return true;
	if (!yyjson_is_obj(v))
		return false;
	text = json_write_val(v, NULL);
	value_store(spec, k, (union value){.s = arena_strdup(a, text)});
	return true;
}

static bool read_texts(struct arena *a, const struct key *k, yyjson_val *list,
		       struct spec *spec)
{
	size_t i, n, count = yyjson_arr_size(list);
	struct spec_texts texts = {.n = (uint32_t)count};
	yyjson_val *v;

	if (!yyjson_is_arr(list))
		return false;
	texts.items = arena_zalloc(a, count * sizeof *texts.items);
	yyjson_arr_foreach(list, i, n, v)
	{
		texts.items[i] = copy_str(a, v);
		if (!texts.items[i])
			return false;
	}
	memcpy((char *)spec + k->at, &texts, sizeof texts);
	return true;
}

static bool read_scalar(struct arena *a, const struct key *k, yyjson_val *v,
			union value *ret)
{
	if (k->type == KEY_BOOL) {
		ret->b = yyjson_get_bool(v);
		return yyjson_is_bool(v);
	}
	if (k->type == KEY_CHOICE) {
		ret->i = value_word(k->words,
				    yyjson_is_str(v) ? yyjson_get_str(v) : "");
		/* A file has more words for a type than there are types. */
		return ret->i >= 0 &&
		       (ret->i <= PREDICTOR_ENGINE ||
			k->at != offsetof(struct spec, predictor.type));
	}
	if (is_number(k)) {
		ret->i = yyjson_get_sint(v);
		return yyjson_is_int(v) && ret->i >= 0 &&
		       (k->size == sizeof ret->i || ret->i <= UINT32_MAX);
	}
	if (k->type == KEY_FLOAT) {
		ret->f = yyjson_get_num(v);
		return yyjson_is_num(v) && isfinite(ret->f);
	}
	ret->s = copy_str(a, v);
	return ret->s || yyjson_is_null(v);
}

static bool read_field(struct arena *a, const struct key *k, yyjson_val *v,
		       struct spec *spec)
{
	union value value;

	if (k->type == KEY_COMMAND)
		return read_command(a, v, spec);
	if (k->type == KEY_ENV)
		return read_env(a, v, spec);
	if (is_json(k))
		return read_json(a, k, v, spec);
	if (key_is_texts(k))
		return read_texts(a, k, v, spec);
	if (!read_scalar(a, k, v, &value))
		return false;
	value_store(spec, k, value);
	return true;
}

static yyjson_val *find(yyjson_val *obj, const char *path)
{
	const char *dot;

	for (; (dot = strchr(path, '.')); path = dot + 1)
		obj = yyjson_obj_getn(obj, path, (size_t)(dot - path));
	return yyjson_obj_get(obj, path);
}

static int read_spec(struct spec_set *set, yyjson_val *root, struct err *err)
{
	struct reader r = {.set = set, .file_name = ""};
	struct spec *spec;
	const struct key *k;

	spec = set->specs = arena_zalloc(&set->arena, sizeof *spec);
	set->n_specs = 1;
	value_set_defaults(&r, spec);
	for (size_t i = 0; (k = key_field_at(i)); i++) {
		yyjson_val *v =
			k->size && !k->again ? find(root, k->path) : NULL;

		if (v && !read_field(&set->arena, k, v, spec))
			return err_set(err, E_INVALID, "spec: bad value of %s",
				       k->path);
	}
	if (!spec->name || !spec->endpoint || !spec->kind)
		return err_set(err, E_INVALID,
			       "spec: name, kind or endpoint is missing");
	rules_fill(spec);
	return 0;
}

int spec_from_json(struct spec_set *set, const char *json, size_t len,
		   struct err *err)
{
	cleanup_json yyjson_doc *doc = NULL;
	int rc;

	*set = (struct spec_set){0};
	arena_init(&set->arena);
	doc = json_parse(json, len, err);
	if (!doc)
		return E_INVALID;
	rc = read_spec(set, yyjson_doc_get_root(doc), err);
	if (rc)
		set->n_specs = 0;
	return rc;
}
