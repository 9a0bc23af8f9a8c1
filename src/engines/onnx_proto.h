/* onnx_proto.h: an ONNX model as protobuf, as far as it is looked at: tags and
 * lengths, never the values of tensors. */
#ifndef ENGINES_ONNX_PROTO_H
#define ENGINES_ONNX_PROTO_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "soma_engine.h"

enum onnx_wire {
	ONNX_VARINT = 0,
	ONNX_64 = 1,
	ONNX_BYTES = 2,
	ONNX_32 = 5,
};

struct onnx_bytes {
	const unsigned char *p, *end;
};

struct onnx_field {
	uint32_t number;
	uint32_t wire;
	uint64_t value;		/* of a varint */
	struct onnx_bytes data; /* of ONNX_BYTES */
};

enum onnx_found { ONNX_FOUND, ONNX_END, ONNX_CUT, ONNX_WRONG };

/* The next field of a message, which is taken off it. */
enum onnx_found onnx_next(struct onnx_bytes *b, struct onnx_field *f);

/* ---- external data: weights in files beside the model's ---- */

struct onnx_external {
	const char *path; /* of the model */
	char dir[PATH_MAX], real_dir[PATH_MAX];
	/* The file that was looked at last, its size, and why it has none. */
	char last[PATH_MAX];
	off_t last_size;
	int last_errno;
	bool found; /* some tensor has such data */
	struct soma_error *error;
};

void onnx_external_init(struct onnx_external *x, const char *path,
			struct soma_error *error);
/* Whether all files that the model names are in its folder, and as long as it
 * says. SOMA_OK, or a code with words. */
int onnx_external_check(struct onnx_external *x, struct onnx_bytes model);

#endif
