/* What people are told about the keys of an api, word by word. */
#include "test_spec_kit.h"

#include "spec/keys.h"

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
	       AT "2:7: a: kind: expected RealtimeAPI or TrafficSplitter, "
		  "found 'RealtimeApi'; "
		  "did you mean 'RealtimeAPI'?\n"},
	      {"name: a\nkind: BatchAPI\nwhatever: 1\n",
	       AT "2:7: a: kind: kind \"BatchAPI\" is not served by this "
		  "version of Soma; supported: RealtimeAPI, TrafficSplitter. "
		  "Remove this api from the file to deploy the "
		  "others\n"},
	      {"name: a\nkind: TrafficSplitter\napis: [{name: b, weight: "
	       "90}]\n",
	       AT "3:7: a: apis: the weights of those that are no shadow add "
		  "up to 90; they are percent: make them 100 together\n"},
	      {"name: a\nkind: TrafficSplitter\napis: [{name: b, weight: 100}]"
	       "\ncompute: {cpu: 1}\n",
	       AT "4:1: a: compute: only for kind RealtimeAPI, this one is "
		  "TrafficSplitter\n"},
	      {"- name: a\n  " P "- name: a\n  " P,
	       AT "3:9: a: name: name 'a' is taken by another api at line "
		  "1\n"},
	      {"- name: a\n  " P
	       "- name: b\n  networking: {endpoint: /a}\n  " P,
	       AT "4:26: b: networking.endpoint: endpoint '/a' is taken by a "
		  "at line 1\n"});
#undef P
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

static void replicas_that_contradict(void **state)
{
	CHECK({IRIS "on_cold: retry\n",
	       "warning " AT
	       "3:10: iris: on_cold: retry is for an api that may "
	       "have no replica, and there are always 1 or more "
	       "(min_replicas): set autoscaling.min_replicas: 0, or leave it "
	       "out\n"},
	      {IRIS "on_cold: retry\nautoscaling: {min_replicas: 0}\n", NULL},
	      {IRIS "on_cold: hold\n", NULL},
	      {IRIS "autoscaling: {buffer_replicas: 2, min_replicas: 3}\n",
	       "warning " AT "3:32: iris: autoscaling.buffer_replicas: has no "
	       "effect: there are always 3 (min_replicas and max_replicas): "
	       "set a larger autoscaling.max_replicas\n"},
	      {IRIS "autoscaling: {buffer_replicas: 2, max_replicas: 3}\n",
	       NULL},
	      {IRIS "request_timeout: 5s\nautoscaling: {max_wait: 5s, "
		    "max_replicas: 2}\n",
	       "warning " AT "4:25: iris: autoscaling.max_wait: is no less "
	       "than request_timeout: who waits so long is not answered any "
	       "more; set it well below that\n"},
	      {IRIS "request_timeout: 0s\nautoscaling: {max_wait: 5s, "
		    "max_replicas: 2}\n",
	       NULL},
	      {IRIS "autoscaling: {min_replicas: 2, max_replicas: 3, "
		    "schedule: [{cron: 0 8 * * 1-5, for: 10h, "
		    "min_replicas: 2}]}\n",
	       "warning " AT "3:104: iris: "
	       "autoscaling.schedule[].min_replicas: has no effect: there are "
	       "never fewer than 2 (min_replicas); ask for more, or lower "
	       "that\n"});
}

