/* Models that run without the user's Python, and where a class's models are. */
#include "test_spec_kit.h"

#define ONNX(key) "name: iris\npredictor: {model: model.onnx" key "}\n"

static void a_model_is_enough(void **state)
{
	struct spec_set set;
	const struct spec *s;

	(void)state;
	parse(&set, "name: iris\npredictor: {model: ./model.onnx}\n");
	s = set.specs;
	assert_int_equal(s->predictor.type, PREDICTOR_ENGINE);
	assert_string_equal(s->predictor.engine, "onnx");
	assert_string_equal(s->predictor.model, "model.onnx");
	assert_int_equal(s->predictor.processes, 1);
	assert_int_equal(s->predictor.threads, 1);
	assert_int_equal(s->predictor.intra_op_threads, 1);
	assert_string_equal(s->predictor.graph_optimization, "all");
	assert_string_equal(s->predictor.execution_provider, "cpu");
	assert_string_equal(s->predictor.engine_options, "{}");
	assert_null(s->predictor.onnxruntime);
	spec_set_fini(&set);
}

static const char everything[] =
	"- name: iris\n"
	"  predictor:\n"
	"    type: onnx\n"
	"    model: model.onnx\n"
	"    processes_per_replica: 2\n"
	"    threads_per_process: 4\n"
	"    predict_timeout: 1s\n"
	"    start_timeout: 2m\n"
	"    log_level: debug\n"
	"    env: {A: b}\n"
	"    intra_op_threads: 3\n"
	"    graph_optimization: basic\n"
	"    execution_provider: cuda\n"
	"    engine_options: {session.x: '1', arena: false, limit: 2.5}\n"
	"    onnxruntime: /opt/ort/libonnxruntime.so\n"
	"    server_side_batching: {max_batch_size: 32, batch_interval: 5ms}\n"
	"- name: mine\n"
	"  predictor: {engine: ./engine.so, model: model.bin, "
	"batching: {latency_target: 40ms}}\n"
	"  compute: {cpu: 2500m}\n"
	"- name: echo\n"
	"  predictor: {type: engine, engine: echo, batching: auto}\n"
	"  compute: {cpu: null}\n";

static void everything_is_kept(void **state)
{
	struct spec_set set;
	const struct spec *s;

	(void)state;
	parse(&set, everything);
	s = &set.specs[0];
	assert_int_equal(s->predictor.processes, 2);
	assert_int_equal(s->predictor.threads, 4);
	assert_int_equal(s->predictor.predict_timeout_ms, 1000);
	assert_int_equal(s->predictor.n_env, 1);
	assert_int_equal(s->predictor.intra_op_threads, 3);
	assert_string_equal(s->predictor.graph_optimization, "basic");
	assert_string_equal(s->predictor.execution_provider, "cuda");
	assert_string_equal(
		s->predictor.engine_options,
		"{\"session.x\":\"1\",\"arena\":false,\"limit\":2.5}");
	assert_string_equal(s->predictor.onnxruntime,
			    "/opt/ort/libonnxruntime.so");
	assert_int_equal(s->predictor.max_batch_size, 32);
	assert_int_equal(s->predictor.batch_interval_ms, 5);
	assert_int_equal(s->predictor.latency_target_ms, 0);
	s = &set.specs[1];
	assert_int_equal(s->predictor.type, PREDICTOR_ENGINE);
	assert_string_equal(s->predictor.engine, "engine.so");
	assert_int_equal(s->predictor.latency_target_ms, 40);
	assert_int_equal(s->predictor.max_batch_size, 128);
	assert_string_equal(s->predictor.model, "model.bin");
	assert_int_equal(s->predictor.intra_op_threads, 3);
	s = &set.specs[2];
	assert_string_equal(s->predictor.engine, "echo");
	assert_null(s->predictor.model);
	assert_int_equal(s->predictor.latency_target_ms, 100);
	assert_int_equal(s->predictor.intra_op_threads, 1);
	spec_set_fini(&set);
}

static void json_gives_it_back(void **state)
{
	struct spec_set set;

	(void)state;
	parse(&set, everything);
	for (uint32_t i = 0; i < set.n_specs; i++) {
		cleanup_free char *json = spec_to_json(&set.specs[i]);
		cleanup_free char *again = NULL;
		struct err err = {0};
		struct spec_set back;

		assert_int_equal(
			spec_from_json(&back, json, strlen(json), &err), 0);
		again = spec_to_json(back.specs);
		assert_string_equal(again, json);
		assert_int_equal(back.specs->predictor.type, PREDICTOR_ENGINE);
		spec_set_fini(&back);
	}
	spec_set_fini(&set);
}

/* One of the lines that are told. */
static void tells(const char *yaml, const char *line)
{
	cleanup_free char *got = NULL;
	struct spec_set set;

	parse(&set, yaml);
	got = lines_of(&set);
	if (!strstr(got, line))
		fail_msg("\n%s\ntells:\n%s\nbut should tell:\n%s", yaml, got,
			 line);
	spec_set_fini(&set);
}

