/* What an api runs: which block says so, of which type, and what follows. */
#include <string.h>

#include "core/mem.h"
#include "spec/keys.h"
#include "spec/rules_parts.h"
#include "spec/value.h"

static const char *const blocks[] = {"predictor", "handler", "pod"};

static struct node *given(const struct node *map, const char *key)
{
	struct node *n = node_get(map, key);

	return n && !node_is_null(n) ? n : NULL;
}

/* "predictor.type" */
static const char *path_of(struct reader *r, const char *key)
{
	return arena_printf(&r->set->arena, "%s.%s", r->block, key);
}

static uint8_t by_type(const struct node *map, const char *type)
{
	switch (value_word("python command engine onnx", type)) {
	case PREDICTOR_PYTHON:
		return FOR_PYTHON;
	case PREDICTOR_COMMAND:
		return FOR_COMMAND;
	case PREDICTOR_ENGINE:
		return FOR_ENGINE;
	case 3:
		return given(map, "path") || given(map, "models")
			       ? FOR_ONNX_CLASS
			       : FOR_ONNX;
	default:
		return 0;
	}
}

/* The keys that tell a type by themselves. */
static const struct {
	const char *key;
	uint8_t predictor;
} telling[] = {
	{"path", FOR_PYTHON},
	{"command", FOR_COMMAND},
	{"engine", FOR_ENGINE},
	{"model", FOR_ONNX},
};

/* The first of them that is given; *ret_other: another, that tells another. */
static uint8_t by_keys(const struct node *map, const char **ret_first,
		       const char **ret_other)
{
	uint8_t found = 0;

	*ret_first = *ret_other = NULL;
	for (size_t i = 0; i < ARRAY_LEN(telling); i++) {
		if (!given(map, telling[i].key))
			continue;
		if (found == FOR_ENGINE && telling[i].predictor == FOR_ONNX)
			continue; /* the engine's model */
		if (found) {
			*ret_other = telling[i].key;
			return 0;
		}
		found = telling[i].predictor;
		*ret_first = telling[i].key;
	}
	return found;
}

void rules_begin(struct reader *r, struct node *api)
{
	const char *first, *other;
	struct node *map, *type;

	r->block = blocks[0];
	r->predictor = 0;
	for (size_t i = 0; i < ARRAY_LEN(blocks); i++)
		if (given(api, blocks[i])) {
			r->block = blocks[i];
			break;
		}
	map = given(api, r->block);
	type = given(map, "type");
	if (strcmp(r->block, "pod") == 0)
		r->predictor = FOR_COMMAND;
	else if (type)
		r->predictor = type->type == NODE_SCALAR
				       ? by_type(map, type->text)
				       : 0;
	else
		r->predictor = by_keys(map, &first, &other);
}

const char *rules_types(struct arena *a, uint8_t predictors)
{
	static const struct {
		uint8_t predictor;
		const char *name;
	} names[] = {
		{FOR_PYTHON, "python"},
		{FOR_ONNX_CLASS, "onnx with a path"},
		{FOR_ONNX, "onnx without a path"},
		{FOR_ENGINE, "engine"},
		{FOR_COMMAND, "command"},
		{FOR_TENSORFLOW, "tensorflow"},
	};
	bool any_onnx =
		(predictors & FOR_ONNX) && (predictors & FOR_ONNX_CLASS);
	const char *text = "";

	if (predictors != FOR_TENSORFLOW)
		predictors &= (uint8_t)~FOR_TENSORFLOW;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const char *name = names[i].name;

		if (!(predictors & names[i].predictor))
			continue;
		predictors &= (uint8_t)~names[i].predictor;
		if (any_onnx && names[i].predictor == FOR_ONNX_CLASS)
			continue;
		if (any_onnx && names[i].predictor == FOR_ONNX)
			name = "onnx";
		text = arena_printf(a, "%s%s%s", text,
				    !*text	 ? ""
				    : predictors ? ", "
						 : " or ",
				    name);
	}
	return text;
}

static void check_type(struct reader *r, struct node *api)
{
	struct node *map = node_get(api, r->block);
	const char *first, *other;
	uint32_t n = 0;

	if (!map || node_is_null(map)) {
		problem_error(r, map ? map : api, "predictor",
			      "required key is missing; for example "
			      "'predictor: {type: python, path: "
			      "predictor.py}'");
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(blocks); i++)
		if (given(api, blocks[i]) && n++)
			problem_error(r, given(api, blocks[i]), blocks[i],
				      "there is %s, too, and an api runs one "
				      "thing: remove one of them",
				      r->block);
	if (map->type != NODE_MAP || map->bad || r->predictor ||
	    given(map, "type"))
		return; /* told, or its word is bad and was reported */
	by_keys(map, &first, &other);
	if (other)
		problem_error(
			r, map, path_of(r, "type"),
			"required where %s and %s are both given: python, "
			"onnx, engine or command",
			first, other);
	else
		problem_error(r, map, path_of(r, "type"),
			      "required key is missing; expected python, onnx, "
			      "engine or command");
}

