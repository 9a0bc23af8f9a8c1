/* Looks through the protobuf of an ONNX model for what ONNX Runtime does not
 * say, or does not say well: that the file is cut short, which files its
 * weights are in, which inputs have no shape. Reads tags and lengths only. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "onnx_parts.h"

/* The fields that are looked at. */
enum {
	MODEL_IR_VERSION = 1,
	MODEL_GRAPH = 7,
	MODEL_LAST = 64, /* higher numbers are not of a model */
	GRAPH_INITIALIZER = 5,
	GRAPH_INPUT = 11,
	TENSOR_EXTERNAL_DATA = 13,
	TENSOR_DATA_LOCATION = 14,
	ENTRY_KEY = 1,
	ENTRY_VALUE = 2,
	VALUE_NAME = 1,
	VALUE_TYPE = 2,
	TYPE_TENSOR = 1,
	TYPE_TENSOR_SHAPE = 2,
};

enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

struct bytes {
	const unsigned char *p, *end;
};

struct field {
	uint32_t number;
	uint32_t wire;
	uint64_t value;	   /* of a varint */
	struct bytes data; /* of WIRE_BYTES */
};

enum found { FOUND, FOUND_END, FOUND_CUT, FOUND_WRONG };

/* False at the end or after ten bytes. */
static bool take_varint(struct bytes *b, uint64_t *ret)
{
	*ret = 0;
	for (unsigned shift = 0; shift < 64; shift += 7) {
		unsigned char c;

		if (b->p == b->end)
			return false;
		c = *b->p++;
		*ret |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80))
			return true;
	}
	return false;
}

static enum found next(struct bytes *b, struct field *f)
{
	uint64_t tag, n = 0;

	if (b->p == b->end)
		return FOUND_END;
	if (!take_varint(b, &tag))
		return FOUND_CUT;
	f->number = (uint32_t)(tag >> 3);
	f->wire = (uint32_t)(tag & 7);
	if (f->number == 0 || tag >> 32)
		return FOUND_WRONG;
	switch (f->wire) {
	case WIRE_VARINT:
		return take_varint(b, &f->value) ? FOUND : FOUND_CUT;
	case WIRE_64:
		n = 8;
		break;
	case WIRE_32:
		n = 4;
		break;
	case WIRE_BYTES:
		if (!take_varint(b, &n))
			return FOUND_CUT;
		break;
	default:
		return FOUND_WRONG;
	}
	if (n > (uint64_t)(b->end - b->p))
		return FOUND_CUT;
	f->data = (struct bytes){b->p, b->p + n};
	b->p += n;
	return FOUND;
}

/* ---- external data ---- */

struct looking {
	struct onnx_file *file;
	const char *path; /* of the model */
	char dir[PATH_MAX];
	char last[PATH_MAX]; /* the file that was seen last, and its size */
	off_t last_size;
	struct soma_error *error;
};

struct external {
	char location[PATH_MAX];
	uint64_t offset, length;
};

static void read_entry(struct bytes b, struct external *e)
{
	struct bytes key = {0}, value = {0};
	char text[PATH_MAX];
	struct field f;
	size_t n;

	while (next(&b, &f) == FOUND) {
		if (f.number == ENTRY_KEY && f.wire == WIRE_BYTES)
			key = f.data;
		if (f.number == ENTRY_VALUE && f.wire == WIRE_BYTES)
			value = f.data;
	}
	n = (size_t)(value.end - value.p);
	if (!key.p || !value.p || n >= sizeof text)
		return;
	memcpy(text, value.p, n);
	text[n] = 0;
	n = (size_t)(key.end - key.p);
	if (n == 8 && memcmp(key.p, "location", n) == 0)
		memcpy(e->location, text, strlen(text) + 1);
	else if (n == 6 && memcmp(key.p, "offset", n) == 0)
		e->offset = strtoull(text, NULL, 10);
	else if (n == 6 && memcmp(key.p, "length", n) == 0)
		e->length = strtoull(text, NULL, 10);
}

/* Whether the file is beside the model, and as long as the model says. */
static int check_external(struct looking *in, const struct external *e)
{
	char path[2 * PATH_MAX];
	struct stat st;
	uint64_t size;

	if (strcmp(e->location, in->last) != 0) {
		snprintf(path, sizeof path, "%s/%s", in->dir, e->location);
		if (stat(path, &st) < 0)
			return onnx_fail(in->error, SOMA_MISSING,
					 "the model '%s' has weights in '%s', "
					 "which is not beside it (%s); put the "
					 "file there, under that name",
					 in->path, e->location,
					 strerror(errno));
		memcpy(in->last, e->location, sizeof in->last);
		in->last_size = st.st_size;
	}
	size = (uint64_t)in->last_size;
	if (e->length > size || e->offset > size - e->length)
		return onnx_fail(in->error, SOMA_BAD_MODEL,
				 "the file '%s' with weights of the model '%s' "
				 "is cut short: it has %lld bytes, the model "
				 "wants %llu at %llu",
				 e->location, in->path,
				 (long long)in->last_size,
				 (unsigned long long)e->length,
				 (unsigned long long)e->offset);
	return 0;
}