static void replicas(void **state)
{
#define ONLY "has an effect only with autoscaling.policy: "
	CHECK({IRIS "autoscaling: {min_replicas: 3, max_replicas: 2}\n",
	       AT "3:46: iris: autoscaling.max_replicas: 2 is less than "
		  "min_replicas, 3\n"},
	      {IRIS "autoscaling: {min_replicas: 200}\n", NULL},
	      {IRIS "autoscaling: {init_replicas: 3, min_replicas: 4}\n",
	       AT "3:30: iris: autoscaling.init_replicas: 3 is not between "
		  "min_replicas, 4, and max_replicas, 4\n"},
	      {IRIS "autoscaling: {max_wait: 2h, wait_worth: -1}\n",
	       AT "3:25: iris: autoscaling.max_wait: expected a duration from "
		  "1ms to 1h, found '2h'\n" AT
		  "3:41: iris: autoscaling.wait_worth: expected a number from "
		  "0 to 1000000, found '-1'\n"},
	      {IRIS "autoscaling: {init_replicas: 5, max_replicas: 4}\n",
	       AT "3:30: iris: autoscaling.init_replicas: 5 is not between "
		  "min_replicas, 1, and max_replicas, 4\n"},
	      {IRIS "autoscaling: {min_replicas: x, max_replicas: 0}\n",
	       AT "3:29: iris: autoscaling.min_replicas: expected an integer "
		  "from 0 to 10000, found 'x'\n" AT
		  "3:46: iris: autoscaling.max_replicas: expected an integer "
		  "from 1 to 10000, found '0'\n"},
	      {IRIS "autoscaling: {min_replicas: 0}\n", NULL},
	      {IRIS "autoscaling: {target_replica_concurrency: 2000}\n",
	       "warning " AT
	       "3:43: iris: autoscaling.target_replica_concurrency: " ONLY
	       "cortex\n" AT
	       "3:43: iris: autoscaling.target_replica_concurrency: 2000 is "
	       "more than max_replica_concurrency, 1024\n"},
	      {IRIS "autoscaling: {window: 15s, max_upscale_factor: 1}\n",
	       "warning " AT "3:23: iris: autoscaling.window: " ONLY
	       "cortex\n" AT
	       "3:23: iris: autoscaling.window: expected a multiple of 10s, "
	       "found '15s'\n" AT
	       "3:48: iris: autoscaling.max_upscale_factor: expected a number "
	       "above 1, found '1'\n"},
	      {IRIS "autoscaling: {downscale_tolerance: 1}\n",
	       AT "3:36: iris: autoscaling.downscale_tolerance: expected a "
		  "number from 0 to below 1, found '1'\n"},
	      {IRIS "autoscaling: {policy: cortex, max_wait: 1s, "
		    "window: 20s}\n",
	       "warning " AT "3:41: iris: autoscaling.max_wait: " ONLY
	       "latency\n"},
	      {IRIS "autoscaling: {max_replicas: 3, schedule: [{cron: 0 8 * * "
		    "1-5, for: 10h, min_replicas: 3}]}\n",
	       NULL},
	      {IRIS "autoscaling: {schedule: [{cron: 0 8 * *, for: 200h, "
		    "min_replicas: 1}, {cron: 0 8 * * *, for: 1h, "
		    "min_replicas: 2}, {for: 1h}]}\n",
	       AT "3:47: iris: autoscaling.schedule[].for: expected a duration "
		  "from 1m to 168h, found '200h'\n" AT
		  "3:112: iris: autoscaling.schedule[].min_replicas: 2 is more "
		  "than max_replicas, 1\n" AT
		  "3:116: iris: autoscaling.schedule[].cron: required key is "
		  "missing; for example 'cron: 0 8 * * 1-5'\n" AT
		  "3:116: iris: autoscaling.schedule[].min_replicas: required "
		  "key is missing; for example 'min_replicas: 2'\n"},
	      {IRIS "autoscaling: {schedule: [{cron: 0 8 * *, for: 2h, "
		    "min_replicas: 1}]}\n",
	       AT "3:33: iris: autoscaling.schedule[].cron: '0 8 * *' has 4 "
		  "fields, not 5: minute, hour, day of the month, month, day "
		  "of the week\n"},
	      {IRIS "autoscaling: {policy: cortx}\n",
	       AT "3:23: iris: autoscaling.policy: expected latency or "
		  "cortex, found 'cortx'; did you mean 'cortex'?\n"},
	      {IRIS "autoscaling: {policy: cortex, min_replicas: 101}\n",
	       AT "3:45: iris: autoscaling.min_replicas: 101 is more than "
		  "max_replicas, 100 by default\n"});
}

/* The file of a Cortex project means Cortex's numbers. */
static void cortex_files_have_its_policy(void **state)
{
	static const char yaml[] =
		IRIS "autoscaling: {target_replica_concurrency: 1.6, window: "
		     "20s, downscale_stabilization_period: 1m, "
		     "upscale_stabilization_period: 0s, max_downscale_factor: "
		     "0.5, max_upscale_factor: 2.5, downscale_tolerance: 0.1, "
		     "upscale_tolerance: 0.2}\n";
	cleanup_free char *json = NULL;
	struct spec_set set;
	const struct spec *s;
	struct err err;

	(void)state;
	assert_int_equal(
		spec_parse(&set, "a/cortex.yaml", yaml, strlen(yaml), &project),
		0);
	assert_int_equal(set.n_problems, 0);
	json = spec_to_json(set.specs);
	spec_set_fini(&set);
	assert_int_equal(spec_from_json(&set, json, strlen(json), &err), 0);
	s = set.specs;
	assert_int_equal(s->scale.policy, SCALE_BY_CORTEX);
	assert_int_equal(s->scale.max_replicas, 100);
	assert_true(s->scale.target_in_flight == 1.6);
	assert_int_equal(s->scale.window_ms, 20000);
	assert_int_equal(s->scale.down_period_ms, 60000);
	assert_int_equal(s->scale.up_period_ms, 0);
	assert_true(s->scale.max_down == 0.5 && s->scale.max_up == 2.5);
	assert_true(s->scale.down_tolerance == 0.1);
	assert_true(s->scale.up_tolerance == 0.2);
	spec_set_fini(&set);
	assert_int_equal(parse(&set, PY("processes_per_replica: 3, "
					"threads_per_process: 2")),
			 0);
	assert_int_equal(set.specs->scale.policy, SCALE_BY_LATENCY);
	assert_true(set.specs->scale.target_in_flight == 6);
	spec_set_fini(&set);
}