static void what_is_wrong_with_a_model_is_told(void **state)
{
	(void)state;
	tells("name: a\npredictor: {type: onnx}\n",
	      "predictor.model: required key is missing: 'model: model.onnx' "
	      "serves the file without any Python, 'path: predictor.py' is a "
	      "class ONNXPredictor\n");
	tells("name: a\npredictor: {model: nope.onnx}\n",
	      AT "2:20: a: predictor.model: project has no file 'nope.onnx' "
		 "(looked beside soma.yaml)\n");
	tells("name: a\npredictor: {model: model.bin}\n",
	      AT "2:20: a: predictor.model: expected a file whose name ends in "
		 ".onnx, found 'model.bin'\n");
	tells("name: a\npredictor: {model: /srv/model.onnx}\n",
	      AT "2:20: a: predictor.model: expected a path inside the "
		 "project, relative to soma.yaml and without '..', found "
		 "'/srv/model.onnx'\n");
	tells("name: a\npredictor: {type: engine}\n",
	      AT "2:12: a: predictor.engine: required key is missing; for "
		 "example 'engine: ./engine.so'\n");
	tells("name: a\npredictor: {engine: pjrt}\n",
	      AT "2:21: a: predictor.engine: expected onnx, echo, or a file of "
		 "the project whose name ends in .so, found 'pjrt'\n");
	tells("name: a\npredictor: {engine: mine.so}\n",
	      AT "2:21: a: predictor.engine: project has no file 'mine.so' "
		 "(looked beside soma.yaml)\n");
	tells("name: a\npredictor: {engine: onnx}\n",
	      "predictor.model: required key is missing");
	tells(ONNX(", path: predictor.py"),
	      AT "2:12: iris: predictor.type: required where path and model "
		 "are both given: python, onnx, engine or command\n");
	tells(ONNX(", type: onnx, path: predictor.py"),
	      AT "2:13: iris: predictor.model: only for type onnx without a "
		 "path or engine, this one is onnx with a path\n");
	tells(ONNX(", intra_op_threads: 0"),
	      AT "2:50: iris: predictor.intra_op_threads: expected an integer "
		 "from 1 to 1024, found '0'\n");
	tells(ONNX(", graph_optimization: most"),
	      "predictor.graph_optimization: expected disabled, basic, "
	      "extended or all, found 'most'\n");
	tells(ONNX(", server_side_batching: {max_batch_size: 1, "
		   "batch_interval: 0s}"),
	      AT "2:71: iris: "
		 "predictor.server_side_batching.max_batch_size: expected an "
		 "integer from 2 to 1024, found '1'\n" AT "2:90: iris: "
		 "predictor.server_side_batching.batch_interval: expected a "
		 "duration from 1ms to 24h, found '0s'\n");
	tells(ONNX(", server_side_batching: {max_batch_size: 8}"),
	      AT "2:54: iris: "
		 "predictor.server_side_batching.batch_interval: required key "
		 "is missing; for example 'batch_interval: 10ms'\n");
	tells(ONNX(", batching: atuo"),
	      AT "2:42: iris: predictor.batching: expected auto or a map, "
		 "found 'atuo'\n");
	tells(ONNX(", batching: {latency_target: 0s, max_batch_size: 1}"),
	      AT "2:59: iris: predictor.batching.latency_target: expected a "
		 "duration from 1ms to 24h, found '0s'\n" AT
		 "2:79: iris: predictor.batching.max_batch_size: expected an "
		 "integer from 2 to 1024, found '1'\n");
	tells(ONNX(", batching: auto, server_side_batching: "
		   "{max_batch_size: 8, batch_interval: 1ms}"),
	      AT "2:42: iris: predictor.batching: there is "
		 "server_side_batching, too: remove batching to have the size "
		 "and interval that it says, or it to have them learned\n");
	tells(ONNX(", engine_options: {a: [1], b: ~}"),
	      AT "2:52: iris: predictor.engine_options.a: expected a text, a "
		 "number or a boolean, found a list\n" AT
		 "2:60: iris: predictor.engine_options.b: expected a text, a "
		 "number or a boolean, found nothing\n");
	tells(ONNX(", config: {a: 1}"),
	      "predictor.config: only for type python or onnx with a path, "
	      "this one is onnx without a path\n");
	tells(CMD("threads_per_process: 2"),
	      "predictor.threads_per_process: only for type python, onnx or "
	      "engine, this one is command\n");
}

static void classes_have_no_engine(void **state)
{
	CHECK({PY("intra_op_threads: 2"),
	       AT "2:33: iris: predictor.intra_op_threads: only for type onnx "
		  "without a path or engine, this one is python\n"},
	      {CMD("model: model.onnx, type: command"),
	       AT "2:29: web: predictor.model: only for type onnx without a "
		  "path or engine, this one is command\n"});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_model_is_enough),
		cmocka_unit_test(everything_is_kept),
		cmocka_unit_test(json_gives_it_back),
		cmocka_unit_test(what_is_wrong_with_a_model_is_told),
		cmocka_unit_test(classes_have_no_engine),
	};

	return cmocka_run_group_tests_name("spec_native", tests, NULL, NULL);
}
