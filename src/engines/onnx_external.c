/* Whether the weights that a model has in other files are beside it. ONNX
 * Runtime opens what the model names: a model that came from somewhere must not
 * choose which of this machine's files are read. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "onnx_parts.h"
#include "onnx_proto.h"

/* Of a graph in a node in a graph ... protobuf itself refuses more than 100. */
enum { DEPTH_MAX = 100, SHOWN_MAX = 200 };

enum {
	TENSOR_EXTERNAL_DATA = 13,
	TENSOR_DATA_LOCATION = 14,
	ENTRY_KEY = 1,
	ENTRY_VALUE = 2,
};

enum message {
	MODEL,
	TRAINING,
	FUNCTION,
	GRAPH,
	NODE,
	ATTRIBUTE,
	SPARSE,
	TENSOR,
};

/* Where a message has others, down to tensors: onnx.proto. */
static const struct way {
	enum message in;
	uint32_t field;
	enum message has;
} ways[] = {
	{MODEL, 7, GRAPH},	   {MODEL, 20, TRAINING},
	{MODEL, 25, FUNCTION},	   {TRAINING, 1, GRAPH},
	{TRAINING, 2, GRAPH},	   {FUNCTION, 7, NODE},
	{FUNCTION, 11, ATTRIBUTE}, {GRAPH, 1, NODE},
	{GRAPH, 5, TENSOR},	   {GRAPH, 15, SPARSE},
	{NODE, 5, ATTRIBUTE},	   {ATTRIBUTE, 5, TENSOR},
	{ATTRIBUTE, 6, GRAPH},	   {ATTRIBUTE, 10, TENSOR},
	{ATTRIBUTE, 11, GRAPH},	   {ATTRIBUTE, 22, SPARSE},
	{ATTRIBUTE, 23, SPARSE},   {SPARSE, 1, TENSOR},
	{SPARSE, 2, TENSOR},
};

/* What a tensor says of the file that it is in. */
struct entry {
	char location[PATH_MAX]; /* "": none */
	uint64_t offset, length;
};

void onnx_external_init(struct onnx_external *x, const char *path,
			struct soma_error *error)
{
	char *slash;

	*x = (struct onnx_external){.path = path, .error = error};
	snprintf(x->dir, sizeof x->dir, "%s", path);
	slash = strrchr(x->dir, '/');
	if (!slash)
		memcpy(x->dir, ".", 2);
	else if (slash == x->dir)
		slash[1] = 0;
	else
		*slash = 0;
	if (!realpath(x->dir, x->real_dir))
		x->real_dir[0] = 0;
}

/* ONNX Runtime has names that stand for its own memory, at an address that the
 * model gives as offset. */
static bool names_memory(const char *location)
{
	return location[0] == '*' && location[1] == '/';
}

static bool names_a_way_out(const char *location)
{
	const char *p = location;

	if (*p == '/' || names_memory(location))
		return true;
	for (;; p++) {
		size_t n = strcspn(p, "/");

		if (n == 2 && memcmp(p, "..", 2) == 0)
			return true;
		p += n;
		if (!*p)
			return false;
	}
}

static bool is_inside(const struct onnx_external *x, const char *path)
{
	char real[PATH_MAX];
	size_t n = strlen(x->real_dir);

	if (!n || !realpath(path, real) || strncmp(real, x->real_dir, n) != 0)
		return false;
	return n == 1 || real[n] == '/'; /* of 1: the root */
}

/* For words on one line. */
static char *shown(char out[SHOWN_MAX + 1], const char *location, size_t n)
{
	n = n < SHOWN_MAX ? n : SHOWN_MAX;
	for (size_t i = 0; i < n; i++)
		out[i] = (unsigned char)location[i] < ' ' ? '?' : location[i];
	out[n] = 0;
	return out;
}

static int leads_out(struct onnx_external *x, const char *location, size_t n)
{
	char name[SHOWN_MAX + 1];

	return onnx_fail(x->error, SOMA_BAD_MODEL,
			 "the model '%s' has weights in '%s', which leads out "
			 "of its folder; put the file itself beside the model, "
			 "and export the model with its name alone",
			 x->path, shown(name, location, n));
}

static int damaged(struct onnx_external *x)
{
	return onnx_fail(x->error, SOMA_BAD_MODEL,
			 "the model '%s' is damaged: something in it ends too "
			 "soon, or is not as ONNX has it; copy or export it "
			 "again",
			 x->path);
}

/* What is not there leads nowhere. */
static int look_at_file(struct onnx_external *x, const char *location)
{
	size_t n = strlen(location);
	char path[2 * PATH_MAX];
	struct stat st;

	if (strcmp(location, x->last) == 0)
		return 0;
	if (names_a_way_out(location))
		return leads_out(x, location, n);
	snprintf(path, sizeof path, "%s/%s", x->dir, location);
	x->last_errno = 0;
	if (stat(path, &st) < 0)
		x->last_errno = errno;
	else if (!is_inside(x, path) || !S_ISREG(st.st_mode))
		return leads_out(x, location, n);
	else
		x->last_size = st.st_size;
	memcpy(x->last, location, n + 1);
	return 0;
}

