/* What people are told about their soma.yaml, word by word. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/mem.h"
#include "spec/keys.h"
#include "spec/spec.h"

/* The project of all tests. */
static int kind_of(void *data, const char *path)
{
	static const char *const files[] = {"predictor.py", "src/predictor.py",
					    "requirements.txt", "pip/gpu.txt",
					    "setup.sh"};

	if (data && strcmp(path, data) == 0)
		return 1;
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		if (strcmp(files[i], path) == 0)
			return 1;
	return strcmp(path, "src") == 0 || strcmp(path, "pip") == 0 ? 2 : 0;
}

static const struct spec_files project = {.kind_of = kind_of};

struct told {
	const char *yaml;
	const char *lines; /* NULL: nothing is wrong */
};

static int parse(struct spec_set *set, const char *yaml)
{
	return spec_parse(set, "soma.yaml", yaml, strlen(yaml), &project);
}

/* All problem lines; a warning's with "warning " before it. */
static char *lines_of(struct spec_set *set)
{
	struct buf b;

	buf_init(&b, 1 << 20);
	for (uint32_t i = 0; i < set->n_problems; i++) {
		const struct problem *p = &set->problems[i];

		buf_addf(&b, "%s%s\n",
			 p->level == PROBLEM_WARNING ? "warning " : "",
			 spec_problem_line(set, "soma.yaml", p));
	}
	return buf_take(&b, NULL);
}

static void check(const struct told *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *want = cases[i].lines ? cases[i].lines : "";
		cleanup_free char *got = NULL;
		struct spec_set set;
		uint32_t errors = 0;
		int rc = parse(&set, cases[i].yaml);

		got = lines_of(&set);
		if (strcmp(got, want) != 0)
			fail_msg("\n%s\ntells:\n%s\nbut should tell:\n%s",
				 cases[i].yaml, got, want);
		for (uint32_t p = 0; p < set.n_problems; p++)
			errors += set.problems[p].level == PROBLEM_ERROR;
		assert_int_equal(errors, set.n_errors);
		assert_int_equal(rc, errors ? E_UNPROCESSABLE : 0);
		spec_set_fini(&set);
	}
}

#define CHECK(...)                                                             \
	do {                                                                   \
		static const struct told cases[] = {__VA_ARGS__};              \
		(void)state;                                                   \
		check(cases, ARRAY_LEN(cases));                                \
	} while (0)

/* An api that is right, to be gone on with from line 3. */
#define IRIS "name: iris\npredictor: {path: predictor.py}\n"
/* A predictor with one more key, which begins at column 33 of line 2. */
#define PY(key) "name: iris\npredictor: {path: predictor.py, " key "}\n"
#define CMD(key) "name: web\npredictor: {command: serve, " key "}\n"
#define AT "soma.yaml:"

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
	assert_null(s->predictor.readiness_path);
	assert_int_equal(s->predictor.start_timeout_ms, 600000);
	assert_false(s->predictor.expose_tracebacks);
	assert_string_equal(s->predictor.log_level, "info");
	assert_int_equal(s->compute.cpu_millis, 200);
	assert_int_equal(s->compute.mem_bytes, 0);
	assert_int_equal(s->compute.mem_limit, 0);
	assert_int_equal(s->scale.min_replicas, 1);
	assert_int_equal(s->scale.max_replicas, 100);
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
		"{\"name\":\"web\",\"kind\":\"RealtimeAPI\",\"predictor\":{"
		"\"type\":\"command\",\"path\":null,\"python_path\":null,"
		"\"python\":\".venv\",\"config\":{},"
		"\"command\":[\"uvicorn\",\"main:app\",\"--port\",\"$PORT\"],"
		"\"env\":[{\"name\":\"GREETING\",\"value\":\"hello\"}],"
		"\"processes_per_replica\":1,\"threads_per_process\":1,"
		"\"predict_timeout\":0,\"expose_tracebacks\":false,"
		"\"max_concurrency\":16,"
		"\"readiness_path\":\"/health?deep=1\","
		"\"start_timeout\":600000,\"log_level\":\"info\","
		"\"dependencies\":{\"pip\":null,\"shell\":null}},"
		"\"compute\":{\"cpu\":0,\"mem\":0,\"mem_limit\":0},"
		"\"networking\":{\"endpoint\":\"/web\"},"
		"\"autoscaling\":{\"min_replicas\":1,\"max_replicas\":100,"
		"\"init_replicas\":1,\"max_replica_concurrency\":1024},"
		"\"request_timeout\":60000,\"retry\":\"never\","
		"\"grace_period\":60000}";
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

