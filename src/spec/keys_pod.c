/* The keys of pod, Cortex's containers of 0.36 and later. The one container
 * that is served becomes a command (pod.c): its fields are predictor's. */
#include "spec/keys_rows.h"

#define V "0.36-0.42"
#define C "pod.containers[]."

#define PROBING_WHY "Soma probes at intervals of its own"
#define LIVENESS_WHY "a replica is started anew when its process ends"
#define STOP_WHY                                                               \
	"a replica is stopped by SIGTERM once its requests are done, within "  \
	"grace_period"
#define READY_WHY "a replica is ready once its port accepts connections"
#define DEVICES_WHY                                                            \
	"this version hands out no accelerators; remove the key: a replica "   \
	"still sees the machine's devices"

const struct key keys_pod[] = {
	{"pod", KEY_MAP, WORKS, V, RABT, 0,
	 .text = "One container, whose command is run on this machine."},
	{"pod.port", KEY_INT, WORKS, V, RAB, 0, .def = "8080", RANGE(1, 65535),
	 .text = "Port that the program would listen on in its container. "
		 "Here it is given another in $CORTEX_PORT and $PORT, so that "
		 "replicas can run side by side, and must listen on that."},
	{"pod.max_concurrency", KEY_INT, WORKS, V, RA, 0,
	 AT(predictor.max_concurrency), .again = true, .def = "1",
	 RANGE(1, 30000),
	 .text = "Requests that a replica is given at the same time."},
	{"pod.max_queue_length", KEY_INT, WORKS, V, RT, 0, .def = "100",
	 RANGE(1, 30000), .text = "Requests that wait per replica before 503."},
	{"pod.containers", KEY_LIST, WORKS, V, RABT, 0, .required = true,
	 .example = "containers: [{name: api, image: any, command: [...]}]",
	 RANGE(1, 100), .unit = "containers",
	 .text = "One container: several are refused."},
	{C "name", KEY_NAME, WORKS, V, RABT, 0, .required = true,
	 .example = "name: api", RANGE(1, 63), .unit = "characters",
	 .text = "Name of the container. Nothing depends on it."},
	{C "image", KEY_STRING, WARNS, V, RABT, 0, .required = true,
	 .example = "image: registry.example.com/iris",
	 .text = "Container image.",
	 .why = "replicas run on this machine, not in a container: what the "
		"command needs must be installed here or be in the project"},
	{C "command", KEY_STRINGS, WORKS, V, RABT, 0, AT_LEAST(1),
	 .unit = "texts",
	 .example = "command: [uvicorn, main:app, --port, $(CORTEX_PORT)]",
	 .text = "The program, and arguments: the image's own cannot be known, "
		 "so it must be given. $(CORTEX_PORT) is filled in."},
	{C "args", KEY_STRINGS, WORKS, V, RABT, 0, AT_LEAST(1), .unit = "texts",
	 .text = "More arguments, behind the command's."},
	{C "env", KEY_ENV, WORKS, V, RABT, 0, AT(predictor.env), .again = true,
	 .def = "{}", .text = "Environment variables."},
	{C "compute", KEY_MAP, WORKS, V, RABT, 0,
	 .text = "What the container takes."},
	{C "compute.cpu", KEY_CPU, WORKS, V, RABT, 0, AT(compute.cpu_millis),
	 .again = true, .def = "200m", .null_ok = true, .unit = "cores",
	 AT_LEAST(20),
	 .text = "Cores reserved for a replica; null: none. Not a limit."},
	{C "compute.mem", KEY_BYTES, WORKS, V, RABT, 0, AT(compute.mem_bytes),
	 .again = true, .unit = "bytes", AT_LEAST(20 * MIB),
	 .text = "Memory reserved for a replica. Not a limit."},
	{C "compute.gpu", KEY_INT, REFUSED, V, RABT, 0, .def = "0", AT_LEAST(0),
	 .text = "GPUs reserved for a replica.", .why = DEVICES_WHY},
	{C "compute.inf", KEY_INT, REFUSED, V, RABT, 0, .def = "0", AT_LEAST(0),
	 .text = "Inferentia chips reserved for a replica.",
	 .why = DEVICES_WHY},
	{C "compute.shm", KEY_BYTES, WARNS, V, RABT, 0, AT_LEAST(0),
	 .unit = "bytes", .text = "Size of /dev/shm.",
	 .why = "replicas share the machine's /dev/shm"},
	{C "readiness_probe", KEY_MAP, WORKS, V, RAB, 0,
	 .text = "Requests come once it succeeds: exactly one of http_get, "
		 "tcp_socket and exec."},
#define HOOK C "readiness_probe"
#define KINDS RAB
#define ACTS WORKS
#define WHY NULL
#define EXEC_KINDS RT
#define EXEC_WHY READY_WHY
#include "spec/keys_hook.inc"
#define PROBE C "readiness_probe"
#define KINDS RAB
#define ACTS WORKS
#define WHY NULL
#define TIMES_WHY PROBING_WHY
#include "spec/keys_probe.inc"
	{C "liveness_probe", KEY_MAP, WARNS, V, RABT, 0,
	 .text = "The container is started anew when it fails.",
	 .why = LIVENESS_WHY},
#define HOOK C "liveness_probe"
#define KINDS RABT
#define ACTS WARNS
#define WHY LIVENESS_WHY
#define EXEC_KINDS RABT
#define EXEC_WHY LIVENESS_WHY
#include "spec/keys_hook.inc"
#define PROBE C "liveness_probe"
#define KINDS RABT
#define ACTS WARNS
#define WHY LIVENESS_WHY
#define TIMES_WHY LIVENESS_WHY
#include "spec/keys_probe.inc"
	{C "pre_stop", KEY_MAP, WARNS, V, RA, 0,
	 .text = "What is done before the container is stopped.",
	 .why = STOP_WHY},
#define HOOK C "pre_stop"
#define KINDS RA
#define ACTS WARNS
#define WHY STOP_WHY
#define EXEC_KINDS RA
#define EXEC_WHY STOP_WHY
#include "spec/keys_hook.inc"
};
const size_t keys_pod_n = ARRAY_LEN(keys_pod);