static void replicas_by_default(void **state)
{
	static const struct {
		const char *keys;
		uint32_t min, max, init;
	} cases[] = {
		{"autoscaling: {}\n", 1, 1, 1},
		{"autoscaling: {min_replicas: 0}\n", 0, 1, 0},
		{"autoscaling: {min_replicas: 4}\n", 4, 4, 4},
		{"autoscaling: {init_replicas: 3}\n", 1, 3, 3},
		{"autoscaling: {min_replicas: 0, max_replicas: 9}\n", 0, 9, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		cleanup_free char *yaml = mem_printf(IRIS "%s", cases[i].keys);
		cleanup_free char *json = NULL;
		struct spec_set set, back;
		struct err err;

		assert_int_equal(parse(&set, yaml), 0);
		assert_int_equal(set.specs->scale.min_replicas, cases[i].min);
		assert_int_equal(set.specs->scale.max_replicas, cases[i].max);
		assert_int_equal(set.specs->scale.init_replicas, cases[i].init);
		assert_int_equal(set.specs->scale.max_wait_ms, 100);
		assert_true(set.specs->scale.wait_worth == 30);
		json = spec_to_json(set.specs);
		assert_int_equal(
			spec_from_json(&back, json, strlen(json), &err), 0);
		assert_int_equal(back.specs->scale.min_replicas, cases[i].min);
		assert_int_equal(back.specs->scale.max_replicas, cases[i].max);
		assert_true(back.specs->scale.wait_worth == 30);
		spec_set_fini(&back);
		spec_set_fini(&set);
	}
}

static void keys_not_acted_on_are_named(void **state)
{
	CHECK({IRIS "update_strategy: {max_surge: 0, max_unavailable: 50%}\n",
	       ""},
	      {IRIS "update_strategy: {max_surge: auto, watch: 0s}\n", ""},
	      {IRIS "update_strategy: {max_surge: 0%, max_unavailable: 0}\n", AT
	       "3:51: iris: update_strategy.max_unavailable: cannot be 0 while "
	       "max_surge is 0: nothing could be replaced\n"},
	      {IRIS "update_strategy: {max_surge: 120%}\n",
	       AT "3:30: iris: update_strategy.max_surge: expected a count or "
		  "a percentage, such as 1 or 25%, or auto, found '120%'\n"},
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
	      {IRIS "compute: {node_groups: [a]}\n",
	       "warning " AT "3:11: iris: compute.node_groups: not acted on "
	       "yet: there is one machine\n"});
}

static void keys_that_change_answers_are_refused(void **state)
{
	CHECK({IRIS "compute: {gpu: 1, inf: 2}\n",
	       AT "3:11: iris: compute.gpu: this version hands out no "
		  "accelerators; remove compute.gpu: a replica still sees the "
		  "machine's GPUs\n" AT
		  "3:19: iris: compute.inf: this version hands out no "
		  "accelerators; remove compute.inf: a replica still sees the "
		  "machine's devices\n"},
	      {IRIS "compute: {gpu: 0, inf: ~}\n", NULL},
	      {PY("server_side_batching: {max_batch_size: 2, "
		  "batch_interval: 1s}"),
	       AT "2:72: iris: predictor.server_side_batching.max_batch_size: "
		  "'2' is more than predictor.threads_per_process, '1', "
		  "which counts the requests that may wait for a batch; set "
		  "both to the same number\n"},
	      {PY("protobuf_path: a.proto"),
	       AT "2:33: iris: predictor.protobuf_path: gRPC is not served by "
		  "this version; take JSON in predict(), or serve HTTP with "
		  "'predictor: {type: command}'\n"},
	      {IRIS "compute: {mem: 1Gi, mem_limit: 512Mi}\n",
	       AT "3:32: iris: compute.mem_limit: '512Mi' is less than "
		  "compute.mem, '1Gi'\n"});
}

/* The next issue makes the schema and the manual of it. */
static void pages_of_other_sites(void **state)
{
#define CORS(keys) IRIS "networking: {cors: {" keys "}}\n"
	static const char yaml[] =
		"- name: a\n"
		"  predictor: {path: predictor.py}\n"
		"- name: b\n"
		"  predictor: {command: serve}\n"
		"- name: c\n"
		"  predictor: {command: serve}\n"
		"  networking: {cors: {max_age: 1h}}\n"
		"- name: d\n"
		"  predictor: {path: predictor.py}\n"
		"  networking: {cors: {allow_origins: []}}\n"
		"- name: e\n"
		"  predictor: {path: predictor.py}\n"
		"  networking:\n"
		"    cors:\n"
		"      allow_origins: ['https://a.example:8443', http://b]\n"
		"      allow_methods: [POST]\n"
		"      allow_headers: [X-Key, '*']\n"
		"      expose_headers: []\n"
		"      allow_credentials: true\n";
	struct spec_set set;
	cleanup_free char *again = NULL, *json = NULL;
	struct spec_set back;
	struct err err;

	(void)state;
	assert_int_equal(parse(&set, yaml), 0);
	assert_int_equal(set.specs[0].cors.allow_origins.n, 1);
	assert_string_equal(set.specs[0].cors.allow_origins.items[0], "*");
	assert_string_equal(set.specs[0].cors.allow_methods.items[0], "*");
	assert_int_equal(set.specs[0].cors.max_age_ms, 1728000000);
	assert_int_equal(set.specs[1].cors.allow_origins.n, 0);
	assert_int_equal(set.specs[2].cors.allow_origins.n, 1);
	assert_int_equal(set.specs[2].cors.max_age_ms, 3600000);
	assert_int_equal(set.specs[3].cors.allow_origins.n, 0);
	assert_int_equal(set.specs[4].cors.allow_origins.n, 2);
	assert_string_equal(set.specs[4].cors.allow_origins.items[0],
			    "https://a.example:8443");
	assert_int_equal(set.specs[4].cors.allow_headers.n, 2);
	assert_int_equal(set.specs[4].cors.expose_headers.n, 0);
	assert_true(set.specs[4].cors.allow_credentials);
	json = spec_to_json(&set.specs[4]);
	assert_int_equal(spec_from_json(&back, json, strlen(json), &err), 0);
	again = spec_to_json(back.specs);
	assert_string_equal(again, json);
	spec_set_fini(&back);
	spec_set_fini(&set);

	CHECK({CORS("allow_credentials: true"), AT
	       "3:40: iris: networking.cors.allow_credentials: needs origins "
	       "by name, for any page could act for its visitors: write "
	       "allow_origins: [https://app.example.com]\n"},
	      {CORS("allow_origins: ['*', http://a]"),
	       AT "3:36: iris: networking.cors.allow_origins: '*' "
		  "stands for all origins: leave the others out\n"},
	      {CORS("allow_origins: [a.example, 'https://a/', 'https://']"), AT
	       "3:37: iris: networking.cors.allow_origins[0]: expected '*', or "
	       "an origin as browsers send it, such as "
	       "https://app.example.com: no path, lower case, found "
	       "'a.example'\n" AT
	       "3:48: iris: networking.cors.allow_origins[1]: expected '*', or "
	       "an origin as browsers send it, such as "
	       "https://app.example.com: no path, lower case, found "
	       "'https://a/'\n" AT
	       "3:62: iris: networking.cors.allow_origins[2]: expected '*', or "
	       "an origin as browsers send it, such as "
	       "https://app.example.com: no path, lower case, found "
	       "'https://'\n"},
	      {CORS("allow_methods: [A B]"),
	       AT "3:37: iris: networking.cors.allow_methods[0]: expected '*', "
		  "or a name without blanks, found 'A B'\n"},
	      {CORS("allow_headers: x"),
	       AT "3:36: iris: networking.cors.allow_headers: "
		  "expected a list of texts, found 'x'\n"});
}

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
		cmocka_unit_test(names_and_kinds),
		cmocka_unit_test(unknown_keys_name_the_nearest),
		cmocka_unit_test(numbers_and_words),
		cmocka_unit_test(endpoints),
		cmocka_unit_test(replicas_that_contradict),
		cmocka_unit_test(replicas),
		cmocka_unit_test(replicas_by_default),
		cmocka_unit_test(cortex_files_have_its_policy),
		cmocka_unit_test(keys_not_acted_on_are_named),
		cmocka_unit_test(keys_that_change_answers_are_refused),
		cmocka_unit_test(pages_of_other_sites),
		cmocka_unit_test(the_table_is_sound),
	};

	return cmocka_run_group_tests_name("spec_keys", tests, NULL, NULL);
}