static void names_and_kinds(void **state)
{
#define P "predictor: {path: predictor.py}\n"
#define NAME_RULE                                                              \
	"name: expected at most 42 lower-case letters, digits and '-', "       \
	"beginning with a letter and not ending in '-', found "
	CHECK({P, AT "1:1: name: required key is missing; for example 'name: "
		     "iris'\n"},
	      {"name: Iris\n" P, AT "1:7: Iris: " NAME_RULE "'Iris'\n"},
	      {"name: 1\n" P, AT "1:7: 1: " NAME_RULE "'1'\n"},
	      {"name: a-\n" P, AT "1:7: a-: " NAME_RULE "'a-'\n"},
	      {"name: [a]\n" P,
	       AT "1:7: name: expected a text, found a list\n"},
	      {"name:\n" P, AT "1:6: name: expected a text, found nothing\n"},
	      {"name: a\nkind: RealtimeAPI\n" P, NULL},
	      {"name: a\nkind: RealtimeApi\n" P,
	       AT "2:7: a: kind: expected RealtimeAPI, found 'RealtimeApi'; "
		  "did you mean 'RealtimeAPI'?\n"},
	      {"name: a\nkind: BatchAPI\nwhatever: 1\n",
	       AT "2:7: a: kind: kind \"BatchAPI\" is not served by this "
		  "version of Soma; supported: RealtimeAPI\n"},
	      {"name: a\nkind: TrafficSplitter\napis: []\n",
	       AT "2:7: a: kind: kind \"TrafficSplitter\" is not served by "
		  "this version of Soma; supported: RealtimeAPI\n"},
	      {"- name: a\n  " P "- name: a\n  " P,
	       AT "3:9: a: name: name 'a' is taken by another api at line "
		  "1\n"},
	      {"- name: a\n  " P
	       "- name: b\n  networking: {endpoint: /a}\n  " P,
	       AT "4:26: b: networking.endpoint: endpoint '/a' is taken by a "
		  "at line 1\n"});
#undef P
}

static void types_of_predictor(void **state)
{
	CHECK({"name: a\n",
	       AT "1:1: a: predictor: required key is missing; for example "
		  "'predictor: {type: python, path: predictor.py}'\n"},
	      {"name: a\npredictor:\n",
	       AT "2:11: a: predictor: required key is missing; for example "
		  "'predictor: {type: python, path: predictor.py}'\n"},
	      {"name: a\npredictor: {}\n",
	       AT "2:12: a: predictor.type: required key is missing; expected "
		  "python or command\n"},
	      {"name: a\npredictor: {path: predictor.py, command: x}\n",
	       AT "2:12: a: predictor.type: required where path and command "
		  "are both given: python or command\n"},
	      {"name: a\npredictor: {type: python}\n",
	       AT "2:12: a: predictor.path: required key is missing; for "
		  "example 'path: predictor.py'\n"},
	      {"name: a\npredictor: {type: command}\n",
	       AT "2:12: a: predictor.command: required key is missing; for "
		  "example 'command: [uvicorn, main:app, --port, $PORT]'\n"},
	      {PY("type: pyton"),
	       AT "2:39: iris: predictor.type: expected python or command, "
		  "found 'pyton'; did you mean 'python'?\n"},
	      {PY("type: tensorflow, models: {path: s3://m}"),
	       AT "2:39: iris: predictor.type: type \"tensorflow\" is not "
		  "served by this version of Soma; run the model's own server "
		  "with 'type: command' (for example tensorflow_model_server), "
		  "or convert the model to ONNX and load it with onnxruntime "
		  "in a python predictor\n"},
	      {PY("type: onnx"),
	       AT "2:39: iris: predictor.type: type \"onnx\" is not served by "
		  "this version yet; load the .onnx file with onnxruntime in a "
		  "python predictor\n"},
	      {CMD("threads_per_process: 2"),
	       AT "2:29: web: predictor.threads_per_process: only for type "
		  "python, this one is command\n"},
	      {PY("readiness_path: /"),
	       AT "2:33: iris: predictor.readiness_path: only for type "
		  "command, this one is python\n"},
	      {"name: a\nhandler: {type: python, path: handler.py}\n",
	       AT "2:1: a: handler: Cortex's handler (0.34, 0.35) is not "
		  "served by this version of Soma; write 'predictor:' instead, "
		  "and rename the class to PythonPredictor and its method to "
		  "predict\n"},
	      {"name: a\npod: {port: 80, containers: [{image: x}]}\n",
	       AT "2:1: a: pod: containers are not run by this version of "
		  "Soma; run the server itself: 'predictor: {type: command, "
		  "command: [...]}', listening on $PORT\n"});
}