/* Each that is named is looked at, and not the one that counts: what a reader
 * makes of several, or of what says that none counts, is its own affair. */
static int read_location(struct onnx_external *x, struct onnx_bytes value,
			 struct entry *e)
{
	size_t n = value.p ? (size_t)(value.end - value.p) : 0;

	if (!n)
		return 0;
	if (n >= sizeof e->location || memchr(value.p, 0, n))
		return leads_out(x, (const char *)value.p, n);
	memcpy(e->location, value.p, n);
	e->location[n] = 0;
	return look_at_file(x, e->location);
}

static uint64_t number(struct onnx_bytes b)
{
	char text[24] = {0};
	size_t n = b.p ? (size_t)(b.end - b.p) : 0;

	if (n && n < sizeof text)
		memcpy(text, b.p, n);
	return strtoull(text, NULL, 10);
}

static bool is_word(struct onnx_bytes b, const char *word)
{
	size_t n = strlen(word);

	return b.p && (size_t)(b.end - b.p) == n && memcmp(b.p, word, n) == 0;
}

static int read_entry(struct onnx_external *x, struct onnx_bytes b,
		      struct entry *e)
{
	struct onnx_bytes key = {0}, value = {0};
	enum onnx_found found;
	struct onnx_field f;

	while ((found = onnx_next(&b, &f)) == ONNX_FOUND) {
		if (f.number == ENTRY_KEY && f.wire == ONNX_BYTES)
			key = f.data;
		if (f.number == ENTRY_VALUE && f.wire == ONNX_BYTES)
			value = f.data;
	}
	if (found != ONNX_END)
		return damaged(x);
	if (is_word(key, "location"))
		return read_location(x, value, e);
	if (is_word(key, "offset"))
		e->offset = number(value);
	else if (is_word(key, "length"))
		e->length = number(value);
	return 0;
}

static int check_size(struct onnx_external *x, const struct entry *e)
{
	uint64_t size = (uint64_t)x->last_size;
	char name[SHOWN_MAX + 1];

	shown(name, e->location, strlen(e->location));
	if (x->last_errno)
		return onnx_fail(x->error, SOMA_MISSING,
				 "the model '%s' has weights in '%s', which is "
				 "not beside it (%s); put the file there, "
				 "under that name",
				 x->path, name, strerror(x->last_errno));
	if (e->length > size || e->offset > size - e->length)
		return onnx_fail(x->error, SOMA_BAD_MODEL,
				 "the file '%s' with weights of the model '%s' "
				 "is cut short: it has %llu bytes, the model "
				 "wants %llu at %llu",
				 name, x->path, (unsigned long long)size,
				 (unsigned long long)e->length,
				 (unsigned long long)e->offset);
	return 0;
}

static int read_tensor(struct onnx_external *x, struct onnx_bytes b)
{
	enum onnx_found found = ONNX_END;
	static const struct entry none;
	struct entry e = none;
	bool external = false;
	struct onnx_field f;
	int rc = 0;

	while (!rc && (found = onnx_next(&b, &f)) == ONNX_FOUND) {
		if (f.number == TENSOR_EXTERNAL_DATA && f.wire == ONNX_BYTES)
			rc = read_entry(x, f.data, &e);
		if (f.number == TENSOR_DATA_LOCATION && f.wire == ONNX_VARINT)
			external |= (uint32_t)f.value == 1;
	}
	if (rc)
		return rc;
	if (found != ONNX_END)
		return damaged(x);
	if (!external || !e.location[0])
		return 0;
	x->found = true;
	return check_size(x, &e);
}

/* All of it is gone through: what stops here at a field that it does not know
 * would not see what ONNX Runtime finds behind it. */
static int walk(struct onnx_external *x, enum message in, struct onnx_bytes b,
		unsigned depth)
{
	enum onnx_found found = ONNX_END;
	struct onnx_field f;
	int rc = 0;

	if (in == TENSOR)
		return read_tensor(x, b);
	if (depth == DEPTH_MAX)
		return onnx_fail(x->error, SOMA_BAD_MODEL,
				 "the model '%s' has graphs in graphs too "
				 "deep to look at; export it without control "
				 "flow",
				 x->path);
	while (!rc && (found = onnx_next(&b, &f)) == ONNX_FOUND) {
		if (f.wire != ONNX_BYTES)
			continue;
		for (size_t i = 0; i < sizeof ways / sizeof *ways && !rc; i++)
			if (ways[i].in == in && ways[i].field == f.number)
				rc = walk(x, ways[i].has, f.data, depth + 1);
	}
	return rc || found == ONNX_END ? rc : damaged(x);
}

int onnx_external_check(struct onnx_external *x, struct onnx_bytes model)
{
	return walk(x, MODEL, model, 0);
}
