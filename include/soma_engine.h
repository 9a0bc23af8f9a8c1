/* soma_engine.h: what an engine gives Soma to run a model with.
 *
 * An engine is a shared object that runs models of one kind. Soma's replica
 * process loads one engine and one model, speaks HTTP and JSON, checks what
 * clients send, and calls the engine with tensors. The engine knows nothing of
 * HTTP, JSON or Soma: this header is all it needs, and libc alone is enough.
 *
 *     #include "soma_engine.h"
 *
 *     static int run(struct soma_model *model, uint32_t slot,
 *                    const struct soma_request *in, struct soma_response *out,
 *                    struct soma_error *error) { ... }
 *
 *     SOMA_ENGINE_EXPORT const struct soma_engine soma_engine = {
 *         .abi = SOMA_ENGINE_ABI,
 *         .size = sizeof(struct soma_engine),
 *         .name = "mine",
 *         .run = run,
 *     };
 *
 *     cc -shared -fPIC -O2 -o mine.so mine.c
 *
 * and in soma.yaml
 *
 *     predictor: {type: engine, engine: mine.so}
 *
 * examples/engine-tiny.c is a whole engine in one file; docs/engines.md says
 * how it is tried.
 *
 * The life of an engine, in one process:
 *
 *     dlopen ─ load ─┬─ run ─ release ─┬─ unload ─ the process ends
 *                    ╰────── ... ──────╯
 *
 * Rules that hold for all functions:
 *
 * - Threads. load and unload are called once, with no other call in progress.
 *   run and release of one slot are called by one thread at a time; different
 *   slots at the same time by different threads. A thread is not bound to a
 *   slot for good. ports may be called by any thread. cancel is called by
 *   another thread than the run that it is about.
 * - Blocking. load, run and unload may take as long as they need. release,
 *   ports and cancel must return at once.
 * - Memory. What a function is given is borrowed for the call unless it says
 *   otherwise. Neither side frees what the other has allocated.
 * - Errors. A function that can fail returns 0, or a code of enum soma_code
 *   with words in *error, which comes empty. Clients and operators read them:
 *   say what is wrong and what to do about it. A C++ exception or a Rust panic
 *   must not leave a function: it would end the process.
 * - Versions. A host takes an engine with its own SOMA_ENGINE_ABI only. Within
 *   one ABI structs grow at their end: `size` says how much of a struct its
 *   maker knew, and whoever reads it looks no further.
 */
#ifndef SOMA_ENGINE_H
#define SOMA_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Changes when something here changes that an old engine, or an old host, would
 * get wrong. */
#define SOMA_ENGINE_ABI 1u

/* The one symbol that is looked for. */
#define SOMA_ENGINE_SYMBOL "soma_engine"
#ifdef __cplusplus
#define SOMA_ENGINE_EXPORT extern "C" __attribute__((visibility("default")))
#else
#define SOMA_ENGINE_EXPORT __attribute__((visibility("default")))
#endif

enum { SOMA_RANK_MAX = 16, SOMA_ERROR_TEXT = 1024 };

/* What a function that fails returns. A code that has no place in a function,
 * and any other number, counts as SOMA_FAILED. */
enum soma_code {
	SOMA_OK = 0,
	SOMA_FAILED = 1,     /* the model or the engine: answered 500 */
	SOMA_BAD_INPUT = 2,  /* the request: answered 400 */
	SOMA_CANCELED = 3,   /* run ended because cancel asked for it */
	SOMA_NO_MEMORY = 4,  /* answered 507 */
	SOMA_BAD_MODEL = 5,  /* load: the model's file is not what it should
				be */
	SOMA_MISSING = 6,    /* load: a file or a library is not there */
	SOMA_BAD_OPTION = 7, /* load: an option has no such value */
};

/* Filled by whoever fails. Text is UTF-8 and ends with NUL; what is longer is
 * cut. */
struct soma_error {
	char text[SOMA_ERROR_TEXT];
};

/* --- tensors -------------------------------------------------------------- */

