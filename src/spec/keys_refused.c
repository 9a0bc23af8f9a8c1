/* Cortex's keys that this version refuses, because an api without them would
 * answer something else. The manual and the schema list them all the same. */
#include <math.h>

#include "core/mem.h"
#include "spec/keys.h"

#define RANGE(lo, hi) .ranged = true, .min = (lo), .max = (hi)
#define AT_LEAST(lo) RANGE(lo, INFINITY)

enum {
	RT = KIND_REALTIME,
	RA = RT | KIND_ASYNC,
	RAB = RA | KIND_BATCH,
	RABT = RAB | KIND_TASK,
	MODELS = FOR_TENSORFLOW | FOR_ONNX,
	TF = FOR_TENSORFLOW,
	PY = FOR_PYTHON,
};

#define MODELS_WHY                                                             \
	"models are not loaded by this version; load the model in the "        \
	"class's __init__, from a file of the project or a path in "           \
	"predictor.config"
#define BATCHING_WHY                                                           \
	"requests are not batched by this version, and predict() would get "   \
	"single payloads; remove the key and take one payload"
#define HANDLER_WHY                                                            \
	"Cortex's handler (0.34, 0.35) is not served by this version of "      \
	"Soma; write 'predictor:' instead, and rename the class to "           \
	"PythonPredictor and its method to predict"
#define POD_WHY                                                                \
	"containers are not run by this version of Soma; run the server "      \
	"itself: 'predictor: {type: command, command: [...]}', listening on "  \
	"$PORT"

#define REF(path, type, versions, kinds, predictors, why_, ...)                \
	{                                                                      \
		path, type, REFUSED, versions, kinds, predictors, .why = why_, \
								  __VA_ARGS__  \
	}

/* A block that says where models are; `at` is its path. */
#define MODEL_KEYS(at, versions, predictors)                                   \
	REF(at ".path", KEY_STRING, versions, RAB, predictors, MODELS_WHY,     \
	    .text = "One model: a directory or file."),                        \
		REF(at ".paths", KEY_LIST, versions, RAB, predictors,          \
		    MODELS_WHY, .text = "Several models by name."),            \
		REF(at ".paths[].name", KEY_STRING, versions, RAB, predictors, \
		    MODELS_WHY, .required = true,                              \
		    .text = "Name of the model."),                             \
		REF(at ".paths[].path", KEY_STRING, versions, RAB, predictors, \
		    MODELS_WHY, .required = true,                              \
		    .text = "Where the model is: a directory or file."),       \
		REF(at ".paths[].signature_key", KEY_STRING, versions, RAB,    \
		    TF, MODELS_WHY, .text = "Signature of a SavedModel."),     \
		REF(at ".dir", KEY_STRING, versions, RAB, predictors,          \
		    MODELS_WHY,                                                \
		    .text = "Directory with a directory per model."),          \
		REF(at ".signature_key", KEY_STRING, versions, RAB, TF,        \
		    MODELS_WHY, .text = "Signature of a SavedModel."),         \
		REF(at ".cache_size", KEY_INT, versions, RT, predictors,       \
		    MODELS_WHY, AT_LEAST(1),                                   \
		    .text = "Models kept in memory."),                         \
		REF(at ".disk_cache_size", KEY_INT, versions, RT, predictors,  \
		    MODELS_WHY, AT_LEAST(1), .text = "Models kept on disk.")

#define BATCHING_KEYS(at, versions)                                            \
	REF(at, KEY_MAP, versions, RT, PY | TF, BATCHING_WHY,                  \
	    .text = "Several requests in one call of predict."),               \
		REF(at ".max_batch_size", KEY_INT, versions, RT, PY | TF,      \
		    BATCHING_WHY, .required = true, RANGE(2, 1024),            \
		    .text = "Most requests in one call."),                     \
		REF(at ".batch_interval", KEY_DURATION, versions, RT, PY | TF, \
		    BATCHING_WHY, .required = true, AT_LEAST(0),               \
		    .above_min = true,                                         \
		    .text = "Longest wait for a fuller batch.")

#define HANDLER(name, type, kinds, predictors, ...)                            \
	REF("handler." name, type, "0.34-0.35", kinds, predictors,             \
	    HANDLER_WHY, __VA_ARGS__)

#define POD(name, type, kinds, ...)                                            \
	REF("pod." name, type, "0.36-0.42", kinds, 0, POD_WHY, __VA_ARGS__)
