/* What a config file becomes, and what is told of one that is none. */
#include "test_spec_kit.h"

static void the_least_gets_every_default(void **state)
{
	struct spec_set set;
	const struct spec *s;

	(void)state;
	assert_int_equal(parse(&set, "- "
				     "name: iris\n"
				     "  predictor: {path: predictor.py}\n"),
			 0);
	assert_int_equal(set.n_problems, 0);
	assert_int_equal(set.n_specs, 1);
	s = &set.specs[0];
	assert_string_equal(s->name, "iris");
	assert_string_equal(s->kind, "RealtimeAPI");
	assert_string_equal(s->endpoint, "/iris");
	assert_int_equal(s->predictor.type, PREDICTOR_PYTHON);
	assert_string_equal(s->predictor.path, "predictor.py");
	assert_null(s->predictor.python_path);
	assert_null(s->predictor.python);
	assert_string_equal(s->predictor.config_json, "{}");
	assert_int_equal(s->predictor.n_command, 0);
	assert_int_equal(s->predictor.n_env, 0);
	assert_int_equal(s->predictor.processes, 1);
	assert_int_equal(s->predictor.threads, 1);
	assert_null(s->predictor.pip);
	assert_null(s->predictor.shell);
	assert_int_equal(s->predictor.predict_timeout_ms, 0);
	assert_int_equal(s->predictor.max_concurrency, 0);
	assert_int_equal(s->predictor.max_in_flight, 0);
	assert_int_equal(s->max_queue_length, 0);
	assert_null(s->predictor.readiness_path);
	assert_int_equal(s->predictor.start_timeout_ms, 600000);
	assert_false(s->predictor.expose_tracebacks);
	assert_string_equal(s->predictor.log_level, "info");
	assert_int_equal(s->compute.cpu_millis, 200);
	assert_int_equal(s->compute.mem_bytes, 0);
	assert_int_equal(s->compute.mem_limit, 0);
	assert_int_equal(s->scale.min_replicas, 1);
	assert_int_equal(s->scale.max_replicas, 1);
	assert_int_equal(s->scale.init_replicas, 1);
	assert_int_equal(s->scale.max_replica_concurrency, 1024);
	assert_int_equal(s->request_timeout_ms, 60000);
	assert_false(s->retry_safe);
	assert_int_equal(s->grace_ms, 60000);
	spec_set_fini(&set);
}

static const char everything[] =
	"- name: iris\n"
	"  kind: RealtimeAPI\n"
	"  predictor:\n"
	"    type: python\n"
	"    path: ./src//predictor.py\n"
	"    python_path: src/\n"
	"    python: /opt/venv\n"
	"    config: {model: m.pkl, top: 3, nested: {a: [1, 2.5, ~]}}\n"
	"    env: {A: 1, B: yes, C: '', D: 0x10, E: {from_secret: to-k_1}}\n"
	"    processes_per_replica: 2\n"
	"    threads_per_process: 4\n"
	"    predict_timeout: 1m30s\n"
	"    start_timeout: 5m\n"
	"    expose_tracebacks: on\n"
	"    log_level: debug\n"
	"    dependencies: {pip: pip/gpu.txt, shell: setup.sh}\n"
	"  compute: {cpu: 1.5, mem: 1Gi, mem_limit: 2G, gpu: 0, inf: 0}\n"
	"  networking: {endpoint: team/iris/}\n"
	"  autoscaling:\n"
	"    min_replicas: 2\n"
	"    max_replicas: 0x10\n"
	"    init_replicas: 3\n"
	"    max_replica_concurrency: 7\n"
	"  request_timeout: 1500ms\n"
	"  retry: safe\n"
	"  grace_period: 0s\n"
	"- name: web\n"
	"  predictor:\n"
	"    command: uvicorn main:app --port $PORT\n"
	"    python: .venv\n"
	"    env: {GREETING: 'hello'}\n"
	"    max_concurrency: 16\n"
	"    readiness_path: /health?deep=1\n"
	"  compute: {cpu: null}\n";