/* Elements are in host byte order. Numbers are never reused. */
enum soma_dtype {
	SOMA_ANY = 0,  /* of a port: any of those below. Of a tensor: never. An
			  input of any dtype comes as the client wrote it:
			  BOOL, INT64, FLOAT64 (one number with a point or an
			  exponent is enough) or STRING */
	SOMA_BOOL = 1, /* one byte, 0 or 1 */
	SOMA_INT8 = 2,
	SOMA_INT16 = 3,
	SOMA_INT32 = 4,
	SOMA_INT64 = 5,
	SOMA_UINT8 = 6,
	SOMA_UINT16 = 7,
	SOMA_UINT32 = 8,
	SOMA_UINT64 = 9,
	SOMA_FLOAT16 = 10,  /* IEEE 754 binary16, two bytes */
	SOMA_BFLOAT16 = 11, /* the upper half of a float32 */
	SOMA_FLOAT32 = 12,
	SOMA_FLOAT64 = 13,
	SOMA_STRING = 14, /* struct soma_string */
};

/* UTF-8. In a request data[len] is NUL, and there may be others before it. In a
 * response only `len` bytes are read, and what is not UTF-8 becomes U+FFFD. */
struct soma_string {
	const char *data;
	size_t len;
};

/* Row-major, without gaps; `count` elements, the product of shape[0..rank). A
 * scalar has rank 0 and count 1. In a request shape[0] is never 0, but a later
 * dimension may be, where the port allows it, and then count is 0. */
struct soma_tensor {
	const char *name;
	enum soma_dtype dtype;
	uint32_t rank; /* at most SOMA_RANK_MAX */
	int64_t shape[SOMA_RANK_MAX];
	size_t count;
	/* Of a request aligned to 64 bytes. A response's may have any alignment
	 * that its dtype allows. NULL only when count is 0. */
	const void *data;
};

/* --- a model's inputs and outputs ----------------------------------------- */

/* What a model takes or gives under one name. */
struct soma_port {
	const char *name;
	enum soma_dtype dtype;
	int32_t rank; /* -1: any */
	/* -1: any size in this dimension. 0 is a size: one that is forgotten
	 * fits no request. */
	int64_t shape[SOMA_RANK_MAX];
	/* What a dimension of any size is called ("batch"), for people:
	 * dimensions of one name are not compared. NULL: nothing. */
	const char *dim_names[SOMA_RANK_MAX];
	uint32_t optional; /* of an input: 1 when a request may leave it out */
};

/* Borrowed from the model until unload. Names are not empty, and no two inputs
 * or outputs have the same. Requests are checked against the inputs. The
 * outputs are for people: a response is not compared with them. */
struct soma_ports {
	const struct soma_port *inputs;
	uint32_t n_inputs;
	const struct soma_port *outputs;
	uint32_t n_outputs;
	/* 1: inputs of any other name are taken, too, as SOMA_ANY: up to 1024
	 * in a request. */
	uint32_t open;
};

/* --- loading -------------------------------------------------------------- */

struct soma_option {
	const char *key;
	/* As written in soma.yaml where it is a text. A number or a boolean, so
	 * without quotes, comes in one form: 0x10 as "16", 1e3 as "1000.0", yes
	 * as "true". */
	const char *value;
};

/* An option that an engine knows. A list ends with a NULL key. */
struct soma_option_info {
	/* "delay_ms"; or "session.", which ends in a dot and stands for every
	 * key that begins so. */
	const char *key;
	const char *value; /* what it is when nobody says; NULL: not given */
	const char *text;  /* one sentence for people */
};

enum soma_log_level {
	SOMA_LOG_DEBUG = 0,
	SOMA_LOG_INFO = 1,
	SOMA_LOG_WARNING = 2,
	SOMA_LOG_ERROR = 3,
};

/* What load is given; copy what is kept, but for log, progress and host. `size`
 * is the host's. Numbers are defaulted and checked by the host before. In
 * brackets: the key of `predictor` that it comes from. */