static void unknown_keys_name_the_nearest(void **state)
{
	CHECK({PY("processes: 2"),
	       AT "2:33: iris: predictor.processes: unknown key; did you mean "
		  "'processes_per_replica'?\n"},
	      {PY("pyton_path: src"),
	       AT "2:33: iris: predictor.pyton_path: unknown key; did you mean "
		  "'python_path'?\n"},
	      {PY("cpu: 1"), AT "2:33: iris: predictor.cpu: unknown key here; "
				"did you mean 'compute.cpu'?\n"},
	      {PY("kind: RealtimeAPI"),
	       AT "2:33: iris: predictor.kind: unknown key here; 'kind' is a "
		  "key of the api itself\n"},
	      {IRIS "min_replicas: 2\n",
	       AT "3:1: iris: min_replicas: unknown key here; did you mean "
		  "'autoscaling.min_replicas'?\n"},
	      {IRIS "autoscaling: {max_replica: 2}\n",
	       AT "3:15: iris: autoscaling.max_replica: unknown key; did you "
		  "mean 'max_replicas'?\n"},
	      {IRIS "grace: 3s\n", AT "3:1: iris: grace: unknown key; did you "
				      "mean 'grace_period'?\n"},
	      {IRIS "zebra: 1\n", AT "3:1: iris: zebra: unknown key\n"},
	      {IRIS "\"a\\nb\\x1b[2J\\x9b\": 1\n",
	       AT "3:1: iris: a\\nb\\x1b[2J\\x9b: unknown key\n"});
}

static void numbers_and_words(void **state)
{
	CHECK({PY("processes_per_replica: two"),
	       AT "2:56: iris: predictor.processes_per_replica: expected an "
		  "integer from 1 to 100, found 'two'\n"},
	      {PY("processes_per_replica: 101"),
	       AT "2:56: iris: predictor.processes_per_replica: expected an "
		  "integer from 1 to 100, found '101'\n"},
	      {PY("processes_per_replica: '2'"),
	       AT "2:56: iris: predictor.processes_per_replica: expected an "
		  "integer from 1 to 100, found '2'\n"},
	      {PY("processes_per_replica: [2]"),
	       AT "2:56: iris: predictor.processes_per_replica: expected an "
		  "integer from 1 to 100, found a list\n"},
	      {PY("processes_per_replica: "),
	       AT "2:56: iris: predictor.processes_per_replica: expected an "
		  "integer from 1 to 100, found nothing\n"},
	      {PY("processes_per_replica: 1.5, threads_per_process: 010"),
	       AT "2:56: iris: predictor.processes_per_replica: expected an "
		  "integer from 1 to 100, found '1.5'\n" AT
		  "2:82: iris: predictor.threads_per_process: expected an "
		  "integer from 1 to 1024, found '010'\n"},
	      {PY("expose_tracebacks: 1"),
	       AT "2:52: iris: predictor.expose_tracebacks: expected true or "
		  "false, found '1'\n"},
	      {PY("log_level: warn"),
	       AT "2:44: iris: predictor.log_level: expected debug, info, "
		  "warning or error, found 'warn'; did you mean 'warning'?\n"},
	      {IRIS "retry: yes\n",
	       AT "3:8: iris: retry: expected never or safe, found 'yes'\n"},
	      {IRIS "request_timeout: 60\n",
	       AT "3:18: iris: request_timeout: expected a duration such as "
		  "30s, 5m or 1h30m, found '60': write 60s for seconds\n"},
	      {IRIS "request_timeout: 5 minutes\n",
	       AT "3:18: iris: request_timeout: expected a duration such as "
		  "30s, 5m or 1h30m, found '5 minutes'\n"},
	      {IRIS "request_timeout: 0\n", NULL},
	      {IRIS "request_timeout: 1000h\n",
	       AT "3:18: iris: request_timeout: expected a duration from 0 to "
		  "720h, found '1000h'\n"},
	      {PY("start_timeout: 10ms"),
	       AT "2:48: iris: predictor.start_timeout: expected a duration "
		  "from 1s to 720h, found '10ms'\n"},
	      {IRIS "compute: {cpu: lots, mem: 12 gigs, mem_limit: 1Mi}\n",
	       AT "3:16: iris: compute.cpu: expected cores such as 200m, 0.5 "
		  "or 2, found 'lots'\n" AT
		  "3:27: iris: compute.mem: expected a size such as 512Mi or "
		  "2Gi, found '12 gigs'\n" AT
		  "3:47: iris: compute.mem_limit: expected a size of at least "
		  "20Mi, found '1Mi'\n"},
	      {IRIS "compute: {cpu: 10m}\n",
	       AT "3:16: iris: compute.cpu: expected cores of at least 20m, "
		  "found '10m'\n"},
	      {IRIS "compute: 3\n",
	       AT "3:10: iris: compute: expected a map, found '3'\n"},
	      {IRIS "compute:\nnetworking: ~\n", NULL});
}