static void everything_is_kept(void **state)
{
	struct spec_set set;
	const struct spec *s;

	(void)state;
	assert_int_equal(parse(&set, everything), 0);
	assert_int_equal(set.n_problems, 0);
	assert_int_equal(set.n_specs, 2);
	s = &set.specs[0];
	assert_string_equal(s->endpoint, "/team/iris");
	assert_string_equal(s->predictor.path, "src/predictor.py");
	assert_string_equal(s->predictor.python_path, "src");
	assert_string_equal(s->predictor.python, "/opt/venv");
	assert_string_equal(s->predictor.config_json,
			    "{\"model\":\"m.pkl\",\"top\":3,"
			    "\"nested\":{\"a\":[1,2.5,null]}}");
	assert_int_equal(s->predictor.n_env, 5);
	assert_string_equal(s->predictor.env[0].name, "A");
	assert_string_equal(s->predictor.env[0].value, "1");
	assert_string_equal(s->predictor.env[1].value, "yes");
	assert_string_equal(s->predictor.env[2].value, "");
	assert_string_equal(s->predictor.env[3].value, "0x10");
	assert_null(s->predictor.env[4].value);
	assert_string_equal(s->predictor.env[4].from_secret, "to-k_1");
	assert_int_equal(s->predictor.processes, 2);
	assert_int_equal(s->predictor.threads, 4);
	assert_int_equal(s->predictor.predict_timeout_ms, 90000);
	assert_int_equal(s->predictor.start_timeout_ms, 300000);
	assert_true(s->predictor.expose_tracebacks);
	assert_string_equal(s->predictor.log_level, "debug");
	assert_string_equal(s->predictor.pip, "pip/gpu.txt");
	assert_string_equal(s->predictor.shell, "setup.sh");
	assert_int_equal(s->compute.cpu_millis, 1500);
	assert_int_equal(s->compute.mem_bytes, 1 << 30);
	assert_int_equal(s->compute.mem_limit, 2000000000);
	assert_int_equal(s->scale.min_replicas, 2);
	assert_int_equal(s->scale.max_replicas, 16);
	assert_int_equal(s->scale.init_replicas, 3);
	assert_int_equal(s->scale.max_replica_concurrency, 7);
	assert_int_equal(s->request_timeout_ms, 1500);
	assert_true(s->retry_safe);
	assert_int_equal(s->grace_ms, 0);

	s = &set.specs[1];
	assert_int_equal(s->predictor.type, PREDICTOR_COMMAND);
	assert_null(s->predictor.path);
	assert_int_equal(s->predictor.n_command, 4);
	assert_string_equal(s->predictor.command[0], "uvicorn");
	assert_string_equal(s->predictor.command[3], "$PORT");
	assert_int_equal(s->predictor.max_concurrency, 16);
	assert_string_equal(s->predictor.readiness_path, "/health?deep=1");
	assert_int_equal(s->compute.cpu_millis, 0);
	spec_set_fini(&set);
}

static void json_gives_back_every_field(void **state)
{
	struct spec_set set;

	(void)state;
	assert_int_equal(parse(&set, everything), 0);
	for (uint32_t i = 0; i < set.n_specs; i++) {
		cleanup_free char *json = spec_to_json(&set.specs[i]);
		cleanup_free char *again = NULL;
		const struct spec *a = &set.specs[i], *b;
		struct err err = {0};
		struct spec_set back;

		assert_int_equal(
			spec_from_json(&back, json, strlen(json), &err), 0);
		assert_int_equal(back.n_specs, 1);
		b = &back.specs[0];
		/* Text tells all fields but for what the table lacks. */
		again = spec_to_json(b);
		assert_string_equal(again, json);
		assert_int_equal(a->predictor.type, b->predictor.type);
		assert_string_equal(a->predictor.config_json,
				    b->predictor.config_json);
		assert_int_equal(a->predictor.n_command,
				 b->predictor.n_command);
		assert_int_equal(a->predictor.n_env, b->predictor.n_env);
		assert_int_equal(a->predictor.processes,
				 b->predictor.processes);
		assert_int_equal(a->predictor.threads, b->predictor.threads);
		assert_int_equal(a->predictor.expose_tracebacks,
				 b->predictor.expose_tracebacks);
		assert_memory_equal(&a->compute, &b->compute,
				    sizeof a->compute);
		assert_memory_equal(&a->scale, &b->scale, sizeof a->scale);
		assert_int_equal(a->request_timeout_ms, b->request_timeout_ms);
		assert_int_equal(a->retry_safe, b->retry_safe);
		assert_int_equal(a->grace_ms, b->grace_ms);
		spec_set_fini(&back);
	}
	spec_set_fini(&set);
}