#define CONTAINER(name, type, kinds, ...)                                      \
	POD("containers[]." name, type, kinds, __VA_ARGS__)

#define PROBE_TIMES(at, kinds)                                                 \
	CONTAINER(at ".initial_delay_seconds", KEY_INT, kinds, .def = "0",     \
		  AT_LEAST(0), .unit = "seconds",                              \
		  .text = "Wait before the first try."),                       \
		CONTAINER(at ".timeout_seconds", KEY_INT, kinds, .def = "1",   \
			  AT_LEAST(1), .unit = "seconds",                      \
			  .text = "Longest time of one try."),                 \
		CONTAINER(at ".period_seconds", KEY_INT, kinds, .def = "10",   \
			  AT_LEAST(1), .unit = "seconds",                      \
			  .text = "Time between tries."),                      \
		CONTAINER(at ".success_threshold", KEY_INT, kinds, .def = "1", \
			  AT_LEAST(1),                                         \
			  .text = "Tries in a row that make it good."),        \
		CONTAINER(at ".failure_threshold", KEY_INT, kinds, .def = "3", \
			  AT_LEAST(1),                                         \
			  .text = "Tries in a row that make it bad.")

#define HOOK_KEYS(at, kinds)                                                   \
	CONTAINER(at ".http_get", KEY_MAP, kinds, .text = "A GET request."),   \
		CONTAINER(at ".http_get.port", KEY_INT, kinds,                 \
			  .required = true, RANGE(1, 65535),                   \
			  .text = "Port of the request."),                     \
		CONTAINER(at ".http_get.path", KEY_URL_PATH, kinds,            \
			  .def = "/", .text = "Path of the request."),         \
		CONTAINER(at ".exec", KEY_MAP, kinds, .text = "A program."),   \
		CONTAINER(at ".exec.command", KEY_STRINGS, kinds,              \
			  .required = true,                                    \
			  .text = "The program and its arguments.")

#define PROBE_KEYS(at, kinds)                                                  \
	HOOK_KEYS(at, kinds),                                                  \
		CONTAINER(at ".tcp_socket", KEY_MAP, kinds,                    \
			  .text = "A connection."),                            \
		CONTAINER(at ".tcp_socket.port", KEY_INT, kinds,               \
			  .required = true, RANGE(1, 65535),                   \
			  .text = "Port of the connection."),                  \
		PROBE_TIMES(at, kinds)