static void files_of_the_project(void **state)
{
#define INSIDE                                                                 \
	"expected a path inside the project, relative to soma.yaml "           \
	"and without '..', found "
	CHECK({"name: a\npredictor: {path: nope.py}\n",
	       AT "2:19: a: predictor.path: project has no file 'nope.py' "
		  "(looked beside soma.yaml)\n"},
	      {"name: a\npredictor: {path: /predictor.py}\n",
	       AT "2:19: a: predictor.path: " INSIDE "'/predictor.py'\n"},
	      {"name: a\npredictor: {path: src/../../predictor.py}\n", AT
	       "2:19: a: predictor.path: " INSIDE "'src/../../predictor.py'\n"},
	      {"name: a\npredictor: {path: requirements.txt}\n",
	       AT "2:19: a: predictor.path: expected a Python file, with a "
		  "name that ends in .py, found 'requirements.txt'\n"},
	      {PY("python_path: lib"),
	       AT "2:46: iris: predictor.python_path: project has no "
		  "directory 'lib' (looked beside soma.yaml)\n"},
	      {PY("python_path: predictor.py"),
	       AT "2:46: iris: predictor.python_path: 'predictor.py' is a "
		  "file; expected a directory\n"},
	      {PY("python_path: ."), NULL},
	      {PY("dependencies: {pip: gpu.txt, shell: pip}"),
	       AT "2:53: iris: predictor.dependencies.pip: project has no "
		  "file 'gpu.txt' (looked beside soma.yaml)\n" AT
		  "2:69: iris: predictor.dependencies.shell: 'pip' is a "
		  "directory; expected a file\n"},
	      {PY("python: ~/venv"),
	       AT "2:41: iris: predictor.python: '~' is not filled in: write "
		  "the whole path\n"},
	      {PY("python: ../venv"),
	       AT "2:41: iris: predictor.python: expected an absolute path, "
		  "or one inside the project, found '../venv'\n"},
	      {PY("python: /opt/venv/bin/python"), NULL});
}

static void files_may_go_unchecked(void **state)
{
	static const char yaml[] = "name: a\r\n"
				   "predictor: {path: any.py}\r\n";
	struct spec_set set;

	(void)state;
	assert_int_equal(
		spec_parse(&set, "soma.yaml", yaml, strlen(yaml), NULL), 0);
	assert_string_equal(set.specs->predictor.path, "any.py");
	spec_set_fini(&set);
}

static void conda_is_never_ignored_in_silence(void **state)
{
	struct spec_files has_conda = {kind_of, "conda-packages.txt"};
	cleanup_free char *lines = NULL;
	struct spec_set set;

	CHECK({PY("dependencies: {conda: conda-packages.txt}"),
	       AT "2:48: iris: predictor.dependencies.conda: conda packages "
		  "are not installed by this version; list the packages in "
		  "requirements.txt, or point predictor.python to a conda "
		  "environment\n"},
	      {PY("dependencies: {conda: ~}"), NULL});
	assert_int_equal(
		spec_parse(&set, "soma.yaml", IRIS, strlen(IRIS), &has_conda),
		0);
	lines = lines_of(&set);
	assert_string_equal(
		lines,
		"warning " AT "2:12: iris: predictor.dependencies.conda: the "
		"project's conda-packages.txt is not acted on yet: list "
		"the packages in requirements.txt, or point "
		"predictor.python to a conda environment\n");
	spec_set_fini(&set);
}

static void endpoints(void **state)
{
#define ENDPOINT(text) IRIS "networking: {endpoint: " text "}\n"
#define ENDPOINT_RULE                                                          \
	AT "3:24: iris: networking.endpoint: expected a path such as /iris "   \
	   "or /team/iris of at most 1000 letters, digits and -._~, found "
	CHECK({ENDPOINT("a/b"), NULL}, {ENDPOINT("/a.b/~c_d-e/"), NULL},
	      {ENDPOINT("/"), ENDPOINT_RULE "'/'\n"},
	      {ENDPOINT("/a//b"), ENDPOINT_RULE "'/a//b'\n"},
	      {ENDPOINT("/a/../b"), ENDPOINT_RULE "'/a/../b'\n"},
	      {ENDPOINT("/a b"), ENDPOINT_RULE "'/a b'\n"},
	      {ENDPOINT("/a?b"), ENDPOINT_RULE "'/a?b'\n"},
	      {CMD("readiness_path: health"),
	       AT "2:45: web: predictor.readiness_path: expected a path that "
		  "begins with '/', such as /health, found 'health'\n"});
}

