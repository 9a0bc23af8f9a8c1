/* The keys that this version takes. */
#include "spec/keys.h"

#include <math.h>

#include "core/mem.h"
#include "spec/spec.h"

#define AT(field)                                                              \
	.at = offsetof(struct spec, field),                                    \
	.size = sizeof(((struct spec *)0)->field)
#define RANGE(lo, hi) .ranged = true, .min = (lo), .max = (hi)
#define AT_LEAST(lo) RANGE(lo, INFINITY)

#define SECONDS 1000.0
#define HOURS (3600 * SECONDS)
#define MIB 1048576.0

enum {
	RT = KIND_REALTIME,
	RAB = RT | KIND_ASYNC | KIND_BATCH,
	RABT = RAB | KIND_TASK,
	RA = RT | KIND_ASYNC,
	ALL = RABT | KIND_SPLITTER,
	/* Cortex's images ran all three; a command is anybody's program. */
	CLASSES = FOR_PYTHON | FOR_TENSORFLOW | FOR_ONNX,
	MODELS = FOR_TENSORFLOW | FOR_ONNX,
	PY = FOR_PYTHON,
	CMD = FOR_COMMAND,
};

#define P "predictor."
#define A "autoscaling."

const struct key keys_served[] = {
	{"name", KEY_NAME, WORKS, "0.25-0.42", ALL, 0, .required = true,
	 .example = "name: iris", AT(name), .unit = "characters", RANGE(1, 42),
	 .text = "Name of the api, unique in the file: lower-case letters, "
		 "digits and '-', beginning with a letter."},
	{"kind", KEY_WORD, WORKS, "0.25-0.42", ALL, 0, AT(kind),
	 .words = "RealtimeAPI AsyncAPI BatchAPI TaskAPI TrafficSplitter",
	 .def = "RealtimeAPI", .text = "What the api is."},

	{"predictor", KEY_MAP, WORKS, "0.25-0.33", RABT, 0,
	 .text = "What a replica runs."},
	{P "type", KEY_CHOICE, WORKS, "0.25-0.33", RAB, 0, AT(predictor.type),
	 .words = "python command tensorflow onnx",
	 .def_shown = "python with path, command with command",
	 .text = "python: your class PythonPredictor. command: any program "
		 "that serves HTTP on $PORT."},
	{P "path", KEY_PY_FILE, WORKS, "0.25-0.33", RABT, CLASSES,
	 .required = true, .example = "path: predictor.py", AT(predictor.path),
	 .text = "Python file with the class, relative to the project."},
	{P "python_path", KEY_DIR, WORKS, "0.25-0.33", RABT, CLASSES,
	 AT(predictor.python_path), .def_shown = "the project",
	 .text = "Directory of the project that imports start from."},
	{P "python", KEY_PROGRAM, WORKS, "soma", RABT, PY | CMD,
	 AT(predictor.python), .example = "python: .venv",
	 .text = "Python interpreter, or virtual or conda environment, used as "
		 "it is: nothing is installed into it."},
	{P "config", KEY_JSON, WORKS, "0.25-0.33", RABT, CLASSES,
	 AT(predictor.config_json), .def = "{}",
	 .text = "Handed to the class's __init__ as `config`. At most 128 KiB "
		 "as JSON."},
	{P "command", KEY_COMMAND, WORKS, "soma", RT, CMD, .required = true,
	 .example = "command: [uvicorn, main:app, --port, $PORT]",
	 AT(predictor.command),
	 .text = "Program and its arguments: a list, or one text that is split "
		 "at blanks as a shell would, quotes and backslashes "
		 "included. No shell runs, and only $PORT, ${PORT} and "
		 "$(CORTEX_PORT) are filled in."},
	{P "env", KEY_ENV, WORKS, "0.25-0.33", RABT, 0, AT(predictor.env),
	 .def = "{}", .example = "env: {TOKEN: {from_secret: token}}",
	 .text = "Environment variables: texts, numbers or booleans (as they "
		 "are written), or {from_secret: NAME} of `soma secret set`."},
	{P "processes_per_replica", KEY_INT, WORKS, "0.25-0.33", RT, CLASSES,
	 AT(predictor.processes), .def = "1", RANGE(1, 100),
	 .text = "Python processes in one replica."},
	{P "threads_per_process", KEY_INT, WORKS, "0.25-0.33", RT, CLASSES,
	 AT(predictor.threads), .def = "1", RANGE(1, 1024),
	 .text = "Requests that one process predicts at the same time."},
	{P "predict_timeout", KEY_DURATION, WORKS, "soma", RT, PY,
	 AT(predictor.predict_timeout_ms), .def = "0", RANGE(0, 720 * HOURS),
	 .text = "Longest run of one predict(): its caller gets 504, and the "
		 "process is replaced. 0: no limit."},
	{P "expose_tracebacks", KEY_BOOL, WORKS, "soma", RT, PY,
	 AT(predictor.expose_tracebacks), .def = "false",
	 .text = "Whether callers see the traceback of an exception, too; it "
		 "is in the log in any case."},
	{P "max_concurrency", KEY_INT, WORKS, "soma", RT, CMD,
	 AT(predictor.max_concurrency), .def = "0", RANGE(0, 30000),
	 .text = "Requests that one replica is given at the same time. 0: no "
		 "limit."},
	{P "readiness_path", KEY_URL_PATH, WORKS, "soma", RT, CMD,
	 AT(predictor.readiness_path), .example = "readiness_path: /health",
	 .def_shown = "ready when $PORT accepts connections",
	 .text = "GET on it answers 2xx or 3xx once the program is ready."},
	{P "start_timeout", KEY_DURATION, WORKS, "soma", RT, 0,
	 AT(predictor.start_timeout_ms), .def = "10m",
	 RANGE(1 * SECONDS, 720 * HOURS),
	 .text = "Longest time from the start of a replica until it is "
		 "ready."},
	{P "log_level", KEY_WORD, WORKS, "0.26-0.33", RABT, CLASSES,
	 AT(predictor.log_level), .words = "debug info warning error",
	 .def = "info", .text = "Least level that is logged."},
	{P "dependencies", KEY_MAP, WORKS, "0.30-0.33", RABT, 0,
	 .text = "What is installed for the replicas, once per content."},
	{P "dependencies.pip", KEY_FILE, WORKS, "0.30-0.33", RABT, 0,
	 AT(predictor.pip), .def_shown = "requirements.txt, if it is there",
	 .text = "Requirements file of the project."},
	{P "dependencies.shell", KEY_FILE, WORKS, "0.30-0.33", RABT, 0,
	 AT(predictor.shell), .def_shown = "dependencies.sh, if it is there",
	 .text = "Shell script of the project, run before pip."},
	{P "dependencies.conda", KEY_FILE, REFUSED, "0.30-0.33", RABT, 0,
	 .text = "List of conda packages.",
	 .why = "conda packages are not installed by this version; list the "
		"packages in requirements.txt, or point predictor.python to a "
		"conda environment"},
	{P "image", KEY_STRING, WARNS, "0.25-0.33", RABT, 0,
	 .text = "Container image.",
	 .why = "replicas run on this machine, not in a container"},
	{P "shm_size", KEY_BYTES, WARNS, "0.26-0.33", RABT, 0, AT_LEAST(0),
	 .unit = "bytes", .text = "Size of /dev/shm.",
	 .why = "replicas share the machine's /dev/shm"},

	{"compute", KEY_MAP, WORKS, "0.25-0.35", RABT, 0,
	 .text = "What one replica takes."},
	{"compute.cpu", KEY_CPU, WORKS, "0.25-0.42", RABT, 0,
	 AT(compute.cpu_millis), .def = "200m", .null_ok = true,
	 .unit = "cores", AT_LEAST(20),
	 .text = "Cores reserved for a replica; null: none. Not a limit."},
	{"compute.mem", KEY_BYTES, WORKS, "0.25-0.42", RABT, 0,
	 AT(compute.mem_bytes), .unit = "bytes", AT_LEAST(20 * MIB),
	 .text = "Memory reserved for a replica. Not a limit."},
	{"compute.mem_limit", KEY_BYTES, WORKS, "soma", RABT, 0,
	 AT(compute.mem_limit), .unit = "bytes", AT_LEAST(20 * MIB),
	 .text = "Memory that a replica may use; it is ended beyond it."},
	{"compute.gpu", KEY_INT, REFUSED, "0.25-0.42", RABT, 0, .def = "0",
	 AT_LEAST(0), .text = "GPUs reserved for a replica.",
	 .why = "this version hands out no accelerators; remove compute.gpu: "
		"a replica still sees the machine's GPUs"},
	{"compute.inf", KEY_INT, REFUSED, "0.25-0.42", RABT, 0, .def = "0",
	 AT_LEAST(0), .text = "Inferentia chips reserved for a replica.",
	 .why = "this version hands out no accelerators; remove compute.inf: "
		"a replica still sees the machine's devices"},
	{"compute.shm", KEY_BYTES, WARNS, "0.36-0.42", RABT, 0, AT_LEAST(0),
	 .unit = "bytes", .text = "Size of /dev/shm.",
	 .why = "replicas share the machine's /dev/shm"},
	{"compute.node_groups", KEY_STRINGS, WARNS, "0.35", RABT, 0,
	 .text = "Node groups that may run the api.",
	 .why = "there is one machine"},
	{"node_groups", KEY_STRINGS, WARNS, "0.36-0.42", RABT, 0,
	 .text = "Node groups that may run the api.",
	 .why = "there is one machine"},

	{"networking", KEY_MAP, WORKS, "0.25-0.42", ALL, 0,
	 .text = "Where the api answers."},
	{"networking.endpoint", KEY_ENDPOINT, WORKS, "0.25-0.42", ALL, 0,
	 AT(endpoint), .def_shown = "/<name>", RANGE(2, 1000),
	 .unit = "characters", .text = "Path of the api, unique."},
	{"networking.api_gateway", KEY_WORD, WARNS, "0.25", RT | KIND_BATCH, 0,
	 .words = "public none", .text = "Exposure by AWS API Gateway.",
	 .why = "there is no API gateway in front"},
	{"networking.local_port", KEY_INT, WARNS, "0.25", RT, 0,
	 RANGE(1, 65535), .text = "Port of a local deployment.",
	 .why = "every api answers on Soma's port, under its endpoint"},

	{"autoscaling", KEY_MAP, WORKS, "0.25-0.42", RA, 0,
	 .text = "How many replicas there are."},
	{A "min_replicas", KEY_INT, WORKS, "0.25-0.42", RA, 0,
	 AT(scale.min_replicas), .def = "1", RANGE(0, 10000),
	 .text = "Fewest replicas. 0 is not acted on yet: one is kept."},
	{A "max_replicas", KEY_INT, WORKS, "0.25-0.42", RA, 0,
	 AT(scale.max_replicas), .def = "100", RANGE(1, 10000),
	 .text = "Most replicas."},
	{A "init_replicas", KEY_INT, WORKS, "0.25-0.42", RA, 0,
	 AT(scale.init_replicas), .def_shown = "min_replicas", RANGE(0, 10000),
	 .text = "Replicas that a new api begins with."},
	{A "max_replica_concurrency", KEY_INT, WORKS, "0.25-0.35", RA, 0,
	 AT(scale.max_replica_concurrency), .def = "1024", RANGE(1, 30000),
	 .text = "Requests held and in flight per replica before 503."},
	{A "target_replica_concurrency", KEY_FLOAT, WARNS, "0.25-0.35", RA, 0,
	 AT_LEAST(0), .above_min = true,
	 .def_shown = "processes_per_replica * threads_per_process",
	 .text = "Requests in flight per replica that are aimed at.",
	 .why = "the number of replicas is fixed: init_replicas"},
	{A "target_in_flight", KEY_FLOAT, WARNS, "0.36-0.42", RA, 0,
	 AT_LEAST(0), .above_min = true, .def_shown = "max_concurrency",
	 .text = "Requests in flight per replica that are aimed at.",
	 .why = "the number of replicas is fixed: init_replicas"},
	{A "window", KEY_DURATION, WARNS, "0.25-0.42", RA, 0, .def = "60s",
	 RANGE(10 * SECONDS, 24 * HOURS),
	 .text = "Time that requests in flight are averaged over: a multiple "
		 "of 10s.",
	 .why = "the number of replicas is fixed: init_replicas"},
	{A "downscale_stabilization_period", KEY_DURATION, WARNS, "0.25-0.42",
	 RA, 0, .def = "5m", RANGE(0, 24 * HOURS),
	 .text = "The highest advice of this time counts when scaling down.",
	 .why = "the number of replicas is fixed: init_replicas"},
	{A "upscale_stabilization_period", KEY_DURATION, WARNS, "0.25-0.42", RA,
	 0, .def = "1m", RANGE(0, 24 * HOURS),
	 .text = "The lowest advice of this time counts when scaling up.",
	 .why = "the number of replicas is fixed: init_replicas"},
	{A "max_downscale_factor", KEY_FLOAT, WARNS, "0.25-0.42", RA, 0,
	 .def = "0.75", RANGE(0, 1), .below_max = true,
	 .text = "Least share of the replicas that one step down leaves.",
	 .why = "the number of replicas is fixed: init_replicas"},
	{A "max_upscale_factor", KEY_FLOAT, WARNS, "0.25-0.42", RA, 0,
	 .def = "1.5", AT_LEAST(1), .above_min = true,
	 .text = "Most replicas after one step up, as a multiple.",
	 .why = "the number of replicas is fixed: init_replicas"},
	{A "downscale_tolerance", KEY_FLOAT, WARNS, "0.25-0.42", RA, 0,
	 .def = "0.05", RANGE(0, 1), .below_max = true,
	 .text = "Share below the target that changes nothing.",
	 .why = "the number of replicas is fixed: init_replicas"},
	{A "upscale_tolerance", KEY_FLOAT, WARNS, "0.25-0.42", RA, 0,
	 .def = "0.05", AT_LEAST(0),
	 .text = "Share above the target that changes nothing.",
	 .why = "the number of replicas is fixed: init_replicas"},

	{"update_strategy", KEY_MAP, WARNS, "0.25-0.42", RA, 0,
	 .text = "How a new revision takes over.",
	 .why = "a new revision's replicas start beside the old ones"},
	{"update_strategy.max_surge", KEY_SHARE, WARNS, "0.25-0.42", RA, 0,
	 .def = "25%", .text = "Replicas more than asked for, meanwhile.",
	 .why = "a new revision's replicas start beside the old ones"},
	{"update_strategy.max_unavailable", KEY_SHARE, WARNS, "0.25-0.42", RA,
	 0, .def = "25%", .text = "Replicas fewer than asked for, meanwhile.",
	 .why = "a new revision's replicas start beside the old ones"},

	{"monitoring", KEY_MAP, WARNS, "0.25", RT, 0,
	 .text = "Counts of predicted classes or values.",
	 .why = "predictions are not counted by value"},
	{"monitoring.key", KEY_STRING, WARNS, "0.25", RT, 0,
	 .text = "Key of the answer that has the prediction.",
	 .why = "predictions are not counted by value"},
	{"monitoring.model_type", KEY_WORD, WARNS, "0.25", RT, 0,
	 .required = true, .example = "model_type: classification",
	 .words = "classification regression", .text = "What a prediction is.",
	 .why = "predictions are not counted by value"},

	{"request_timeout", KEY_DURATION, WORKS, "soma", RT, 0,
	 AT(request_timeout_ms), .def = "60s", RANGE(0, 720 * HOURS),
	 .text = "Longest time of a request, waiting for a replica included: "
		 "504 after it, 503 when none was ready. 0: no limit."},
	{"retry", KEY_CHOICE, WORKS, "soma", RT, 0, AT(retry_safe),
	 .words = "never safe", .def = "never",
	 .text = "safe: any request may run twice, so one whose replica died "
		 "goes to another. never: only GET and other idempotent "
		 "methods, and requests with an Idempotency-Key."},
	{"grace_period", KEY_DURATION, WORKS, "soma", RT, 0, AT(grace_ms),
	 .def = "60s", RANGE(0, 24 * HOURS),
	 .text = "Time that a replica has to end its requests when it is "
		 "stopped."},
};
const size_t keys_served_n = ARRAY_LEN(keys_served);

#define KIND_WHY(kind)                                                         \
	"kind \"" kind "\" is not served by this version of Soma; supported: " \
	"RealtimeAPI"

const struct key_refusal key_refusals[] = {
	{"kind", "AsyncAPI", KIND_WHY("AsyncAPI")},
	{"kind", "BatchAPI", KIND_WHY("BatchAPI")},
	{"kind", "TaskAPI", KIND_WHY("TaskAPI")},
	{"kind", "TrafficSplitter", KIND_WHY("TrafficSplitter")},
	{P "type", "tensorflow",
	 "type \"tensorflow\" is not served by this version of Soma; run the "
	 "model's own server with 'type: command' (for example "
	 "tensorflow_model_server), or convert the model to ONNX and load it "
	 "with onnxruntime in a python predictor"},
	{P "type", "onnx",
	 "type \"onnx\" is not served by this version yet; load the .onnx file "
	 "with onnxruntime in a python predictor"},
};
const size_t key_refusals_n = ARRAY_LEN(key_refusals);