static void check_model(struct reader *r, struct node *api, struct spec *spec)
{
	struct node *map = node_get(api, r->block);
	const char *model = spec->predictor.model;
	bool onnx = spec->predictor.engine &&
		    strcmp(spec->predictor.engine, "onnx") == 0;
	size_t n = model ? strlen(model) : 0;

	if (!onnx)
		return;
	if (!given(map, "model"))
		problem_error(r, map, "predictor.model",
			      "required key is missing: 'model: model.onnx' "
			      "serves the file without any Python, 'path: "
			      "predictor.py' is a class ONNXPredictor");
	else if (model && (n < 6 || strcmp(model + n - 5, ".onnx") != 0))
		problem_error(r, node_get(map, "model"), "predictor.model",
			      "expected a file whose name ends in .onnx, found "
			      "%s",
			      node_shown(r, node_get(map, "model")));
}

enum { LATENCY_TARGET_MS = 100, AUTO_MAX_BATCH_SIZE = 128 };

static void fill_batching(struct reader *r, struct node *api, struct spec *spec)
{
	struct node *map = node_get(api, r->block);
	struct node *block = given(map, "batching");

	if (!block)
		return;
	if (!spec->predictor.latency_target_ms)
		spec->predictor.latency_target_ms = LATENCY_TARGET_MS;
	if (!spec->predictor.max_batch_size)
		spec->predictor.max_batch_size = AUTO_MAX_BATCH_SIZE;
	if (given(map, "server_side_batching"))
		problem_error(r, block, path_of(r, "batching"),
			      "there is server_side_batching, too: remove "
			      "batching to have the size and interval that it "
			      "says, or it to have them learned");
}

static void fill_native(struct reader *r, struct node *api, struct spec *spec)
{
	spec->predictor.type = PREDICTOR_ENGINE;
	if (r->predictor == FOR_ONNX)
		spec->predictor.engine = "onnx";
	check_model(r, api, spec);
}

/* As in Cortex, where each request of a batch waited in a thread. */
static void check_batching(struct reader *r, struct node *map,
			   const struct spec *spec)
{
	struct node *block = node_get(map, "server_side_batching");
	uint32_t most = spec->predictor.max_batch_size;

	if (most > spec->predictor.threads &&
	    !spec->predictor.latency_target_ms)
		problem_error(r, node_get(block, "max_batch_size"),
			      path_of(r, "server_side_batching.max_batch_size"),
			      "'%u' is more than %s.threads_per_process, '%u', "
			      "which counts the requests that may wait for a "
			      "batch; set both to the same number",
			      most, r->block, spec->predictor.threads);
}

/* One of two blocks has them: models, or multi_model_reloading for those that
 * a class loads by load_model(). */
static void fill_models(struct reader *r, struct node *api, struct spec *spec)
{
	struct node *map = node_get(api, r->block);
	struct node *models = given(map, "models");
	bool onnx = r->predictor == FOR_ONNX_CLASS;
	bool handler = strcmp(r->block, "handler") == 0;

	if (!map || map->type != NODE_MAP)
		return; /* was reported */
	if (onnx && !models) {
		problem_error(r, map, path_of(r, "models"),
			      "required key is missing; for example 'models: "
			      "{path: model.onnx}'");
		map->bad = false; /* what it has is good */
		return;
	}
	if (models && !handler && given(map, "multi_model_reloading"))
		problem_error(r, models, path_of(r, "models"),
			      "there is multi_model_reloading, too: keep that "
			      "for models that load_model() loads, or models "
			      "for those that soma.models opens");
	else
		models_apply(r, api,
			     path_of(r, models && !handler
						? "models"
						: "multi_model_reloading"),
			     spec);
}

static void fill_python(struct reader *r, struct node *api, struct spec *spec)
{
	struct node *map = node_get(api, r->block);

	spec->predictor.type = PREDICTOR_PYTHON;
	if (r->predictor == FOR_ONNX_CLASS)
		spec->predictor.klass = CLASS_ONNX_PREDICTOR;
	else if (strcmp(r->block, "handler") == 0)
		spec->predictor.klass = CLASS_HANDLER;
	if (!given(map, "base_packages") && !given(map, "python") &&
	    !rules__is_soma_file(r))
		spec->predictor.base_packages = BASE_PACKAGES_CORTEX;
	check_batching(r, map, spec);
	fill_models(r, api, spec);
}

/* Cortex installed it without being told. */
static void check_conda(struct reader *r, struct node *api)
{
	static const char file[] = "conda-packages.txt";
	struct node *map = node_get(api, r->block);

	if (!r->files || !map || (r->predictor & (FOR_ONNX | FOR_ENGINE)) ||
	    given(node_get(map, "dependencies"), "conda") ||
	    r->files->kind_of(r->files->data, file) != 1)
		return;
	problem_warn(r, map, path_of(r, "dependencies.conda"),
		     "the project's %s is not acted on yet: list the packages "
		     "in requirements.txt, or point %s.python to a conda "
		     "environment",
		     file, r->block);
}

void rules__predictor(struct reader *r, struct node *api, struct spec *spec)
{
	check_type(r, api);
	fill_batching(r, api, spec);
	if (r->predictor & (FOR_ONNX | FOR_ENGINE))
		fill_native(r, api, spec);
	else if (r->predictor & (FOR_PYTHON | FOR_ONNX_CLASS))
		fill_python(r, api, spec);
	else if (r->predictor)
		spec->predictor.type = PREDICTOR_COMMAND;
	if (strcmp(r->block, "pod") == 0)
		rules__pod(r, api, spec);
	check_conda(r, api);
}