struct soma_params {
	size_t size;
	const char *model;   /* [model] absolute path of the model's file, which
				is there; NULL: none was named. Its
				users know the last part only */
	const char *project; /* absolute path of the project's folder; NULL:
				none. Also the working directory */
	const char *library; /* [onnxruntime] absolute path of the runtime's
				library that the user has named; NULL: the
				engine looks for it */
	const char *host_dir; /* folder of the host program: libraries that came
				 with it */
	const char *lib_dir;  /* where an operator puts libraries of this
				 machine's own; NULL: none */
	uint32_t slots;	      /* [threads_per_process] runs at the same time, at
				 least 1: run's `slot` is 0 to slots - 1 */
	uint32_t threads;     /* [intra_op_threads] that one run may use, at
				 least 1 */
	const char *graph_optimization; /* [graph_optimization] "disabled",
					   "basic", "extended", "all" */
	const char *device; /* [execution_provider] "cpu", "cuda", ... */
	const struct soma_option *options; /* [engine_options] each key once, in
					      no order that counts */
	uint32_t n_options;
	/* Both may be called by any thread until unload returns; progress
	 * inside load only. What progress says is shown while a replica
	 * starts. */
	void (*log)(void *host, enum soma_log_level level, const char *text);
	void (*progress)(void *host, const char *text);
	void *host;
};

/* --- running -------------------------------------------------------------- */

/* The inputs of one run, in the order of the model's ports and without those
 * that were left out; those of other names (soma_ports.open) behind. Names,
 * dtypes and shapes have been checked against the ports. All of it, data
 * included, is the host's and stays as it is until release. */
struct soma_request {
	size_t size;
	const struct soma_tensor *inputs;
	uint32_t n_inputs;
	const char *id; /* the request's, for a log line; of several that are
			   run as one, the oldest's */
};

/* Filled by run, and empty before but for size. On success tensors and what
 * they point to, names included, belong to the engine and stay until release;
 * they may point into the request's data. Without outputs the answer is empty.
 * On failure nothing is taken from it and release is not called. */
struct soma_response {
	size_t size;
	const struct soma_tensor *outputs;
	uint32_t n_outputs;
	void *keep; /* the engine's own */
};

struct soma_model; /* the engine's own */

/* Every member but abi, size, name and run may be NULL or 0. */
struct soma_engine {
	uint32_t abi; /* SOMA_ENGINE_ABI; first in every ABI */
	uint32_t reserved;
	size_t size;	     /* sizeof(struct soma_engine) */
	const char *name;    /* "onnx" */
	const char *version; /* of the engine, for people */

	/* Options beyond these are refused by the host with the nearest name.
	 * NULL: none is taken. load gets each that has a value, defaults
	 * filled in, and every given one of a family. */
	const struct soma_option_info *options;
	/* 1: nothing can be run without predictor.model. */
	uint32_t wants_model;

	/* Makes a model ready to run in `slots` slots. On success *ret_model
	 * belongs to the host until it gives it back to unload; on failure it
	 * is untouched, and unload is not called. NULL: there is nothing to
	 * load, and the model is NULL in every call. */
	int (*load)(const struct soma_params *params,
		    struct soma_model **ret_model, struct soma_error *error);
	/* Frees it. Not called when the process is killed, or ends while a run
	 * does not. */
	void (*unload)(struct soma_model *model);
	/* What it takes and gives, which stays the same until unload: asked
	 * after load, perhaps once only. NULL, or one that returns NULL: any
	 * inputs and outputs of any dtype and shape. */
	const struct soma_ports *(*ports)(const struct soma_model *model);
	/* One inference. */
	int (*run)(struct soma_model *model, uint32_t slot,
		   const struct soma_request *in, struct soma_response *out,
		   struct soma_error *error);
	/* The response of a successful run has been read, or nobody waits for
	 * it any more: called once for each, with *out as run has left it.
	 * NULL: it stays by itself until the next run of its slot. */
	void (*release)(struct soma_model *model, uint32_t slot,
			struct soma_response *out);
	/* Nobody waits any more for the run that is in progress in this slot:
	 * it should end soon, with SOMA_CANCELED or anything else; past
	 * predict_timeout it has a second for that. May come just before run is
	 * entered, or after it has returned, with release in progress; never
	 * once the slot's next run has begun. So a flag that run clears first
	 * thing is right: what it misses just runs to its end. NULL: a run that
	 * takes too long costs the process. */
	void (*cancel)(struct soma_model *model, uint32_t slot);
};

#ifdef __cplusplus
}
#endif

#endif