static void environment(void **state)
{
	CHECK({PY("env: [A]"), AT "2:38: iris: predictor.env: expected a map "
				  "of names and texts, found a list\n"},
	      {PY("env: {CORTEX_A: 1, SOMA_B: 2}"),
	       AT "2:39: iris: predictor.env.CORTEX_A: names that begin with "
		  "CORTEX_ or SOMA_ are reserved\n" AT
		  "2:52: iris: predictor.env.SOMA_B: names that begin with "
		  "CORTEX_ or SOMA_ are reserved\n"},
	      {PY("env: {A: , B: [1], 2C: x, 'D=E': y}"),
	       AT "2:42: iris: predictor.env.A: expected a text, found "
		  "nothing: write '' for an empty one\n" AT
		  "2:47: iris: predictor.env.B: expected a text, or "
		  "{from_secret: NAME}, found a list\n" AT
		  "2:52: iris: predictor.env.2C: expected a variable's name: "
		  "letters, digits and '_', not beginning with a digit\n" AT
		  "2:59: iris: predictor.env.D=E: expected a variable's name: "
		  "letters, digits and '_', not beginning with a digit\n"},
	      {PY("env: {A: {from_secret: Bad Name}, B: {secret: x}, C: {}}"),
	       AT "2:56: iris: predictor.env.A: from_secret: expected a "
		  "secret's name, 1 to 64 of a-z, 0-9, '-' and '_', found "
		  "'Bad Name'\n" AT
		  "2:71: iris: predictor.env.B: unknown key 'secret'; expected "
		  "a text, or {from_secret: NAME}\n" AT
		  "2:86: iris: predictor.env.C: expected a text, or "
		  "{from_secret: NAME}\n"},
	      {PY("env: {PORT: 1}"), NULL},
	      {CMD("env: {PORT: 1}"),
	       AT "2:35: web: predictor.env.PORT: PORT is chosen by Soma: "
		  "listen on it, and remove the key\n"});
}

static void commands_that_need_a_shell(void **state)
{
#define RUN(text) "name: web\npredictor: {command: " text "}\n"
	CHECK({RUN("[]"),
	       AT "2:22: web: predictor.command: expected a command such as "
		  "[uvicorn, main:app, --port, $PORT], found an empty list\n"},
	      {RUN("''"), AT "2:22: web: predictor.command: there is no "
			     "program in it\n"},
	      {RUN("[a, [b], ~]"),
	       AT "2:26: web: predictor.command[1]: expected a text, found a "
		  "list\n" AT
		  "2:31: web: predictor.command[2]: expected a text, found "
		  "nothing\n"},
	      {RUN("make && ./serve"),
	       AT "2:22: web: predictor.command: no shell runs the command, "
		  "so '&&' would only be an argument; write [sh, -c, '...'] if "
		  "you need a shell\n"},
	      {RUN("cd x; ./serve"),
	       AT "2:22: web: predictor.command: no shell runs the command, "
		  "so 'x;' would only be an argument; write [sh, -c, '...'] if "
		  "you need a shell\n"},
	      {RUN("A=1 ./serve"),
	       AT "2:22: web: predictor.command: no shell runs the command, "
		  "so 'A=1' would be the program; set the variable in "
		  "predictor.env\n"},
	      {RUN("./serve \"it's"),
	       AT "2:22: web: predictor.command: quote is not closed in "
		  "'./serve \"it's'\n"},
	      {RUN("[sh, -c, 'a && b']"), NULL},
	      {RUN("echo '&&' \\; a\\|"), NULL});
}

