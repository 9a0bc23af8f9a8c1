/* Cortex's classes, and where their models are. */
#include "test_spec_kit.h"

#define ONNX(keys)                                                             \
	"name: a\npredictor: {type: onnx, path: predictor.py, models: {" keys  \
	"}}\n"
#define RELOADING(keys) PY("multi_model_reloading: {" keys "}")
#define M "predictor.models: "
#define M_PATH "predictor.models.path: "
#define WORDS                                                                  \
	"a path inside the project, an absolute path or file://, or "          \
	"s3://BUCKET/KEY, gs://BUCKET/KEY, hf://ORG/NAME[@REVISION] or "       \
	"http(s)://HOST/FILE"
#define NO_USER                                                                \
	"a URL with a user or a password in it is not taken, for URLs are "    \
	"shown to whoever may see an api: give one that is signed in its "     \
	"query, or that needs neither\n"
#define NO_SOURCE(source)                                                      \
	{                                                                      \
		ONNX("path: '" source "'"),                                    \
			AT "2:60: a: " M_PATH "expected " WORDS                \
			   ", found '" source "'\n"                            \
	}

static void the_class_is_told_by_the_block(void **state)
{
	static const struct {
		const char *yaml;
		enum python_class want;
	} cases[] = {
		{IRIS, CLASS_PYTHON_PREDICTOR},
		{ONNX("path: model.onnx"), CLASS_ONNX_PREDICTOR},
		{"name: a\nhandler: {path: predictor.py}\n", CLASS_HANDLER},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		cleanup_free char *json = NULL;
		struct spec_set set, back;
		struct err err;

		assert_int_equal(parse(&set, cases[i].yaml), 0);
		assert_int_equal(set.specs->predictor.type, PREDICTOR_PYTHON);
		assert_int_equal(set.specs->predictor.klass, cases[i].want);
		json = spec_to_json(set.specs);
		assert_int_equal(
			spec_from_json(&back, json, strlen(json), &err), 0);
		assert_int_equal(back.specs->predictor.klass, cases[i].want);
		spec_set_fini(&back);
		spec_set_fini(&set);
	}
}

static void a_handler_has_the_keys_of_a_predictor(void **state)
{
	static const char yaml[] = "name: iris\n"
				   "handler:\n"
				   "  type: python\n"
				   "  path: predictor.py\n"
				   "  python_path: src\n"
				   "  python: .venv\n"
				   "  config: {a: 1}\n"
				   "  env: {B: c}\n"
				   "  processes_per_replica: 2\n"
				   "  threads_per_process: 3\n"
				   "  predict_timeout: 1s\n"
				   "  log_level: error\n"
				   "  dependencies: {pip: pip/gpu.txt}\n";
	struct spec_set set;
	const struct spec *s;

	(void)state;
	assert_int_equal(parse(&set, yaml), 0);
	assert_int_equal(set.n_problems, 0);
	s = set.specs;
	assert_string_equal(s->predictor.path, "predictor.py");
	assert_string_equal(s->predictor.python_path, "src");
	assert_string_equal(s->predictor.python, ".venv");
	assert_string_equal(s->predictor.config_json, "{\"a\":1}");
	assert_int_equal(s->predictor.n_env, 1);
	assert_int_equal(s->predictor.processes, 2);
	assert_int_equal(s->predictor.threads, 3);
	assert_int_equal(s->predictor.predict_timeout_ms, 1000);
	assert_string_equal(s->predictor.log_level, "error");
	assert_string_equal(s->predictor.pip, "pip/gpu.txt");
	spec_set_fini(&set);
}