static void json_is_stable_and_whole(void **state)
{
	static const char want[] =
		"{\"name\":\"web\",\"kind\":\"RealtimeAPI\","
		"\"compute\":{\"cpu\":0,\"mem\":0,\"mem_limit\":0},"
		"\"networking\":{\"endpoint\":\"/web\",\"server_timing\":false,"
		"\"cors\":{\"allow_origins\":[],\"allow_methods\":[\"*\"],"
		"\"allow_headers\":[\"*\"],\"expose_headers\":[\"*\"],"
		"\"allow_credentials\":false,\"max_age\":1728000000}},"
		"\"autoscaling\":{\"min_replicas\":1,\"max_replicas\":1,"
		"\"init_replicas\":1,\"max_wait\":100,\"wait_worth\":30.0,"
		"\"keep_idle\":0,"
		"\"buffer_replicas\":0,"
		"\"max_replica_concurrency\":1024,\"policy\":\"latency\","
		"\"target_replica_concurrency\":16.0,\"window\":60000,"
		"\"downscale_stabilization_period\":300000,"
		"\"upscale_stabilization_period\":60000,"
		"\"max_downscale_factor\":0.75,\"max_upscale_factor\":1.5,"
		"\"downscale_tolerance\":0.05,\"upscale_tolerance\":0.05,"
		"\"schedule\":null},"
		"\"update_strategy\":{\"max_surge\":\"auto\","
		"\"max_unavailable\":\"auto\",\"max_hold\":60000,"
		"\"watch\":30000},"
		"\"request_timeout\":60000,\"max_queue_length\":0,"
		"\"retry\":\"never\",\"on_cold\":\"hold\","
		"\"grace_period\":60000,\"predictor\":{\"type\":\"command\","
		"\"path\":null,\"model\":null,\"engine\":null,"
		"\"intra_op_threads\":1,\"graph_optimization\":\"all\","
		"\"execution_provider\":\"cpu\",\"engine_options\":{},"
		"\"onnxruntime\":null,\"command\":[\"uvicorn\",\"main:app\","
		"\"--port\",\"$PORT\"],\"max_concurrency\":16,"
		"\"readiness_path\":\"/health?deep=1\",\"python_path\":null,"
		"\"python\":\".venv\",\"config\":{},"
		"\"env\":[{\"name\":\"GREETING\",\"value\":\"hello\"}],"
		"\"processes_per_replica\":1,\"threads_per_process\":1,"
		"\"max_in_flight\":0,\"max_hooks\":64,"
		"\"predict_timeout\":0,\"expose_tracebacks\":false,"
		"\"start_timeout\":600000,\"zygote\":\"auto\",\"freeze\":"
		"\"auto\","
		"\"log_level\":\"info\","
		"\"dependencies\":{\"pip\":null,\"shell\":null},"
		"\"base_packages\":\"none\","
		"\"server_side_batching\":{\"max_batch_size\":0,"
		"\"batch_interval\":0},"
		"\"batching\":{\"latency_target\":0},\"class\":"
		"\"PythonPredictor\","
		"\"models\":null},\"warmup\":null}";
	cleanup_free char *json = NULL;
	struct spec_set set;

	(void)state;
	assert_int_equal(parse(&set, everything), 0);
	json = spec_to_json(&set.specs[1]);
	assert_string_equal(json, want);
	spec_set_fini(&set);
}

static void json_without_a_field_reads_its_default(void **state)
{
	static const char *const bad[] = {
		"",
		"[]",
		"{}",
		"{\"name\":1}",
		"{\"name\":\"a\",\"networking\":{\"endpoint\":\"/a\"},"
		"\"grace_period\":-1}",
		"{\"name\":\"a\",\"networking\":{\"endpoint\":\"/a\"},"
		"\"grace_period\":4294967296}",
		"{\"name\":\"a\",\"networking\":{\"endpoint\":\"/a\"},"
		"\"predictor\":{\"type\":\"onnx\"}}",
		"{\"name\":\"a\",\"networking\":{\"endpoint\":\"/a\"},"
		"\"predictor\":{\"env\":[{\"name\":\"A\"}]}}",
		"{\"name\":\"a\\u0000b\",\"networking\":{\"endpoint\":\"/a\"}}",
	};
	static const char least[] =
		"{\"name\":\"a\",\"networking\":{\"endpoint\":\"/a\"}}";
	struct spec_set set;
	struct err err = {0};

	(void)state;
	assert_int_equal(spec_from_json(&set, least, strlen(least), &err), 0);
	assert_int_equal(set.specs->predictor.processes, 1);
	assert_int_equal(set.specs->request_timeout_ms, 60000);
	spec_set_fini(&set);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(
			spec_from_json(&set, bad[i], strlen(bad[i]), &err),
			E_INVALID);
		spec_set_fini(&set);
	}
	assert_string_equal(err.msg, "spec: bad value of name");
}