const struct key keys_refused[] = {
	REF("predictor.models", KEY_MAP, "0.25-0.33", RAB, MODELS, MODELS_WHY,
	    .text = "Models that Cortex loads."),
	MODEL_KEYS("predictor.models", "0.25-0.33", MODELS),
	REF("predictor.multi_model_reloading", KEY_MAP, "0.25-0.33", RT, PY,
	    MODELS_WHY, .text = "Models that are loaded anew as they change."),
	MODEL_KEYS("predictor.multi_model_reloading", "0.25-0.33", PY),
	BATCHING_KEYS("predictor.server_side_batching", "0.25-0.33"),
	REF("predictor.tensorflow_serving_image", KEY_STRING, "0.25-0.33", RAB,
	    TF,
	    "TensorFlow Serving is not run by this version; run it with "
	    "'type: command'",
	    .text = "Image of TensorFlow Serving."),
	REF("predictor.protobuf_path", KEY_FILE, "0.32-0.33", RT, PY,
	    "gRPC is not served by this version; take JSON in predict(), or "
	    "serve HTTP with 'type: command'",
	    .text = "Description of a gRPC service."),

	REF("handler", KEY_MAP, "0.34-0.35", RABT, 0, HANDLER_WHY,
	    .text = "What a replica runs."),
	HANDLER("type", KEY_WORD, RAB, 0, .required = true,
		.words = "python tensorflow", .text = "Kind of the class."),
	HANDLER("path", KEY_PY_FILE, RAB, 0, .required = true,
		.text = "Python file with the class."),
	HANDLER("protobuf_path", KEY_FILE, RT, PY,
		.text = "Description of a gRPC service."),
	HANDLER("python_path", KEY_DIR, RAB, 0,
		.text = "Directory that imports start from."),
	HANDLER("image", KEY_STRING, RAB, 0, .text = "Container image."),
	HANDLER("tensorflow_serving_image", KEY_STRING, RAB, TF,
		.text = "Image of TensorFlow Serving."),
	HANDLER("processes_per_replica", KEY_INT, RT, 0, .def = "1",
		RANGE(1, 100), .text = "Python processes in one replica."),
	HANDLER("threads_per_process", KEY_INT, RT, 0, .def = "1", AT_LEAST(1),
		.text = "Requests of one process at the same time."),
	HANDLER("config", KEY_JSON, RAB, 0, .def = "{}",
		.text = "Handed to the class's __init__."),
	HANDLER("env", KEY_ENV, RAB, 0, .def = "{}",
		.text = "Environment variables."),
	HANDLER("log_level", KEY_WORD, RAB, 0, .def = "info",
		.words = "debug info warning error",
		.text = "Least level that is logged."),
	HANDLER("shm_size", KEY_BYTES, RAB, 0, .unit = "bytes",
		.text = "Size of /dev/shm."),
	HANDLER("dependencies", KEY_MAP, RAB, 0,
		.text = "What is installed for the replicas."),
	HANDLER("dependencies.pip", KEY_FILE, RAB, 0, .def = "requirements.txt",
		.text = "Requirements file."),
	HANDLER("dependencies.conda", KEY_FILE, RAB, 0,
		.def = "conda-packages.txt", .text = "List of conda packages."),
	HANDLER("dependencies.shell", KEY_FILE, RAB, 0,
		.def = "dependencies.sh", .text = "Shell script."),
	HANDLER("models", KEY_MAP, RAB, TF,
		.text = "Models that Cortex loads."),
	MODEL_KEYS("handler.models", "0.34-0.35", TF),
	HANDLER("multi_model_reloading", KEY_MAP, RT, PY,
		.text = "Models that are loaded anew as they change."),
	MODEL_KEYS("handler.multi_model_reloading", "0.34-0.35", PY),
	BATCHING_KEYS("handler.server_side_batching", "0.34-0.35"),

	REF("pod", KEY_MAP, "0.36-0.42", RABT, 0, POD_WHY,
	    .text = "Containers of a replica."),
	POD("port", KEY_INT, RAB, .def = "8080", RANGE(1, 65535),
	    .text = "Port that the server listens on."),
	POD("max_concurrency", KEY_INT, RA, .def = "1", RANGE(1, 30000),
	    .text = "Requests that a replica is given at the same time."),
	POD("max_queue_length", KEY_INT, RT, .def = "100", RANGE(1, 30000),
	    .text = "Requests held per replica before 503."),
	POD("containers", KEY_LIST, RABT, .required = true,
	    .text = "The containers."),
	CONTAINER("name", KEY_STRING, RABT, .required = true,
		  .text = "Name of the container."),
	CONTAINER("image", KEY_STRING, RABT, .required = true,
		  .text = "Its image."),
	CONTAINER("command", KEY_STRINGS, RABT,
		  .def_shown = "the image's ENTRYPOINT",
		  .text = "Its program."),
	CONTAINER("args", KEY_STRINGS, RABT, .def_shown = "the image's CMD",
		  .text = "The program's arguments."),
	CONTAINER("env", KEY_ENV, RABT, .def = "{}",
		  .text = "Environment variables."),
	CONTAINER("compute", KEY_MAP, RABT, .text = "What it takes."),
	CONTAINER("compute.cpu", KEY_CPU, RABT, .def = "200m", .null_ok = true,
		  AT_LEAST(20), .unit = "cores", .text = "Cores reserved."),
	CONTAINER("compute.mem", KEY_BYTES, RABT, AT_LEAST(20 * 1048576.0),
		  .unit = "bytes", .text = "Memory reserved."),
	CONTAINER("compute.gpu", KEY_INT, RABT, .def = "0", AT_LEAST(0),
		  .text = "GPUs reserved."),
	CONTAINER("compute.inf", KEY_INT, RABT, .def = "0", AT_LEAST(0),
		  .text = "Inferentia chips reserved."),
	CONTAINER("compute.shm", KEY_BYTES, RABT, AT_LEAST(0), .unit = "bytes",
		  .text = "Size of /dev/shm."),
	CONTAINER("readiness_probe", KEY_MAP, RAB,
		  .text = "Requests come once it succeeds."),
	PROBE_KEYS("readiness_probe", RAB),
	CONTAINER("liveness_probe", KEY_MAP, RABT,
		  .text = "The container is started anew when it fails."),
	PROBE_KEYS("liveness_probe", RABT),
	CONTAINER("pre_stop", KEY_MAP, RA, .text = "Run before the end."),
	HOOK_KEYS("pre_stop", RA),
};
const size_t keys_refused_n = ARRAY_LEN(keys_refused);