static void models_are_handed_on_in_one_form(void **state)
{
	static const struct {
		const char *yaml, *json;
	} cases[] = {
		{ONNX("path: ./models//a.onnx"),
		 "{\"path\":\"models/a.onnx\",\"cache_size\":null,"
		 "\"disk_cache_size\":null}"},
		{ONNX("path: s3://bucket-1/a/b.onnx"),
		 "{\"path\":\"s3://bucket-1/a/b.onnx\",\"cache_size\":null,"
		 "\"disk_cache_size\":null}"},
		{ONNX("dir: ., path: ~"), "{\"dir\":\".\",\"cache_size\":null,"
					  "\"disk_cache_size\":null}"},
		{ONNX("paths: [{name: a, path: models}, {name: b-2, path: "
		      "s3://bucket/b/}], cache_size: 1, disk_cache_size: 2"),
		 "{\"paths\":[{\"name\":\"a\",\"path\":\"models\"},"
		 "{\"name\":\"b-2\",\"path\":\"s3://bucket/b/\"}],"
		 "\"cache_size\":1,\"disk_cache_size\":2}"},
		{RELOADING("dir: models"),
		 "{\"dir\":\"models\",\"cache_size\":null,"
		 "\"disk_cache_size\":null}"},
		{PY("models: {path: 'hf://org/name@v1.0'}"),
		 "{\"path\":\"hf://org/name@v1.0\",\"cache_size\":null,"
		 "\"disk_cache_size\":null,\"open\":true}"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		cleanup_free char *json = NULL;
		struct spec_set set, back;
		struct err err;

		assert_int_equal(parse(&set, cases[i].yaml), 0);
		assert_string_equal(set.specs->predictor.models_json,
				    cases[i].json);
		json = spec_to_json(set.specs);
		assert_int_equal(
			spec_from_json(&back, json, strlen(json), &err), 0);
		assert_string_equal(back.specs->predictor.models_json,
				    cases[i].json);
		spec_set_fini(&back);
		spec_set_fini(&set);
	}
}

/* As they are written: what they mean is for who fetches them. */
static void sources_are_of_many_kinds(void **state)
{
	static const char *const sources[] = {
		"s3://bucket",
		"s3://bucket-1/a b/c",
		"gs://bucket_2.x/dir/",
		"hf://org/name",
		"hf://o.r-g/na_me@refs/pr/1",
		"http://host/x.bin",
		"https://host:8443/a/x.bin?key=a@b",
		"file:///srv/models/a",
		"/srv/models/a",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		cleanup_free char *yaml =
			mem_printf(ONNX("path: '%s'"), sources[i]);
		cleanup_free char *want =
			mem_printf("{\"path\":\"%s\",", sources[i]);
		struct spec_set set;

		if (parse(&set, yaml))
			fail_msg("%s: %s", sources[i], lines_of(&set));
		assert_memory_equal(set.specs->predictor.models_json, want,
				    strlen(want));
		spec_set_fini(&set);
	}
}

static void what_is_no_source_is_told(void **state)
{
	CHECK(NO_SOURCE("ftp://host/x"), NO_SOURCE("s3:///x"),
	      NO_SOURCE("s3://b/x"), NO_SOURCE("gs://b/a.onnx"),
	      NO_SOURCE("hf://name"), NO_SOURCE("hf://org/name/file"),
	      NO_SOURCE("hf://org/name@"), NO_SOURCE("http://host"),
	      NO_SOURCE("http://host/dir/"), NO_SOURCE("file://srv/m"),
	      NO_SOURCE("hf://user@org"),
	      {ONNX("path: 'http://user:pass@host/x'"),
	       AT "2:60: a: " M_PATH NO_USER},
	      {ONNX("path: 'https://token@host/x?a'"),
	       AT "2:60: a: " M_PATH NO_USER},
	      NO_SOURCE("file:///srv/../m"),
	      {ONNX("path: ../m"),
	       AT "2:60: a: " M_PATH "expected a path without '..' and '~', "
		  "absolute or inside the project (relative to soma.yaml), "
		  "found '../m'\n"},
	      {ONNX("path: /srv/../m"),
	       AT "2:60: a: " M_PATH "expected a path without '..' and '~', "
		  "absolute or inside the project (relative to soma.yaml), "
		  "found '/srv/../m'\n"},
	      {"name: a\npredictor: {type: onnx, path: predictor.py}\n",
	       AT "2:12: a: " M "required key is missing; for example "
		  "'models: {path: model.onnx}'\n"},
	      {PY("models: {path: src}, multi_model_reloading: {path: src}"),
	       AT "2:41: iris: " M "there is multi_model_reloading, too: keep "
		  "that for models that load_model() loads, or models for "
		  "those that soma.models opens\n"});
}

static void what_is_wrong_with_models_is_told(void **state)
{
	CHECK({ONNX(""), AT "2:53: a: " M "says no place: give path, paths or "
			    "dir\n"},
	      {ONNX("path: nope.onnx"),
	       AT "2:60: a: predictor.models.path: project has no file or "
		  "directory 'nope.onnx' (looked beside soma.yaml)\n"},
	      {ONNX("path: models, dir: models"),
	       AT "2:73: a: predictor.models.dir: only one of path, paths and "
		  "dir may be given; there is path, too\n"},
	      {ONNX("paths: []"),
	       AT "2:61: a: predictor.models.paths: expected a list of maps, "
		  "found an empty list\n"},
	      {ONNX("paths: [{name: a}]"),
	       AT "2:62: a: predictor.models.paths[].path: required key is "
		  "missing; for example 'path: s3://bucket/iris'\n"},
	      {ONNX("paths: [{name: a b, path: src}]"),
	       AT "2:69: a: predictor.models.paths[].name: expected letters, "
		  "digits, '_' and '-', found 'a b'\n"},
	      {ONNX("paths: [{name: a, path: src}, {name: a, path: src}]"),
	       AT "2:91: a: predictor.models.paths[].name: two models have the "
		  "name 'a'\n"},
	      {ONNX("path: src, signature_key: x"),
	       AT "2:65: a: predictor.models.signature_key: type "
		  "\"tensorflow\" is not served by this version of Soma; load "
		  "the model by tensorflow in a PythonPredictor, run its own "
		  "server with 'predictor: {type: command}' (for example "
		  "tensorflow_model_server), or convert it to ONNX for "
		  "'predictor: {type: onnx, model: FILE.onnx}'\n"},
	      {ONNX("path: src, cache_size: 2"),
	       AT "2:53: a: " M "cache_size and disk_cache_size go together: "
		  "give both or neither\n"},
	      {ONNX("path: src, cache_size: 2, disk_cache_size: 1"), AT
	       "2:77: a: predictor.models.cache_size: 2 is more than "
	       "disk_cache_size, 1\n"
	       "warning " AT "2:80: a: predictor.models.disk_cache_size: not "
	       "acted on yet: all models stay on disk\n"},
	      {RELOADING("path: src"), NULL});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_class_is_told_by_the_block),
		cmocka_unit_test(a_handler_has_the_keys_of_a_predictor),
		cmocka_unit_test(models_are_handed_on_in_one_form),
		cmocka_unit_test(sources_are_of_many_kinds),
		cmocka_unit_test(what_is_no_source_is_told),
		cmocka_unit_test(what_is_wrong_with_models_is_told),
	};

	return cmocka_run_group_tests_name("spec_models", tests, NULL, NULL);
}