static void a_list_a_map_or_nothing(void **state)
{
	CHECK({IRIS, NULL},
	      {"---\n- name: iris\n  predictor: {path: "
	       "predictor.py}\n...\n",
	       NULL},
	      {"", "soma.yaml: no apis in this file\n"},
	      {"# only words\n", "soma.yaml: no apis in this file\n"},
	      {"[]", "soma.yaml: no apis in this file\n"},
	      {"~", "soma.yaml: no apis in this file\n"},
	      {"iris", AT "1:1: expected a list of apis, found 'iris'\n"},
	      {"cluster_name: cortex\nregion: us-east-1\n",
	       AT "1:1: this is the config of a Cortex cluster: Soma has none "
		  "to set up; name the file of the apis, such as "
		  "cortex.yaml\n"},
	      {"- iris\n- []\n",
	       AT "1:3: expected an api, a map with name and predictor, found "
		  "'iris'\n" AT
		  "2:3: expected an api, a map with name and predictor, found "
		  "an empty list\n"},
	      {IRIS "---\n" IRIS,
	       AT "3:1: a second document begins here: put all apis into one "
		  "list\n"},
	      {"\xef\xbb\xbf" IRIS, NULL});
}

static void everything_at_once(void **state)
{
	CHECK({"- name: a\n"
	       "  name: b\n"
	       "  predictor: {path: nope.py, treads_per_process: 2}\n"
	       "- kind: TaskAPI\n"
	       "- name: c\n"
	       "  predictor: {path: predictor.py}\n"
	       "  compute: {cpu: x}\n",
	       AT "2:3: a: key 'name' is given twice: first at line 1\n" AT
		  "3:21: a: predictor.path: project has no file 'nope.py' "
		  "(looked beside soma.yaml)\n" AT
		  "3:30: a: predictor.treads_per_process: unknown key; did you "
		  "mean 'threads_per_process'?\n" AT
		  "4:9: kind: kind \"TaskAPI\" is not served by this version "
		  "of Soma; supported: RealtimeAPI, TrafficSplitter. Remove "
		  "this api from the "
		  "file to deploy the others\n" AT
		  "7:18: c: compute.cpu: expected cores such as 200m, 0.5 or "
		  "2, found 'x'\n"});
}

static void broken_yaml(void **state)
{
#define TAB "tab character used for indentation; use spaces\n"
	CHECK({"- name: a\n\tkind: b\n", AT "2:1: " TAB},
	      {"- name: a\n  predictor:\n  \tpath: b\n", AT "3:3: " TAB},
	      {"-\tname: a\n\tkind: b\n", AT "1:2: " TAB},
	      {"- name: \xff\n",
	       AT "1:9: not UTF-8 text (byte 0xff): save the file as UTF-8\n"},
	      {"- name: \xc3\xa9\xc0\x80\n",
	       AT "1:10: not UTF-8 text (byte 0xc0): save the file as UTF-8\n"},
	      {"\xff\xfe-\n", AT "1:1: not UTF-8 text (byte 0xff): save the "
				 "file as UTF-8\n"},
	      {"name: a\x01\n",
	       AT "1:8: control character 0x01 is not allowed here\n"},
	      {"name: \"a\\0b\"\n"
	       "predictor: {path: predictor.py}\n",
	       AT "1:7: a: text has a NUL character, which nothing here can "
		  "take\n"},
	      {"- name: a\n   kind: b\n",
	       AT "2:8: ':' is not expected here: check the indentation, and "
		  "quote a text that has ': ' in it\n"},
	      {"- name: a\n  predictor\n  kind: b\n",
	       AT "2:3: expected 'key: value', but there is no ':' behind the "
		  "key\n"},
	      {"- name: 'a\n", AT "1:9: quote is not closed\n"},
	      {"- [a, b\n", AT "1:3: list is not closed: expected ',' or "
			       "']'\n"},
	      {"- {a: b\n", AT "1:3: map is not closed: expected ',' or "
			       "'}'\n"},
	      {"- name: {a: ]}\n", AT "1:13: expected a value here\n"},
	      {"- name: @a\n",
	       AT "1:9: a text cannot begin with this character: quote it\n"},
	      {"- name: \"\\d\"\n",
	       AT "1:10: unknown escape in a double-quoted text: put texts "
		  "with backslashes into single quotes\n"},
	      {PY("config: *c"),
	       AT "2:41: iris: alias *c has no anchor &c before it\n"},
	      {PY("config: &c {a: [*c]}"),
	       AT "2:49: iris: *c stands inside &c: a value cannot contain "
		  "itself\n"},
	      {PY("config: {a: !py/object x}"),
	       AT "2:45: iris: tag '!py/object' is not supported here: remove "
		  "it\n"},
	      {PY("config: {<<: 3}"),
	       AT "2:46: iris: <<: expected a map, or a list of maps\n"});
}

