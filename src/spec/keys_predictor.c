/* The keys of what a replica runs: predictor, and Cortex's handler. */
#include "spec/keys_rows.h"

#define TF_WHY                                                                 \
	"type \"tensorflow\" is not served by this version of Soma; load the " \
	"model by tensorflow in a PythonPredictor, run its own server with "   \
	"'predictor: {type: command}' (for example tensorflow_model_server), " \
	"or convert it to ONNX for 'predictor: {type: onnx, model: "           \
	"FILE.onnx}'"
#define GRPC_WHY                                                               \
	"gRPC is not served by this version; take JSON in predict(), or "      \
	"serve HTTP with 'predictor: {type: command}'"
#define IMAGE_WHY "replicas run on this machine, not in a container"
#define SHM_WHY "replicas share the machine's /dev/shm"

const struct key keys_predictor[] = {
	{"predictor", KEY_MAP, WORKS, "0.25-0.33", RAB, 0,
	 .text = "What a replica runs."},
	{"predictor.type", KEY_CHOICE, WORKS, "0.25-0.33", RAB, 0,
	 AT(predictor.type), .words = "python command engine onnx tensorflow",
	 .def_shown = "python with path, onnx with model, engine with engine, "
		      "command with command",
	 .text = "python: your class PythonPredictor. onnx: an .onnx file "
		 "without any Python or, with a path, your class "
		 "ONNXPredictor. engine: a model that an engine's plugin "
		 "runs. command: any program that serves HTTP on $PORT."},
	{"predictor.path", KEY_PY_FILE, WORKS, "0.25-0.33", RAB, CLASSES | TF,
	 .required = true, .example = "path: predictor.py", AT(predictor.path),
	 .text = "Python file with the class, relative to the project."},
	{"predictor.model", KEY_FILE, WORKS, "soma", RT, NATIVE,
	 .example = "model: model.onnx", AT(predictor.model),
	 .text = "File of the model, relative to the project; for type onnx "
		 "required, and its name ends in .onnx."},
	{"predictor.engine", KEY_ENGINE, WORKS, "soma", RT, FOR_ENGINE,
	 .required = true, .example = "engine: ./engine.so",
	 AT(predictor.engine), .words = "onnx echo",
	 .text = "Plugin that runs the model: one that Soma has, or a file of "
		 "the project whose name ends in .so."},
	{"predictor.intra_op_threads", KEY_INT, WORKS, "soma", RT, NATIVE,
	 AT(predictor.intra_op_threads), RANGE(1, 1024),
	 .def_shown = "compute.cpu, rounded up",
	 .text = "Threads that one run of the model takes."},
	{"predictor.graph_optimization", KEY_WORD, WORKS, "soma", RT, NATIVE,
	 AT(predictor.graph_optimization),
	 .words = "disabled basic extended all", .def = "all",
	 .text = "How much the engine rewrites the model when it loads it."},
	{"predictor.execution_provider", KEY_STRING, WORKS, "soma", RT, NATIVE,
	 AT(predictor.execution_provider), .def = "cpu",
	 .example = "execution_provider: cuda",
	 .text = "What of ONNX Runtime computes: cpu, or another that its "
		 "library has."},
	{"predictor.engine_options", KEY_OPTIONS, WORKS, "soma", RT, NATIVE,
	 AT(predictor.engine_options), .def = "{}",
	 .text = "Handed to the engine: names with texts, numbers or "
		 "booleans."},
	{"predictor.onnxruntime", KEY_PROGRAM, WORKS, "soma", RT, NATIVE,
	 AT(predictor.onnxruntime),
	 .example = "onnxruntime: /usr/lib/libonnxruntime.so",
	 .def_shown = "looked for",
	 .text = "ONNX Runtime's library: absolute, or in the project."},
	{"predictor.command", KEY_COMMAND, WORKS, "soma", RT, CMD,
	 .required = true,
	 .example = "command: [uvicorn, main:app, --port, $PORT]",
	 AT(predictor.command),
	 .text = "Program and its arguments: a list, or one text that is split "
		 "at blanks as a shell would, quotes and backslashes "
		 "included. No shell runs, and only $PORT, ${PORT} and "
		 "$(CORTEX_PORT) are filled in."},
	{"predictor.max_concurrency", KEY_INT, WORKS, "soma", RT, CMD,
	 AT(predictor.max_concurrency), .def = "0", RANGE(0, 30000),
	 .text = "Requests that one replica is given at the same time. 0: no "
		 "limit."},
	{"predictor.readiness_path", KEY_URL_PATH, WORKS, "soma", RT, CMD,
	 AT(predictor.readiness_path), .example = "readiness_path: /health",
	 .def_shown = "ready when $PORT accepts connections",
	 .text = "GET on it answers 2xx or 3xx once the program is ready."},
	{"predictor.models", KEY_MAP, WORKS, "0.25-0.33", RAB,
	 PY | ONNX_CLASS | TF, .example = "models: {path: model.onnx}",
	 .text = "Models that the class has: what soma.models opens in a "
		 "PythonPredictor, and onnx_client of an ONNXPredictor, where "
		 "it is required and what changes at its source is loaded "
		 "while replicas run. One of path, paths and dir."},
#define MODELS "predictor.models"
#define VERSIONS "0.25-0.33"
#define KINDS RAB
#define PREDICTORS (PY | ONNX_CLASS)
#include "spec/keys_models.inc"
#define CLASS "predictor"
#define SINCE(v) v "-0.33"
#define AGAIN false
#include "spec/keys_class.inc"

	{"handler", KEY_MAP, WORKS, "0.34-0.35", RAB, 0,
	 .text = "What a replica runs, as 0.34 and 0.35 named it: your class "
		 "Handler."},
	{"handler.type", KEY_WORD, WORKS, "0.34-0.35", RAB, 0,
	 .words = "python tensorflow", .def_shown = "python",
	 .text = "python: your class Handler."},
	{"handler.path", KEY_PY_FILE, WORKS, "0.34-0.35", RAB, PY | TF,
	 .required = true, .example = "path: handler.py", AT(predictor.path),
	 .again = true,
	 .text = "Python file with the class, relative to the project."},
	{"handler.models", KEY_MAP, REFUSED, "0.34-0.35", RAB, TF,
	 .text = "Models that TensorFlow Serving has.", .why = TF_WHY},
#define MODELS "handler.models"
#define VERSIONS "0.34-0.35"
#define KINDS RAB
#define PREDICTORS TF
#define REFUSED_WHY TF_WHY
#include "spec/keys_models.inc"
#define CLASS "handler"
#define SINCE(v) "0.34-0.35"
#define AGAIN true
#include "spec/keys_class.inc"
};
const size_t keys_predictor_n = ARRAY_LEN(keys_predictor);