static int read_initializer(struct looking *in, struct bytes b)
{
	static struct external none;
	struct external e = none;
	bool external = false;
	struct field f;

	while (next(&b, &f) == FOUND) {
		if (f.number == TENSOR_EXTERNAL_DATA && f.wire == WIRE_BYTES)
			read_entry(f.data, &e);
		if (f.number == TENSOR_DATA_LOCATION && f.wire == WIRE_VARINT)
			external = f.value == 1;
	}
	if (!external || !e.location[0])
		return 0;
	in->file->external = true;
	return check_external(in, &e);
}

/* ---- inputs ---- */

static bool has_field(struct bytes b, uint32_t number, struct bytes *ret)
{
	struct field f;

	while (next(&b, &f) == FOUND) {
		if (f.number != number || f.wire != WIRE_BYTES)
			continue;
		*ret = f.data;
		return true;
	}
	return false;
}

static void read_input(struct looking *in, struct bytes b)
{
	struct onnx_file *file = in->file;
	struct bytes name, type, tensor, shape;
	struct onnx_input *more;

	if (!has_field(b, VALUE_NAME, &name))
		return;
	more = realloc(file->inputs, (file->n_inputs + 1) * sizeof *more);
	if (!more)
		return;
	file->inputs = more;
	more[file->n_inputs++] = (struct onnx_input){
		.name = strndup((const char *)name.p,
				(size_t)(name.end - name.p)),
		.has_shape = has_field(b, VALUE_TYPE, &type) &&
			     has_field(type, TYPE_TENSOR, &tensor) &&
			     has_field(tensor, TYPE_TENSOR_SHAPE, &shape)};
}

/* ---- the whole ---- */

static int not_a_model(const struct looking *in)
{
	return onnx_fail(in->error, SOMA_BAD_MODEL,
			 "'%s' is not an ONNX model: name a file that was "
			 "written by an export to ONNX",
			 in->path);
}

static int cut_short(const struct looking *in, size_t size)
{
	return onnx_fail(in->error, SOMA_BAD_MODEL,
			 "the model '%s' is cut short: it ends after %zu "
			 "bytes, in the middle of what it says it holds; copy "
			 "or export it again",
			 in->path, size);
}

static int read_graph(struct looking *in, struct bytes b)
{
	struct field f;
	int rc = 0;

	while (!rc && next(&b, &f) == FOUND) {
		if (f.number == GRAPH_INITIALIZER && f.wire == WIRE_BYTES)
			rc = read_initializer(in, f.data);
		if (f.number == GRAPH_INPUT && f.wire == WIRE_BYTES)
			read_input(in, f.data);
	}
	return rc;
}

static int read_model(struct looking *in, struct bytes b)
{
	size_t size = (size_t)(b.end - b.p);
	bool begun = false, graph = false;
	struct field f;
	enum found found;
	int rc;

	/* The runtime's own format, a FlatBuffer, is all its business. */
	if (size > 8 && memcmp(b.p + 4, "ORTM", 4) == 0)
		return 0;
	while ((found = next(&b, &f)) == FOUND && f.number <= MODEL_LAST) {
		begun |= f.number == MODEL_IR_VERSION && f.wire == WIRE_VARINT;
		if (f.number != MODEL_GRAPH || f.wire != WIRE_BYTES)
			continue;
		graph = true;
		rc = read_graph(in, f.data);
		if (rc)
			return rc;
	}
	if (found == FOUND_CUT && begun)
		return cut_short(in, size);
	if (found != FOUND_END || !graph)
		return not_a_model(in);
	return 0;
}

int onnx_file_look(struct onnx_file *f, const char *path,
		   struct soma_error *error)
{
	struct looking in = {.file = f, .path = path, .error = error};
	char *slash;
	struct stat st;
	void *at;
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc;

	if (fd < 0 || fstat(fd, &st) < 0) {
		rc = onnx_fail(error, SOMA_MISSING,
			       "the model '%s' cannot be read: %s", path,
			       strerror(errno));
		if (fd >= 0)
			close(fd);
		return rc;
	}
	if (st.st_size == 0) {
		close(fd);
		return onnx_fail(error, SOMA_BAD_MODEL,
				 "the model '%s' is empty", path);
	}
	at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (at == MAP_FAILED)
		return onnx_fail(error, SOMA_MISSING,
				 "the model '%s' cannot be read: %s", path,
				 strerror(errno));
	snprintf(in.dir, sizeof in.dir, "%s", path);
	slash = strrchr(in.dir, '/');
	if (slash)
		*slash = 0;
	else
		memcpy(in.dir, ".", 2);
	rc = read_model(&in, (struct bytes){at, (const unsigned char *)at +
							st.st_size});
	munmap(at, (size_t)st.st_size);
	return rc;
}

void onnx_file_fini(struct onnx_file *f)
{
	for (size_t i = 0; i < f->n_inputs; i++)
		free(f->inputs[i].name);
	free(f->inputs);
	*f = (struct onnx_file){0};
}
