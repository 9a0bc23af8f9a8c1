/* Looks through the protobuf of an ONNX model for what ONNX Runtime does not
 * say, or does not say well: that the file is cut short, which files its
 * weights are in, which inputs have no shape. Reads tags and lengths only. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "onnx_parts.h"
#include "onnx_proto.h"

/* The fields that are looked at. */
enum {
	MODEL_IR_VERSION = 1,
	MODEL_GRAPH = 7,
	MODEL_LAST = 64, /* higher numbers are not of a model */
	GRAPH_INPUT = 11,
	VALUE_NAME = 1,
	VALUE_TYPE = 2,
	TYPE_TENSOR = 1,
	TYPE_TENSOR_SHAPE = 2,
};

struct looking {
	struct onnx_file *file;
	const char *path; /* of the model */
	struct soma_error *error;
};

/* ---- inputs ---- */

static bool has_field(struct onnx_bytes b, uint32_t number,
		      struct onnx_bytes *ret)
{
	struct onnx_field f;

	while (onnx_next(&b, &f) == ONNX_FOUND) {
		if (f.number != number || f.wire != ONNX_BYTES)
			continue;
		*ret = f.data;
		return true;
	}
	return false;
}

static void read_input(struct looking *in, struct onnx_bytes b)
{
	struct onnx_file *file = in->file;
	struct onnx_bytes name, type, tensor, shape;
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

static void read_graph(struct looking *in, struct onnx_bytes b)
{
	struct onnx_field f;

	while (onnx_next(&b, &f) == ONNX_FOUND)
		if (f.number == GRAPH_INPUT && f.wire == ONNX_BYTES)
			read_input(in, f.data);
}

static int read_external(struct looking *in, struct onnx_bytes model)
{
	struct onnx_external x;
	int rc;

	onnx_external_init(&x, in->path, in->error);
	rc = onnx_external_check(&x, model);
	in->file->external = x.found;
	return rc;
}

/* In the runtime's own format, a FlatBuffer, which it takes a file for by its
 * name: under another it reads the same bytes as protobuf. */
static bool is_ort(const struct looking *in)
{
	const char *dot = strrchr(in->path, '.');

	return dot && strcasecmp(dot, ".ort") == 0;
}

static int named_wrong(const struct looking *in)
{
	return onnx_fail(in->error, SOMA_BAD_MODEL,
			 "the model '%s' is in ONNX Runtime's own format, for "
			 "which its name has to end in .ort",
			 in->path);
}

static int read_model(struct looking *in, struct onnx_bytes b)
{
	size_t size = (size_t)(b.end - b.p);
	bool begun = false, graph = false;
	const struct onnx_bytes all = b;
	struct onnx_field f;
	enum onnx_found found;

	if (size > 8 && memcmp(b.p + 4, "ORTM", 4) == 0)
		return is_ort(in) ? 0 : named_wrong(in);
	while ((found = onnx_next(&b, &f)) == ONNX_FOUND &&
	       f.number <= MODEL_LAST) {
		begun |= f.number == MODEL_IR_VERSION && f.wire == ONNX_VARINT;
		if (f.number != MODEL_GRAPH || f.wire != ONNX_BYTES)
			continue;
		graph = true;
		read_graph(in, f.data);
	}
	if (found == ONNX_CUT && begun)
		return cut_short(in, size);
	if (found != ONNX_END || !graph)
		return not_a_model(in);
	return read_external(in, all);
}

int onnx_file_look(struct onnx_file *f, const char *path,
		   struct soma_error *error)
{
	struct looking in = {.file = f, .path = path, .error = error};
	struct stat st;
	void *at;
	/* A pipe of that name is not waited for. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc;

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
	rc = read_model(&in, (struct onnx_bytes){at, (const unsigned char *)at +
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
