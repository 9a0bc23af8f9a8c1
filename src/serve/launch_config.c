/* What CONFIG says to a replica of Soma's own. */
#include <string.h>

#include "core/json.h"
#include "core/mem.h"
#include "serve/replica_parts.h"

/* The names of enum python_class. */
static const char *const class_names[] = {"PythonPredictor", "ONNXPredictor",
					  "Handler"};

/* JSON text as a value of doc; NULL is null. */
static yyjson_mut_val *json_text(yyjson_mut_doc *doc, const char *text)
{
	cleanup_json yyjson_doc *parsed =
		text ? json_parse(text, strlen(text), NULL) : NULL;

	return text ? yyjson_val_mut_copy(doc, yyjson_doc_get_root(parsed))
		    : yyjson_mut_null(doc);
}

/* What both kinds are told. */
static void put_common(yyjson_mut_doc *doc, yyjson_mut_val *root,
		       const struct revision *rev, const char *id,
		       uint32_t slots, const char *zygote)
{
	const struct spec *spec = rev->spec;

	if (zygote)
		yyjson_mut_obj_add_strcpy(doc, root, "zygote", zygote);
	yyjson_mut_obj_add_strcpy(doc, root, "api", rev->api->name);
	yyjson_mut_obj_add_strcpy(doc, root, "replica", id);
	yyjson_mut_obj_add_strcpy(doc, root, "project", rev->project_dir);
	yyjson_mut_obj_add_uint(doc, root, "threads", slots);
	yyjson_mut_obj_add_uint(doc, root, "processes",
				spec->predictor.processes);
	yyjson_mut_obj_add_uint(doc, root, "predict_timeout_ms",
				spec->predictor.predict_timeout_ms);
	yyjson_mut_obj_add_strcpy(
		doc, root, "log_level",
		spec->predictor.log_level ? spec->predictor.log_level : "info");
	yyjson_mut_obj_add_uint(doc, root, "max_batch_size",
				spec->predictor.max_batch_size);
	yyjson_mut_obj_add_uint(doc, root, "batch_interval_ms",
				spec->predictor.batch_interval_ms);
	yyjson_mut_obj_add_uint(doc, root, "latency_target_ms",
				spec->predictor.latency_target_ms);
	yyjson_mut_obj_add_uint(doc, root, "max_body", 0);
}

static char *worker_config(const struct revision *rev, const char *id,
			   uint32_t slots, const char *zygote)
{
	const struct spec *spec = rev->spec;
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);

	yyjson_mut_doc_set_root(doc, root);
	put_common(doc, root, rev, id, slots, zygote);
	yyjson_mut_obj_add_strcpy(doc, root, "path", spec->predictor.path);
	yyjson_mut_obj_add_uint(doc, root, "max_hooks",
				spec->predictor.max_hooks);
	if (spec->predictor.python_path)
		yyjson_mut_obj_add_strcpy(doc, root, "python_path",
					  spec->predictor.python_path);
	else
		yyjson_mut_obj_add_null(doc, root, "python_path");
	yyjson_mut_obj_add_str(doc, root, "class",
			       class_names[spec->predictor.klass]);
	yyjson_mut_obj_add_val(doc, root, "config",
			       json_text(doc, spec->predictor.config_json));
	yyjson_mut_obj_add_val(doc, root, "models",
			       model_set_config(&rev->models, doc));
	yyjson_mut_obj_add_bool(doc, root, "expose_tracebacks",
				spec->predictor.expose_tracebacks);
	if (zygote && rev->imports)
		yyjson_mut_obj_add_val(doc, root, "imports",
				       json_text(doc, rev->imports));
	return json_write(doc, NULL);
}

/* A file of the project, or absolute; NULL is null. */
static void put_file(yyjson_mut_doc *doc, yyjson_mut_val *root, const char *key,
		     const struct revision *rev, const char *name)
{
	cleanup_free char *path =
		name && name[0] != '/'
			? mem_printf("%s/%s", rev->project_dir, name)
			: mem_strdup(name);

	if (path)
		yyjson_mut_obj_add_strcpy(doc, root, key, path);
	else
		yyjson_mut_obj_add_null(doc, root, key);
}

/* docs/internals/host.md */
static char *host_config(const struct revision *rev, const char *id,
			 uint32_t slots, const char *zygote)
{
	const struct spec *spec = rev->spec;
	cleanup_free char *lib_dir =
		mem_printf("%s/lib", rev->api->serve->data_dir);
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);

	yyjson_mut_doc_set_root(doc, root);
	put_common(doc, root, rev, id, slots, zygote);
	yyjson_mut_obj_add_strcpy(doc, root, "engine", spec->predictor.engine);
	put_file(doc, root, "model", rev, spec->predictor.model);
	put_file(doc, root, "library", rev, spec->predictor.onnxruntime);
	yyjson_mut_obj_add_strcpy(doc, root, "lib_dir", lib_dir);
	yyjson_mut_obj_add_uint(doc, root, "intra_op_threads",
				spec->predictor.intra_op_threads);
	yyjson_mut_obj_add_strcpy(doc, root, "graph_optimization",
				  spec->predictor.graph_optimization);
	yyjson_mut_obj_add_strcpy(doc, root, "execution_provider",
				  spec->predictor.execution_provider);
	yyjson_mut_obj_add_val(doc, root, "engine_options",
			       json_text(doc, spec->predictor.engine_options));
	return json_write(doc, NULL);
}

char *launch__config(const struct revision *rev, const char *id, uint32_t slots,
		     const char *zygote)
{
	return rev->spec->predictor.type == PREDICTOR_ENGINE
		       ? host_config(rev, id, slots, zygote)
		       : worker_config(rev, id, slots, zygote);
}

char *replica__config(const struct replica *r)
{
	return launch__config(r->rev, r->id, r->slots, NULL);
}