static void bases_are_merged(void **state)
{
	struct spec_set set;

	(void)state;
	assert_int_equal(parse(&set, "- &base\n"
				     "  name: a\n"
				     "  predictor: {path: predictor.py}\n"
				     "  request_timeout: 5s\n"
				     "- <<: [*base]\n"
				     "  name: b\n"),
			 0);
	assert_int_equal(set.n_specs, 2);
	assert_string_equal(set.specs[1].name, "b");
	assert_string_equal(set.specs[1].endpoint, "/b");
	assert_string_equal(set.specs[1].predictor.path, "predictor.py");
	assert_int_equal(set.specs[1].request_timeout_ms, 5000);
	spec_set_fini(&set);
}

/* head, then `unit` n times, then tail. */
static char *repeated(const char *head, const char *unit, int n,
		      const char *tail)
{
	struct buf b;

	buf_init(&b, 16 << 20);
	buf_adds(&b, head);
	for (int i = 0; i < n; i++)
		buf_adds(&b, unit);
	buf_adds(&b, tail);
	return buf_take(&b, NULL);
}

static void tells(const char *yaml, const char *line)
{
	cleanup_free char *got = NULL;
	struct spec_set set;

	parse(&set, yaml);
	got = lines_of(&set);
	assert_string_equal(got, line);
	spec_set_fini(&set);
}

static void bombs_are_refused(void **state)
{
	cleanup_free char *deep = repeated("- ", "[", 100, "");
	cleanup_free char *config = repeated(
		"name: iris\npredictor: {path: predictor.py, config: {x: '",
		"0123456789", 13200, "'}}");
	cleanup_free char *text = repeated("- &a ", "0123456789", 30000, "");
	cleanup_free char *often = repeated(text, "\n- *a", 20, "\n");
	cleanup_free char *many = repeated("", "- 1\n", 100001, "");
	cleanup_free char *file = repeated("", "0123456789", 104858, "");

	(void)state;
	tells(deep, AT "1:66: nested more than 64 deep\n");
	tells("- &a [x,x,x,x,x,x,x,x,x,x]\n"
	      "- &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
	      "- &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
	      "- &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
	      "- &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n"
	      "- &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n",
	      AT "4:3: too many values: more than 100000 once its aliases are "
		 "followed\n");
	tells(often, AT "1:3: too much text: more than 4 MiB once its aliases "
			"are followed\n");
	tells(many, AT "100000:3: too many values: at most 100000 in one "
		       "file\n");
	tells(file, "soma.yaml: file has 1048580 bytes; at most 1048576 (1 "
		    "MiB)\n");
	tells(config, AT "2:41: iris: predictor.config: is 129 KiB as JSON; at "
			 "most 128 KiB: put large data into a file of the "
			 "project\n");
}

static void only_so_many_problems_are_listed(void **state)
{
	cleanup_free char *yaml = repeated("", "- 1\n", 205, "");
	struct spec_set set;

	(void)state;
	assert_int_equal(parse(&set, yaml), E_UNPROCESSABLE);
	assert_int_equal(set.n_errors, 205);
	assert_int_equal(set.n_problems, 201);
	assert_string_equal(set.problems[200].text,
			    "5 more problems are not shown");
	spec_set_fini(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_least_gets_every_default),
		cmocka_unit_test(everything_is_kept),
		cmocka_unit_test(json_gives_back_every_field),
		cmocka_unit_test(json_is_stable_and_whole),
		cmocka_unit_test(json_without_a_field_reads_its_default),
		cmocka_unit_test(a_list_a_map_or_nothing),
		cmocka_unit_test(everything_at_once),
		cmocka_unit_test(broken_yaml),
		cmocka_unit_test(bases_are_merged),
		cmocka_unit_test(bombs_are_refused),
		cmocka_unit_test(only_so_many_problems_are_listed),
	};

	return cmocka_run_group_tests_name("spec", tests, NULL, NULL);
}
