/* weights.h: which tensors a file of weights has, and where: safetensors, and
 * what torch.save() writes since PyTorch 1.6 (a zip archive of a pickle and the
 * bytes of each storage).
 *
 * The bytes of tensors are never looked at, so a file of any size is known as
 * soon as its head has been read. Nothing that a file says is run: of a pickle
 * those few opcodes and names are understood that tensors are made of, and all
 * others are refused. Whatever is accepted lies within the file.
 *
 * https://huggingface.co/docs/safetensors (format),
 * torch/serialization.py and pickletools (archive). */
#ifndef WEIGHTS_WEIGHTS_H
#define WEIGHTS_WEIGHTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/arena.h"
#include "core/err.h"

enum weights_dtype {
	WEIGHTS_BOOL,
	WEIGHTS_U8,
	WEIGHTS_I8,
	WEIGHTS_U16,
	WEIGHTS_I16,
	WEIGHTS_U32,
	WEIGHTS_I32,
	WEIGHTS_U64,
	WEIGHTS_I64,
	WEIGHTS_F8_E4M3,
	WEIGHTS_F8_E5M2,
	WEIGHTS_F16,
	WEIGHTS_BF16,
	WEIGHTS_F32,
	WEIGHTS_F64,
	WEIGHTS_C64,
	WEIGHTS_C128,
	WEIGHTS_DTYPES,
};

enum weights_kind { WEIGHTS_SAFETENSORS, WEIGHTS_TORCH };

enum { WEIGHTS_MAX_DIMS = 64 };

struct weights_tensor {
	const char *name; /* UTF-8; of nested dicts "outer.inner" */
	enum weights_dtype dtype;
	uint32_t n_dims;
	const uint64_t *shape;	/* [n_dims] */
	const uint64_t *stride; /* [n_dims], in elements; NULL: row-major */
	uint64_t offset;	/* bytes from the file's start to its first
				   element */
	uint64_t bytes; /* that it may touch from there on; 0: no elements */
};

struct weights {
	enum weights_kind kind;
	struct weights_tensor *tensors; /* [n], in the order of the file */
	size_t n;
	/* private */
	size_t cap;
	struct arena arena;
};

/* Finds the tensors of a file that is `size` bytes at `data`, which are needed
 * during the call alone. E_UNPROCESSABLE says what is wrong with it and the
 * remedy; then there is nothing to free. */
int weights_parse(struct weights *w, const void *data, uint64_t size,
		  struct err *err);
void weights_fini(struct weights *w);

/* "F32", "BF16", ...: as safetensors names them. Bytes of an element. */
const char *weights_dtype_name(enum weights_dtype dtype);
uint32_t weights_dtype_size(enum weights_dtype dtype);

#endif
