/* A model as protobuf bytes, by the field numbers of ONNX's format: what a
 * library of half a megabyte would write in as many lines. */
#include "cli/project.h"

#include <stdint.h>
#include <string.h>

#include "core/mem.h"

enum { MODEL_BYTES_MAX = 4096, TYPE_FLOAT = 1, IR_VERSION = 8, OPSET = 13 };
enum { VARINT = 0, BYTES = 2 }; /* protobuf's wire types */

static void add_varint(struct buf *b, uint64_t n)
{
	for (; n >= 0x80; n >>= 7)
		buf_addc(b, (char)(n | 0x80));
	buf_addc(b, (char)n);
}

static void add_int(struct buf *b, unsigned field, uint64_t n)
{
	add_varint(b, field << 3 | VARINT);
	add_varint(b, n);
}

static void add_bytes(struct buf *b, unsigned field, const void *data,
		      size_t len)
{
	add_varint(b, field << 3 | BYTES);
	add_varint(b, len);
	buf_add(b, data, len);
}

static void add_text(struct buf *b, unsigned field, const char *text)
{
	add_bytes(b, field, text, strlen(text));
}

/* A message inside another; it is empty afterwards. */
static void add_message(struct buf *b, unsigned field, struct buf *inner)
{
	add_bytes(b, field, inner->data, inner->len);
	buf_fini(inner);
}

/* ValueInfoProto: floats of shape [n, columns], n as many as are sent. */
static void add_value(struct buf *graph, unsigned field, const char *name,
		      uint64_t columns)
{
	struct buf dim, shape, tensor, type, value;

	buf_init(&dim, MODEL_BYTES_MAX);
	buf_init(&shape, MODEL_BYTES_MAX);
	buf_init(&tensor, MODEL_BYTES_MAX);
	buf_init(&type, MODEL_BYTES_MAX);
	buf_init(&value, MODEL_BYTES_MAX);
	add_text(&dim, 2, "n"); /* dim_param */
	add_message(&shape, 1, &dim);
	add_int(&dim, 1, columns); /* dim_value */
	add_message(&shape, 1, &dim);
	add_int(&tensor, 1, TYPE_FLOAT); /* elem_type */
	add_message(&tensor, 2, &shape);
	add_message(&type, 1, &tensor); /* tensor_type */
	add_text(&value, 1, name);
	add_message(&value, 2, &type);
	add_message(graph, field, &value);
}

/* TensorProto: floats, little-endian. */
static void add_weights(struct buf *graph, const char *name,
			const float *weights, uint64_t rows, uint64_t columns)
{
	struct buf tensor, raw;

	buf_init(&tensor, MODEL_BYTES_MAX);
	buf_init(&raw, MODEL_BYTES_MAX);
	for (uint64_t i = 0; i < rows * columns; i++) {
		uint32_t bits;

		memcpy(&bits, &weights[i], sizeof bits);
		for (unsigned shift = 0; shift < 32; shift += 8)
			buf_addc(&raw, (char)(bits >> shift));
	}
	add_int(&tensor, 1, rows); /* dims */
	add_int(&tensor, 1, columns);
	add_int(&tensor, 2, TYPE_FLOAT); /* data_type */
	add_text(&tensor, 8, name);
	add_message(&tensor, 9, &raw); /* raw_data */
	add_message(graph, 5, &tensor);
}

void project_onnx_model(struct buf *out)
{
	static const float weights[] = {0.5F, -1.0F, 2.0F};
	struct buf node, graph, opset;

	buf_init(&node, MODEL_BYTES_MAX);
	buf_init(&graph, MODEL_BYTES_MAX);
	buf_init(&opset, MODEL_BYTES_MAX);
	add_text(&node, 1, "x"); /* its inputs */
	add_text(&node, 1, "w");
	add_text(&node, 2, "y"); /* its output */
	add_text(&node, 4, "MatMul");
	add_message(&graph, 1, &node);
	add_text(&graph, 2, "linear");
	add_weights(&graph, "w", weights, ARRAY_LEN(weights), 1);
	add_value(&graph, 11, "x", ARRAY_LEN(weights)); /* input */
	add_value(&graph, 12, "y", 1);			/* output */
	add_int(out, 1, IR_VERSION);
	add_text(out, 2, "soma"); /* producer_name */
	add_message(out, 7, &graph);
	add_int(&opset, 2, OPSET);
	add_message(out, 8, &opset);
}
