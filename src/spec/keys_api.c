/* The keys of an api itself: all but what its replicas run. */
#include "spec/keys_rows.h"

#define A "autoscaling."
#define COUNTS_WHY "predictions are not counted by value"
#define C "networking.cors"
#define ONE_MACHINE_WHY "there is one machine"

const struct key keys_api[] = {
	{"name", KEY_NAME, WORKS, "0.25-0.42", ALL, 0, .required = true,
	 .example = "name: iris", AT(name), .unit = "characters", RANGE(1, 42),
	 .text = "Name of the api, unique in the file: lower-case letters, "
		 "digits and '-', beginning with a letter."},
	{"kind", KEY_WORD, WORKS, "0.25-0.42", ALL, 0, AT(kind),
	 .words = "RealtimeAPI AsyncAPI BatchAPI TaskAPI TrafficSplitter",
	 .def = "RealtimeAPI", .text = "What the api is."},

	{"compute", KEY_MAP, WORKS, "0.25-0.35", RABT, 0,
	 .text = "What one replica takes."},
	{"compute.cpu", KEY_CPU, WORKS, "0.25-0.35", RABT, 0,
	 AT(compute.cpu_millis), .def = "200m", .null_ok = true,
	 .unit = "cores", AT_LEAST(20),
	 .text = "Cores reserved for a replica; null: none. Not a limit."},
	{"compute.mem", KEY_BYTES, WORKS, "0.25-0.35", RABT, 0,
	 AT(compute.mem_bytes), .unit = "bytes", AT_LEAST(20 * MIB),
	 .text = "Memory reserved for a replica: no more are started than the "
		 "machine has memory for. Not a limit."},
	{"compute.mem_limit", KEY_BYTES, WORKS, "soma", RABT, 0,
	 AT(compute.mem_limit), .unit = "bytes", AT_LEAST(20 * MIB),
	 .text = "Memory that a replica may use; it is ended beyond it."},
	{"compute.gpu", KEY_INT, REFUSED, "0.25-0.35", RABT, 0, .def = "0",
	 AT_LEAST(0), .text = "GPUs reserved for a replica.",
	 .why = "this version hands out no accelerators; remove compute.gpu: "
		"a replica still sees the machine's GPUs"},
	{"compute.inf", KEY_INT, REFUSED, "0.25-0.35", RABT, 0, .def = "0",
	 AT_LEAST(0), .text = "Inferentia chips reserved for a replica.",
	 .why = "this version hands out no accelerators; remove compute.inf: "
		"a replica still sees the machine's devices"},
	{"compute.node_groups", KEY_STRINGS, WARNS, "0.35", RABT, 0,
	 AT_LEAST(1), .unit = "texts",
	 .text = "Node groups that may run the api.", .why = ONE_MACHINE_WHY},
	{"node_groups", KEY_STRINGS, WARNS, "0.36-0.42", RABT, 0, AT_LEAST(1),
	 .unit = "texts", .text = "Node groups that may run the api.",
	 .why = ONE_MACHINE_WHY},

	{"networking", KEY_MAP, WORKS, "0.25-0.42", ALL, 0,
	 .text = "Where the api answers."},
	{"networking.endpoint", KEY_ENDPOINT, WORKS, "0.25-0.42", ALL, 0,
	 AT(endpoint), .def_shown = "/<name>", RANGE(2, 1000),
	 .unit = "characters", .text = "Path of the api, unique."},
	{"networking.server_timing", KEY_BOOL, WORKS, "soma", RT, 0,
	 AT(server_timing), .def = "false",
	 .text = "Whether every answer says in Server-Timing how long the "
		 "request was in which stage; else those do whose request has "
		 "'X-Soma-Timing: 1'."},
	{"networking.api_gateway", KEY_WORD, WARNS, "0.25", RB | KIND_SPLITTER,
	 0, .words = "public none", .text = "Exposure by AWS API Gateway.",
	 .why = "there is no API gateway in front"},
	{"networking.local_port", KEY_INT, WARNS, "0.25", RT, 0,
	 RANGE(1, 65535), .text = "Port of a local deployment.",
	 .why = "every api answers on Soma's port, under its endpoint"},
	{C, KEY_MAP, WORKS, "soma", RT, 0,
	 .text = "Which pages of other sites may call the api from a browser."},
	{C ".allow_origins", KEY_ORIGINS, WORKS, "soma", RT, 0,
	 AT(cors.allow_origins), RANGE(0, 100), .unit = "texts",
	 .def_shown = "[\"*\"]; [] for type command without networking.cors",
	 .example = "allow_origins: [https://app.example.com]",
	 .text = "Their origins: * for all, or scheme://host[:port] each. "
		 "[]: none, and what the replica says goes."},
	{C ".allow_methods", KEY_TOKENS, WORKS, "soma", RT, 0,
	 AT(cors.allow_methods), RANGE(0, 100), .unit = "texts", .def = "*",
	 .def_shown = "[\"*\"]", .text = "Methods that they may use."},
	{C ".allow_headers", KEY_TOKENS, WORKS, "soma", RT, 0,
	 AT(cors.allow_headers), RANGE(0, 100), .unit = "texts", .def = "*",
	 .def_shown = "[\"*\"]", .text = "Request headers that they may send."},
	{C ".expose_headers", KEY_TOKENS, WORKS, "soma", RT, 0,
	 AT(cors.expose_headers), RANGE(0, 100), .unit = "texts", .def = "*",
	 .def_shown = "[\"*\"]",
	 .text = "Answer headers that they may read; with credentials by "
		 "name, for browsers take * as a name then."},
	{C ".allow_credentials", KEY_BOOL, WORKS, "soma", RT, 0,
	 AT(cors.allow_credentials), .def = "false",
	 .text = "Whether they may send cookies and Authorization; "
		 "allow_origins must name them then."},
	{C ".max_age", KEY_DURATION, WORKS, "soma", RT, 0, AT(cors.max_age_ms),
	 .def = "480h", RANGE(0, 720 * HOURS),
	 .text = "How long a browser may keep the answer to its question."},

	{"autoscaling", KEY_MAP, WORKS, "0.25-0.42", RA, 0,
	 .text = "How many replicas there are."},
	{A "min_replicas", KEY_INT, WORKS, "0.25-0.42", RA, 0,
	 AT(scale.min_replicas), .def = "1", RANGE(0, 10000),
	 .text = "Fewest replicas. With 0 an api that nobody calls has none; "
		 "a request that comes then starts one and waits for it."},
	{A "max_replicas", KEY_INT, WORKS, "0.25-0.42", RA, 0,
	 AT(scale.max_replicas), RANGE(1, 10000),
	 .def_shown = "the larger of min_replicas, init_replicas and 1; 100 "
		      "for policy cortex",
	 .text = "Most replicas. Between min_replicas and this the load "
		 "decides."},
	{A "init_replicas", KEY_INT, WORKS, "0.25-0.42", RA, 0,
	 AT(scale.init_replicas), .def_shown = "min_replicas", RANGE(0, 10000),
	 .text = "Replicas that a new api begins with."},
	{A "max_wait", KEY_DURATION, WORKS, "soma", RA, 0,
	 AT(scale.max_wait_ms), .def = "100ms", RANGE(1, HOURS),
	 .text = "Time that a request may wait for a replica: there are as "
		 "many as that takes."},
	{A "wait_worth", KEY_FLOAT, WORKS, "soma", RA, 0, AT(scale.wait_worth),
	 .def = "30", RANGE(0, 1000000),
	 .text = "Replica-seconds that a second of a request's waiting beyond "
		 "max_wait is worth: the more, the longer a replica is kept "
		 "that may be needed again."},
	{A "keep_idle", KEY_DURATION, WORKS, "soma", RA, 0,
	 AT(scale.keep_idle_ms), .def_shown = "by what was learned",
	 RANGE(1, 720 * HOURS), .example = "keep_idle: 10m",
	 .text = "How long a replica is kept that is no longer needed. Without "
		 "it each is kept for as long as that is cheaper than its "
		 "start, by how long it was until it was needed again before."},
	{A "buffer_replicas", KEY_INT, WORKS, "soma", RA, 0,
	 AT(scale.buffer_replicas), .def = "0", RANGE(0, 10000),
	 .text = "Replicas beyond those needed, while any is: for a crowd "
		 "that cannot wait for a start."},
	{A "schedule", KEY_LIST, WORKS, "soma", RA, 0, RANGE(0, 100),
	 .unit = "times",
	 .example = "schedule: [{cron: 0 8 * * 1-5, for: 10h, min_replicas: "
		    "2}]",
	 .text = "Times at which there are no fewer replicas than is said "
		 "there."},
	{A "schedule[].cron", KEY_STRING, WORKS, "soma", RA, 0,
	 .required = true, .example = "cron: 0 8 * * 1-5",
	 .text = "When it begins, in local time: minute, hour, day of the "
		 "month, month, day of the week, as crontab has them."},
	{A "schedule[].for", KEY_DURATION, WORKS, "soma", RA, 0,
	 .required = true, .example = "for: 10h",
	 RANGE(60 * SECONDS, 168 * HOURS), .text = "How long it holds."},
	{A "schedule[].min_replicas", KEY_INT, WORKS, "soma", RA, 0,
	 .required = true, .example = "min_replicas: 2", RANGE(1, 10000),
	 .text = "Fewest replicas meanwhile, max_replicas at most."},
	{A "max_replica_concurrency", KEY_INT, WORKS, "0.25-0.35", RA, 0,
	 AT(scale.max_replica_concurrency), .def = "1024", RANGE(1, 30000),
	 .text = "Requests held and in flight per replica before 503."},
	{A "policy", KEY_CHOICE, WORKS, "soma", RA, 0, AT(scale.policy),
	 .words = "latency cortex",
	 .def_shown = "latency; cortex where the file is not named soma.yaml",
	 .text = "What decides. latency: how long requests wait, by max_wait "
		 "and wait_worth. cortex: Cortex's formulas, by the keys "
		 "below."},
	{A "target_replica_concurrency", KEY_FLOAT, WORKS, "0.25-0.35", RA, 0,
	 AT(scale.target_in_flight), AT_LEAST(0), .above_min = true,
	 .def_shown = "processes_per_replica * threads_per_process",
	 .text = "Requests in flight per replica that policy cortex aims "
		 "at."},
	{A "target_in_flight", KEY_FLOAT, WORKS, "0.36-0.42", RA, 0,
	 AT(scale.target_in_flight), .again = true, AT_LEAST(0),
	 .above_min = true, .def_shown = "max_concurrency",
	 .text = "Requests in flight per replica that policy cortex aims "
		 "at."},
	{A "window", KEY_DURATION, WORKS, "0.25-0.42", RA, 0,
	 AT(scale.window_ms), .def = "60s", RANGE(10 * SECONDS, 24 * HOURS),
	 .text = "Time that requests in flight are averaged over: a multiple "
		 "of 10s."},
	{A "downscale_stabilization_period", KEY_DURATION, WORKS, "0.25-0.42",
	 RA, 0, AT(scale.down_period_ms), .def = "5m", RANGE(0, 24 * HOURS),
	 .text = "The highest advice of this time counts when scaling down."},
	{A "upscale_stabilization_period", KEY_DURATION, WORKS, "0.25-0.42", RA,
	 0, AT(scale.up_period_ms), .def = "1m", RANGE(0, 24 * HOURS),
	 .text = "The lowest advice of this time counts when scaling up."},
	{A "max_downscale_factor", KEY_FLOAT, WORKS, "0.25-0.42", RA, 0,
	 AT(scale.max_down), .def = "0.75", RANGE(0, 1), .below_max = true,
	 .text = "Least share of the replicas that one step down leaves."},
	{A "max_upscale_factor", KEY_FLOAT, WORKS, "0.25-0.42", RA, 0,
	 AT(scale.max_up), .def = "1.5", AT_LEAST(1), .above_min = true,
	 .text = "Most replicas after one step up, as a multiple."},
	{A "downscale_tolerance", KEY_FLOAT, WORKS, "0.25-0.42", RA, 0,
	 AT(scale.down_tolerance), .def = "0.05", RANGE(0, 1),
	 .below_max = true,
	 .text = "Share below the target that changes nothing."},
	{A "upscale_tolerance", KEY_FLOAT, WORKS, "0.25-0.42", RA, 0,
	 AT(scale.up_tolerance), .def = "0.05", AT_LEAST(0),
	 .text = "Share above the target that changes nothing."},

	{"update_strategy", KEY_MAP, WORKS, "0.25-0.42", RA, 0,
	 .text = "How a new revision takes over."},
	{"update_strategy.max_surge", KEY_SHARE, WORKS, "0.25-0.42", RA, 0,
	 AT(update.surge), .words = "auto", .def = "auto",
	 .text = "Replicas more than asked for, meanwhile; a percentage is "
		 "rounded up. auto: as many as there is memory for, up to all "
		 "of the new ones, which then take over at once."},
	{"update_strategy.max_unavailable", KEY_SHARE, WORKS, "0.25-0.42", RA,
	 0, AT(update.unavailable), .words = "auto", .def = "auto",
	 .text = "Replicas fewer than asked for, meanwhile; a percentage is "
		 "rounded down. auto: none, but where there is no memory for "
		 "one more they are replaced one by one, and requests wait "
		 "while the last of them is."},
	{"update_strategy.max_hold", KEY_DURATION, WORKS, "soma", RT, 0,
	 AT(update.max_hold_ms), .def = "60s", RANGE(SECONDS, 24 * HOURS),
	 .text = "Longest time that requests wait for a new revision where no "
		 "replica serves meanwhile; after that the old one is started "
		 "again."},
	{"update_strategy.watch", KEY_DURATION, WORKS, "soma", RT, 0,
	 AT(update.watch_ms), .def = "30s", RANGE(0, 24 * HOURS),
	 .text = "How long a new revision is watched once it serves: where "
		 "more of its requests fail than of the one before, that one "
		 "serves again. Its replicas are kept so long if nobody needs "
		 "their memory. 0: it is not watched."},

	{"monitoring", KEY_MAP, WARNS, "0.25", RT, 0,
	 .text = "Counts of predicted classes or values.", .why = COUNTS_WHY},
	{"monitoring.key", KEY_STRING, WARNS, "0.25", RT, 0,
	 .text = "Key of the answer that has the prediction.",
	 .why = COUNTS_WHY},
	{"monitoring.model_type", KEY_WORD, WARNS, "0.25", RT, 0,
	 .required = true, .example = "model_type: classification",
	 .words = "classification regression", .text = "What a prediction is.",
	 .why = COUNTS_WHY},

	{"request_timeout", KEY_DURATION, WORKS, "soma", RT, 0,
	 AT(request_timeout_ms), .def = "60s", RANGE(0, 720 * HOURS),
	 .text = "Longest time of a request, waiting for a replica included: "
		 "504 after it, 503 when none was ready. 0: no limit."},
	{"max_queue_length", KEY_INT, WORKS, "soma", RT, 0,
	 AT(max_queue_length), RANGE(1, 1000000), .unit = "requests",
	 .def_shown = "as many as autoscaling.max_replica_concurrency lets in",
	 .example = "max_queue_length: 100",
	 .text = "Requests that wait until a replica has room for them; one "
		 "more gets 503 at once, and Retry-After by the speed that was "
		 "measured."},
	{"retry", KEY_CHOICE, WORKS, "soma", RT, 0, AT(retry_safe),
	 .words = "never safe", .def = "never",
	 .text = "safe: any request may run twice, so one whose replica died "
		 "goes to another. never: only GET and other idempotent "
		 "methods, and requests with an Idempotency-Key."},
	{"on_cold", KEY_CHOICE, WORKS, "soma", RT, 0, AT(cold_retry),
	 .words = "hold retry", .def = "hold",
	 .text = "What a request meets that finds no replica ready. hold: it "
		 "waits, within its time. retry: 503 at once, with Retry-After "
		 "and what the replica is doing; a request's X-Soma-On-Cold "
		 "says otherwise."},
	{"grace_period", KEY_DURATION, WORKS, "soma", RT, 0, AT(grace_ms),
	 .def = "60s", RANGE(0, 24 * HOURS),
	 .text = "Time that a replica has to end its requests when it is "
		 "stopped."},
};
const size_t keys_api_n = ARRAY_LEN(keys_api);