static void commands_are_split_as_a_shell_would(void **state)
{
	static const struct {
		const char *yaml, *words;
	} cases[] = {
		{"serve  --port $PORT", "serve|--port|$PORT"},
		{"serve --port=${PORT} $(CORTEX_PORT)",
		 "serve|--port=${PORT}|$(CORTEX_PORT)"},
		{"|\n    serve\n      --a\n    --b", "serve|--a|--b"},
		{">-\n    'it''s' \"two words\"", "its|two words"},
		{"a \"b\\\"c\\d\\\\\" 'e\\f' g\\ h", "a|b\"c\\d\\|e\\f|g h"},
		{"a '' \"\" x''y", "a|||xy"},
		{"['a b', 3, yes, '$PORT']", "a b|3|yes|$PORT"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		cleanup_free char *yaml = mem_printf(
			"- name: web\n  predictor:\n   command: %s\n",
			cases[i].yaml);
		struct spec_set set;
		struct buf b;

		assert_int_equal(parse(&set, yaml), 0);
		buf_init(&b, 4096);
		for (uint32_t w = 0; w < set.specs->predictor.n_command; w++)
			buf_addf(&b, "%s%s", w ? "|" : "",
				 set.specs->predictor.command[w]);
		assert_string_equal(buf_cstr(&b), cases[i].words);
		buf_fini(&b);
		spec_set_fini(&set);
	}
}

static void config_becomes_json(void **state)
{
	static const struct {
		const char *yaml, *json;
	} cases[] = {
		{"{}", "{}"},
		{"", "{}"},
		{"{a: 1, b: -2, c: 0x1f, d: 0o17, e: +3}",
		 "{\"a\":1,\"b\":-2,\"c\":31,\"d\":15,\"e\":3}"},
		{"{a: 1.5, b: 1e3, c: .5, d: 1.}",
		 "{\"a\":1.5,\"b\":1000.0,\"c\":0.5,\"d\":1.0}"},
		{"{a: yes, b: Off, c: true, d: y, e: 'no'}",
		 "{\"a\":true,\"b\":false,\"c\":true,\"d\":\"y\","
		 "\"e\":\"no\"}"},
		{"{a: ~, b: , c: null, d: 'null'}",
		 "{\"a\":null,\"b\":null,\"c\":null,\"d\":\"null\"}"},
		{"{a: '5', b: !!str 5, c: !!int \"5\", d: 2020-01-02}",
		 "{\"a\":\"5\",\"b\":\"5\",\"c\":5,\"d\":\"2020-01-02\"}"},
		{"{1: a, true: b, ? x : y}",
		 "{\"1\":\"a\",\"true\":\"b\",\"x\":\"y\"}"},
		{"{a: &x [1, 2], b: *x, c: {<<: {p: 1, q: 2}, q: 3}}",
		 "{\"a\":[1,2],\"b\":[1,2],\"c\":{\"q\":3,\"p\":1}}"},
		{"{a: 18446744073709551615, b: -9223372036854775807}",
		 "{\"a\":18446744073709551615,\"b\":-9223372036854775807}"},
		{"{a: \"\\u00e9\\n\", b: 'h\xc3\xa9'}",
		 "{\"a\":\"\xc3\xa9\\n\",\"b\":\"h\xc3\xa9\"}"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		cleanup_free char *yaml = mem_printf(
			"name: iris\npredictor:\n  path: predictor.py\n"
			"  config: %s\n",
			cases[i].yaml);
		struct spec_set set;

		assert_int_equal(parse(&set, yaml), 0);
		assert_string_equal(set.specs->predictor.config_json,
				    cases[i].json);
		spec_set_fini(&set);
	}
}

static void config_that_is_no_json(void **state)
{
	CHECK({PY("config: [1]"),
	       AT "2:41: iris: predictor.config: expected a map, found a "
		  "list\n"},
	      {PY("config: {a: 010, b: [.inf], c: {d: -.NaN}}"),
	       AT "2:45: iris: predictor.config.a: '010' may be read as octal "
		  "or decimal: quote it, or write it without the leading "
		  "zero\n" AT
		  "2:54: iris: predictor.config.b[0]: JSON has no '.inf': "
		  "quote it, and convert it in your class\n" AT
		  "2:68: iris: predictor.config.c.d: JSON has no '-.NaN': "
		  "quote it, and convert it in your class\n"},
	      {PY("config: {a: 18446744073709551616}"),
	       AT "2:45: iris: predictor.config.a: integer "
		  "'18446744073709551616' does not fit into 64 bits: quote "
		  "it, and convert it in your class\n"},
	      {PY("config: {a: 1, a: 2}"),
	       AT "2:48: iris: key 'a' is given twice: first at line 2\n"},
	      {PY("config: {? [a] : 2}"),
	       AT "2:44: iris: a key must be a text, found a list\n"});
}

static void replicas(void **state)
{
#define FIXED                                                                  \
	"not acted on yet: the number of replicas is fixed: init_replicas\n"
	CHECK({IRIS "autoscaling: {min_replicas: 3, max_replicas: 2}\n",
	       AT "3:46: iris: autoscaling.max_replicas: 2 is less than "
		  "min_replicas, 3\n"},
	      {IRIS "autoscaling: {min_replicas: 200}\n",
	       AT "3:29: iris: autoscaling.min_replicas: 200 is more than "
		  "max_replicas, 100 by default\n"},
	      {IRIS "autoscaling: {init_replicas: 5, max_replicas: 4}\n",
	       AT "3:30: iris: autoscaling.init_replicas: 5 is not between "
		  "min_replicas, 1, and max_replicas, 4\n"},
	      {IRIS "autoscaling: {min_replicas: x, max_replicas: 0}\n",
	       AT "3:29: iris: autoscaling.min_replicas: expected an integer "
		  "from 0 to 10000, found 'x'\n" AT
		  "3:46: iris: autoscaling.max_replicas: expected an integer "
		  "from 1 to 10000, found '0'\n"},
	      {IRIS "autoscaling: {min_replicas: 0}\n",
	       "warning " AT "3:29: iris: autoscaling.min_replicas: scale to "
	       "zero is not acted on yet: one replica is "
	       "kept\n"},
	      {IRIS "autoscaling: {target_replica_concurrency: 2000}\n",
	       "warning " AT
	       "3:15: iris: autoscaling.target_replica_concurrency: " FIXED AT
	       "3:43: iris: autoscaling.target_replica_concurrency: 2000 is "
	       "more than max_replica_concurrency, 1024\n"},
	      {IRIS "autoscaling: {window: 15s, max_upscale_factor: 1}\n",
	       "warning " AT "3:15: iris: autoscaling.window: " FIXED AT
	       "3:23: iris: autoscaling.window: expected a multiple of 10s, "
	       "found '15s'\n"
	       "warning " AT
	       "3:28: iris: autoscaling.max_upscale_factor: " FIXED AT
	       "3:48: iris: autoscaling.max_upscale_factor: expected a number "
	       "above 1, found '1'\n"},
	      {IRIS "autoscaling: {downscale_tolerance: 1}\n",
	       "warning " AT
	       "3:15: iris: autoscaling.downscale_tolerance: " FIXED AT
	       "3:36: iris: autoscaling.downscale_tolerance: expected a number "
	       "from 0 to below 1, found '1'\n"});
}

static void zero_replicas_are_one(void **state)
{
	struct spec_set set;

	(void)state;
	assert_int_equal(parse(&set, IRIS "autoscaling: {min_replicas: 0, "
					  "init_replicas: 0}\n"),
			 0);
	assert_int_equal(set.specs->scale.min_replicas, 1);
	assert_int_equal(set.specs->scale.init_replicas, 1);
	spec_set_fini(&set);
	assert_int_equal(parse(&set, IRIS "autoscaling: {min_replicas: 4}\n"),
			 0);
	assert_int_equal(set.specs->scale.init_replicas, 4);
	spec_set_fini(&set);
}

static void keys_not_acted_on_are_named(void **state)
{
#define UPDATE                                                                 \
	"update_strategy: not acted on yet: a new revision's replicas start "  \
	"beside the old ones\n"
	CHECK({IRIS "update_strategy: {max_surge: 0, max_unavailable: 50%}\n",
	       "warning " AT "3:1: iris: " UPDATE},
	      {IRIS "update_strategy: {max_surge: 0%, max_unavailable: 0}\n",
	       "warning " AT "3:1: iris: " UPDATE AT
	       "3:51: iris: update_strategy.max_unavailable: cannot be 0 while "
	       "max_surge is 0: nothing could be replaced\n"},
	      {IRIS "update_strategy: {max_surge: 120%}\n",
	       "warning " AT "3:1: iris: " UPDATE AT
	       "3:30: iris: update_strategy.max_surge: expected a count or a "
	       "percentage, such as 1 or 25%, found '120%'\n"},
	      {IRIS "monitoring: {model_type: classification}\n",
	       "warning " AT "3:1: iris: monitoring: not acted on yet: "
	       "predictions are not counted by value\n"},
	      {IRIS "monitoring: {key: label}\n",
	       "warning " AT "3:1: iris: monitoring: not acted on yet: "
	       "predictions are not counted by value\n" AT
	       "3:13: iris: monitoring.model_type: required key is missing; "
	       "for example 'model_type: classification'\n"},
	      {IRIS "networking: {api_gateway: none, local_port: 8889}\n",
	       "warning " AT "3:14: iris: networking.api_gateway: not acted "
	       "on yet: there is no API gateway in front\n"
	       "warning " AT "3:33: iris: networking.local_port: not acted on "
	       "yet: every api answers on Soma's port, under its "
	       "endpoint\n"},
	      {PY("image: quay.io/x:1, shm_size: 64Mi"),
	       "warning " AT "2:33: iris: predictor.image: not acted on yet: "
	       "replicas run on this machine, not in a "
	       "container\n"
	       "warning " AT "2:53: iris: predictor.shm_size: not acted on "
	       "yet: replicas share the machine's /dev/shm\n"},
	      {IRIS "compute: {node_groups: [a], shm: 1Gi}\n",
	       "warning " AT "3:11: iris: compute.node_groups: not acted on "
	       "yet: there is one machine\n"
	       "warning " AT "3:29: iris: compute.shm: not acted on yet: "
	       "replicas share the machine's /dev/shm\n"});
}

static void keys_that_change_answers_are_refused(void **state)
{
#define MODELS                                                                 \
	"models are not loaded by this version; load the model in the "        \
	"class's __init__, from a file of the project or a path in "           \
	"predictor.config\n"
	CHECK({IRIS "compute: {gpu: 1, inf: 2}\n",
	       AT "3:11: iris: compute.gpu: this version hands out no "
		  "accelerators; remove compute.gpu: a replica still sees the "
		  "machine's GPUs\n" AT
		  "3:19: iris: compute.inf: this version hands out no "
		  "accelerators; remove compute.inf: a replica still sees the "
		  "machine's devices\n"},
	      {IRIS "compute: {gpu: 0, inf: ~}\n", NULL},
	      {PY("multi_model_reloading: {path: m}"),
	       AT "2:33: iris: predictor.multi_model_reloading: " MODELS},
	      {PY("models: {path: m}"),
	       AT "2:33: iris: predictor.models: " MODELS},
	      {PY("models: ~"), NULL},
	      {PY("server_side_batching: {max_batch_size: 2}"),
	       AT "2:33: iris: predictor.server_side_batching: requests are "
		  "not batched by this version, and predict() would get single "
		  "payloads; remove the key and take one payload\n"},
	      {PY("protobuf_path: a.proto"),
	       AT "2:33: iris: predictor.protobuf_path: gRPC is not served by "
		  "this version; take JSON in predict(), or serve HTTP with "
		  "'type: command'\n"},
	      {IRIS "compute: {mem: 1Gi, mem_limit: 512Mi}\n",
	       AT "3:32: iris: compute.mem_limit: '512Mi' is less than "
		  "compute.mem, '1Gi'\n"});
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
		  "of Soma; supported: RealtimeAPI\n" AT
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

/* The next issue makes the schema and the manual of it. */
static void the_table_is_sound(void **state)
{
	const struct key *k;

	(void)state;
	for (size_t i = 0; (k = key_at(i)); i++) {
		const char *dot = strrchr(k->path, '.');

		assert_ptr_equal(key_find(k->path), k); /* each once */
		assert_non_null(k->text);
		assert_int_equal(k->text[strlen(k->text) - 1], '.');
		assert_non_null(k->versions);
		assert_true(k->kinds);
		assert_int_equal(!k->why, k->acts == WORKS);
		if (k->required && k->acts != REFUSED)
			assert_non_null(k->example);
		if (k->type == KEY_WORD || k->type == KEY_CHOICE)
			assert_non_null(k->words);
		if (dot) {
			cleanup_free char *parent =
				mem_strndup(k->path, (size_t)(dot - k->path));
			size_t n = strlen(parent);

			if (n > 2 && strcmp(parent + n - 2, "[]") == 0)
				parent[n - 2] = 0;
			assert_non_null(key_find(parent));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_table_is_sound),
		cmocka_unit_test(the_least_gets_every_default),
		cmocka_unit_test(everything_is_kept),
		cmocka_unit_test(json_gives_back_every_field),
		cmocka_unit_test(json_is_stable_and_whole),
		cmocka_unit_test(json_without_a_field_reads_its_default),
		cmocka_unit_test(a_list_a_map_or_nothing),
		cmocka_unit_test(names_and_kinds),
		cmocka_unit_test(types_of_predictor),
		cmocka_unit_test(unknown_keys_name_the_nearest),
		cmocka_unit_test(numbers_and_words),
		cmocka_unit_test(files_of_the_project),
		cmocka_unit_test(files_may_go_unchecked),
		cmocka_unit_test(conda_is_never_ignored_in_silence),
		cmocka_unit_test(endpoints),
		cmocka_unit_test(environment),
		cmocka_unit_test(commands_that_need_a_shell),
		cmocka_unit_test(commands_are_split_as_a_shell_would),
		cmocka_unit_test(config_becomes_json),
		cmocka_unit_test(config_that_is_no_json),
		cmocka_unit_test(replicas),
		cmocka_unit_test(zero_replicas_are_one),
		cmocka_unit_test(keys_not_acted_on_are_named),
		cmocka_unit_test(keys_that_change_answers_are_refused),
		cmocka_unit_test(everything_at_once),
		cmocka_unit_test(broken_yaml),
		cmocka_unit_test(bases_are_merged),
		cmocka_unit_test(bombs_are_refused),
		cmocka_unit_test(only_so_many_problems_are_listed),
	};

	return cmocka_run_group_tests_name("spec", tests, NULL, NULL);
}