/* What the rules make of several keys. */
const struct key keys_derived[] = {
	{"autoscaling.schedule", KEY_JSON, WORKS, "soma", RA, 0,
	 AT(scale.schedule_json)},
	{"predictor.class", KEY_CHOICE, WORKS, "soma", RT, CLASSES,
	 AT(predictor.klass), .words = "PythonPredictor ONNXPredictor Handler"},
	{"predictor.models", KEY_JSON, WORKS, "soma", RT, CLASSES,
	 AT(predictor.models_json)},
	{"warmup", KEY_JSON, WORKS, "soma", RT, 0, AT(warmup_json)},
	{"splitter", KEY_JSON, WORKS, "soma", KIND_SPLITTER, 0, AT(split_json)},
};
const size_t keys_derived_n = ARRAY_LEN(keys_derived);

const struct key_refusal key_refusals[] = {
	{"kind", "AsyncAPI", KIND_WHY("AsyncAPI")},
	{"kind", "BatchAPI", KIND_WHY("BatchAPI")},
	{"kind", "TaskAPI", KIND_WHY("TaskAPI")},
	{"predictor.type", "tensorflow", TF_WHY},
	{"handler.type", "tensorflow", TF_WHY},
};
const size_t key_refusals_n = ARRAY_LEN(key_refusals);
