/* Cortex's pods become commands, or are told why not. */
#include "test_spec_kit.h"

#define CONTAINER(keys)                                                        \
	"name: a\npod: {containers: [{name: api, command: [serve], " keys      \
	"}]}\n"
#define IMAGE                                                                  \
	"pod.containers[].image: not acted on yet: replicas run on this "      \
	"machine, not in a container: what the command needs must be "         \
	"installed here or be in the project\n"

static void a_container_becomes_a_command(void **state)
{
	static const char yaml[] =
		"- name: iris\n"
		"  kind: RealtimeAPI\n"
		"  pod:\n"
		"    port: 9000\n"
		"    max_concurrency: 4\n"
		"    max_queue_length: 16\n"
		"    containers:\n"
		"      - name: api\n"
		"        image: quay.io/x/iris:1\n"
		"        command: [uvicorn, main:app]\n"
		"        args: [--port, $(CORTEX_PORT), --workers, 2]\n"
		"        env: {MODEL: m, KEY: {from_secret: key}}\n"
		"        compute: {cpu: 2, mem: 1Gi, gpu: 0}\n"
		"        readiness_probe:\n"
		"          http_get: {port: 9000, path: /healthz}\n"
		"  autoscaling: {max_replicas: 3}\n"
		"- name: least\n"
		"  pod: {containers: [{name: api, image: x, command: "
		"[./serve]}]}\n"
		"- name: root\n"
		"  pod:\n"
		"    containers:\n"
		"      - name: api\n"
		"        image: x\n"
		"        command: [./serve]\n"
		"        readiness_probe: {http_get: {port: 8080}}\n";
	static const char *const words[] = {"uvicorn",	 "main:app",
					    "--port",	 "$(CORTEX_PORT)",
					    "--workers", "2"};
	cleanup_free char *lines = NULL;
	struct spec_set set;
	const struct spec *s;

	(void)state;
	assert_int_equal(parse(&set, yaml), 0);
	lines = lines_of(&set);
	assert_string_equal(lines, "warning " AT "9:9: iris: " IMAGE
				   "warning " AT "18:34: least: " IMAGE
				   "warning " AT "23:9: root: " IMAGE);
	s = &set.specs[0];
	assert_int_equal(s->predictor.type, PREDICTOR_COMMAND);
	assert_int_equal(s->predictor.n_command, ARRAY_LEN(words));
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		assert_string_equal(s->predictor.command[i], words[i]);
	assert_int_equal(s->predictor.n_env, 2);
	assert_string_equal(s->predictor.env[1].from_secret, "key");
	assert_int_equal(s->predictor.max_concurrency, 4);
	assert_int_equal(s->scale.max_replica_concurrency, 20);
	assert_int_equal(s->scale.max_replicas, 3);
	assert_int_equal(s->compute.cpu_millis, 2000);
	assert_int_equal(s->compute.mem_bytes, 1 << 30);
	assert_string_equal(s->predictor.readiness_path, "/healthz");
	assert_int_equal(s->cors.allow_origins.n, 0);
	s = &set.specs[1];
	assert_int_equal(s->predictor.max_concurrency, 1);
	assert_int_equal(s->scale.max_replica_concurrency, 101);
	assert_int_equal(s->compute.cpu_millis, 200);
	assert_null(s->predictor.readiness_path);
	assert_string_equal(set.specs[2].predictor.readiness_path, "/");
	spec_set_fini(&set);
}

