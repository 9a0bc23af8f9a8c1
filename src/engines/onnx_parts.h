/* onnx_parts.h: what the files of the onnx engine share.
 *
 *   onnx_library.c  finds and opens ONNX Runtime
 *   onnx_file.c     looks into a model's file, for what ONNX Runtime cannot say
 *   onnx_external.c looks that its weights in other files are beside it
 *   onnx_proto.c    protobuf, for both
 *   onnx_session.c  threads, optimisation, execution provider
 *   onnx_ports.c    inputs and outputs
 *   onnx_run.c      slots: one run after another
 *   onnx.c          the engine, and its loading
 */
#ifndef ENGINES_ONNX_PARTS_H
#define ENGINES_ONNX_PARTS_H

#include <stdatomic.h>
#include <stdbool.h>

#include <onnxruntime_c_api.h>

#include "soma_engine.h"

/* What is asked of a library: every call that is made here is in it. Libraries
 * give out the functions of all versions up to their own. */
enum { ONNX_API = 16 };

/* The one with words; returns code. */
int onnx_fail(struct soma_error *error, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* ---- the library ---- */

struct onnx_library {
	const OrtApi *api;
	char version[32]; /* "1.32.0" */
	char path[512];	  /* where it was found */
};

/* Opens it once for the process. */
int onnx_library_open(struct onnx_library *l, const struct soma_params *params,
		      struct soma_error *error);

/* ---- the file ---- */

/* An input of the graph, as the file says it. */
struct onnx_input {
	char *name;
	bool has_shape;
};

struct onnx_file {
	bool external;		   /* weights are in files of their own */
	struct onnx_input *inputs; /* owned */
	size_t n_inputs;
};

/* Whether it is a whole model, and whether what it names is there. */
int onnx_file_look(struct onnx_file *f, const char *path,
		   struct soma_error *error);
void onnx_file_fini(struct onnx_file *f);

/* ---- the model ---- */

/* Where an output's size in one dimension comes from: it is fixed, or that of
 * an input, which has a dimension of the same name. */
struct onnx_dim {
	int32_t input; /* -1: it is `size` */
	uint32_t dim;
	int64_t size;
};

/* A small tensor that stays from run to run for as long as shapes stay: making
 * and asking values costs as much as a small model. */
struct onnx_kept {
	OrtValue *value; /* owned, or NULL */
	struct soma_tensor tensor;
	void *data; /* owned: of an input */
};

/* What one run needs at a time. Arrays are by port. */
struct onnx_slot {
	OrtRunOptions *options;
	atomic_bool canceled;
	bool distrusts;		 /* an output was not as foretold: none is
				    kept any more */
	const char **names;	 /* of the inputs of this run */
	OrtValue **in, **own_in; /* all of this run; those made for it alone */
	OrtValue **out, **own_out;
	struct onnx_kept *kept_in, *kept_out;
	struct soma_tensor *tensors; /* the response */
	void **texts;		     /* of string outputs: freed by release */
};

struct soma_model {
	const OrtApi *api;
	struct onnx_library library;
	OrtEnv *env;
	OrtSession *session;
	OrtMemoryInfo *memory;
	OrtAllocator *allocator; /* borrowed: the library's */
	struct soma_ports ports;
	struct soma_port *inputs, *outputs; /* owned, and their names */
	const char **output_names;	    /* of those that are asked for */
	/* By output: a size for each dimension, or NULL if one is not known
	 * before the run. */
	struct onnx_dim **foretold;
	uint32_t n_slots;
	struct onnx_slot *slots; /* owned */
	void (*log)(void *host, enum soma_log_level level, const char *text);
	void *host;
};

/* Frees the status; its words, and what is before them. SOMA_OK for NULL. */
int onnx_status(const OrtApi *api, OrtStatus *status, int code,
		const char *what, struct soma_error *error);

/* Session options from params. *ret is released by the caller. */
int onnx_session_options(const struct soma_model *m,
			 const struct soma_params *params,
			 const struct onnx_file *file, OrtSessionOptions **ret,
			 struct soma_error *error);

/* Fills inputs, outputs and ports. */
int onnx_ports_read(struct soma_model *m, const struct onnx_file *file,
		    struct soma_error *error);
void onnx_ports_free(struct soma_model *m);
int onnx_slot_init(struct soma_model *m, struct onnx_slot *s,
		   struct soma_error *error);
void onnx_slot_fini(struct soma_model *m, struct onnx_slot *s);
int onnx_run(struct soma_model *m, uint32_t slot, const struct soma_request *in,
	     struct soma_response *out, struct soma_error *error);
void onnx_release(struct soma_model *m, uint32_t slot,
		  struct soma_response *out);
void onnx_cancel(struct soma_model *m, uint32_t slot);

/* SOMA_ANY for a type that Soma does not know. */
enum soma_dtype onnx_dtype(ONNXTensorElementDataType type);
ONNXTensorElementDataType onnx_type(enum soma_dtype dtype);

#endif