static void pods_that_are_no_command(void **state)
{
	CHECK({"name: a\npod: {port: 80}\n",
	       AT "2:6: a: pod.containers: required key is missing; for "
		  "example 'containers: [{name: api, image: any, command: "
		  "[...]}]'\n"},
	      {"name: a\npod: {containers: [{name: api, image: x}]}\n",
	       AT "2:20: a: pod.containers[].command: required here, because "
		  "the program of an image cannot be known; for example "
		  "'command: [uvicorn, main:app, --port, $(CORTEX_PORT)]'\n"
		  "warning " AT "2:32: a: " IMAGE},
	      {"- name: a\n  pod:\n    containers:\n"
	       "    - {name: api, image: x, command: [a]}\n"
	       "    - {name: tfs, image: x, command: [b]}\n",
	       "warning " AT "4:19: a: " IMAGE AT
	       "5:7: a: pod.containers: several containers of one replica are "
	       "not run by this version of Soma: make each an api of its own, "
	       "or start them all by one command\n"
	       "warning " AT "5:19: a: " IMAGE},
	      {CONTAINER(""),
	       AT "2:20: a: pod.containers[].image: required key is missing; "
		  "for example 'image: registry.example.com/iris'\n"},
	      {"name: a\npod: {containers: [{name: api, command: serve, image: "
	       "x}]}\n",
	       AT "2:41: a: pod.containers[].command: expected a list of "
		  "texts, found 'serve'\n"
		  "warning " AT "2:48: a: " IMAGE},
	      {CONTAINER("image: x, compute: {gpu: 1}"),
	       "warning " AT "2:50: a: " IMAGE AT
	       "2:70: a: pod.containers[].compute.gpu: this version hands out "
	       "no accelerators; remove the key: a replica still sees the "
	       "machine's devices\n"},
	      {CONTAINER("image: x, env: {CORTEX_X: 1}"),
	       "warning " AT "2:50: a: " IMAGE AT
	       "2:66: a: pod.containers[].env.CORTEX_X: names that begin with "
	       "CORTEX_ or SOMA_ are reserved\n"},
	      {CONTAINER("image: x, compute: {cpu: 1}") "compute: {cpu: 2}\n"
							"autoscaling: "
							"{max_replica_"
							"concurrency: 5, "
							"target_in_flight: "
							"102}\n",
	       "warning " AT "2:50: a: " IMAGE AT
	       "3:16: a: compute.cpu: is given in the container, too: remove "
	       "one of them\n" AT
	       "4:40: a: autoscaling.max_replica_concurrency: is not for pods: "
	       "give pod.max_queue_length\n" AT
	       "4:61: a: autoscaling.target_in_flight: 102 is more than "
	       "pod.max_concurrency and pod.max_queue_length together, "
	       "101\n"});
}

static void probes(void **state)
{
#define PROBE(name, keys) CONTAINER("image: x, " name ": {" keys "}")
#define TOLD "warning " AT "2:50: a: " IMAGE
	CHECK({PROBE("readiness_probe", "tcp_socket: {port: 8080}"), TOLD},
	      {PROBE("readiness_probe", ""),
	       TOLD AT "2:77: a: pod.containers[].readiness_probe: give "
		       "exactly one of http_get, tcp_socket and exec\n"},
	      {PROBE("readiness_probe", "httpGet: {port: 80}"),
	       TOLD AT "2:78: a: pod.containers[].readiness_probe.httpGet: "
		       "unknown key; did you mean 'http_get'?\n"},
	      {PROBE("readiness_probe", "http_get: {port: 81}"),
	       TOLD AT "2:95: a: pod.containers[].readiness_probe: asks at "
		       "port 81, but only pod.port, 8080, is known to Soma: "
		       "use that, or remove the probe\n"},
	      {PROBE("readiness_probe",
		     "exec: {command: [./check]}, period_seconds: 3"),
	       TOLD
	       "warning " AT
	       "2:78: a: pod.containers[].readiness_probe.exec: not acted "
	       "on yet: a replica is ready once its port accepts "
	       "connections\n"
	       "warning " AT
	       "2:106: a: pod.containers[].readiness_probe.period_seconds: "
	       "not acted on yet: Soma probes at intervals of its own\n"},
	      {PROBE("liveness_probe", "tcp_socket: {port: 1}"),
	       TOLD "warning " AT
		    "2:60: a: pod.containers[].liveness_probe: not acted on "
		    "yet: a replica is started anew when its process ends\n"},
	      {PROBE("pre_stop", "exec: {}"),
	       TOLD "warning " AT
		    "2:60: a: pod.containers[].pre_stop: not acted on yet: a "
		    "replica is stopped by SIGTERM once its requests are done, "
		    "within grace_period\n" AT
		    "2:77: a: pod.containers[].pre_stop.exec.command: required "
		    "key is missing; for example 'command: [./check]'\n"});
}

static void a_port_of_its_own_is_warned_of(void **state)
{
#define PORT_LINE(col, key, arg)                                               \
	"warning " AT "2:" col ": a: pod.containers[]." key ": '" arg          \
	"' looks like pod.port: the program gets another port here, so that "  \
	"replicas can run side by side; write $(CORTEX_PORT), which Cortex "   \
	"knows, too\n"
#define RUN(keys)                                                              \
	"name: a\npod: {port: 81, containers: [{name: a, image: x, " keys      \
	"}]}\n"
#define RUN_TOLD "warning " AT "2:40: a: " IMAGE
	CHECK({RUN("command: [serve, --port, 81, --n, 810]"),
	       RUN_TOLD PORT_LINE("75", "command", "81")},
	      {RUN("command: [a], args: [--bind=0.0.0.0:81, x81]"),
	       RUN_TOLD PORT_LINE("71", "args", "--bind=0.0.0.0:81")});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_container_becomes_a_command),
		cmocka_unit_test(pods_that_are_no_command),
		cmocka_unit_test(probes),
		cmocka_unit_test(a_port_of_its_own_is_warned_of),
	};

	return cmocka_run_group_tests_name("spec_pod", tests, NULL, NULL);
}
