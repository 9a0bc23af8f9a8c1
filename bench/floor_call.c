#include "floor_call.h"

#include <dlfcn.h>
#include <onnxruntime_c_api.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <yyjson.h>

enum {
	INPUTS_MAX = 8,
	RANK_MAX = 8,
	OUTPUTS_MAX = 8,
	JSON_MEMORY = 1 << 20,
};

struct input {
	char name[64];
	int type;
	size_t bytes, rank; /* of one row */
	int64_t shape[RANK_MAX];
	void *data; /* CALL_ROWS_MAX rows */
};

struct call {
	struct input inputs[INPUTS_MAX];
	const char *in_names[INPUTS_MAX], *out_names[OUTPUTS_MAX];
	OrtMemoryInfo *memory;
	OrtSession *session;
	size_t n_in, n_out;
	OrtValue *told[OUTPUTS_MAX]; /* of call_rows() */
	size_t rows;
};

static const OrtApi *ort;

static void die(const char *what)
{
	fprintf(stderr, "floor: %s\n", what);
	exit(1);
}

static void check(OrtStatus *status)
{
	if (status)
		die(ort->GetErrorMessage(status));
}

static size_t read_inputs(const char *path, struct input *inputs)
{
	FILE *f = fopen(path, "rb");
	char line[256];
	size_t n = 0;

	if (!f)
		die("cannot open INPUTS");
	for (; n < INPUTS_MAX && fgets(line, sizeof line, f); n++) {
		struct input *in = &inputs[n];
		int at = 0, more;
		long long dim;

		if (sscanf(line, "%63s %d %zu%n", in->name, &in->type,
			   &in->bytes, &at) != 3)
			die("a line of INPUTS is not understood");
		while (in->rank < RANK_MAX &&
		       sscanf(line + at, "%lld%n", &dim, &more) == 1) {
			in->shape[in->rank++] = dim;
			at += more;
		}
		in->data = malloc(CALL_ROWS_MAX * in->bytes);
		if (!in->data || fread(in->data, 1, in->bytes, f) != in->bytes)
			die("INPUTS is cut short");
	}
	fclose(f);
	return n;
}

static const OrtApi *open_library(const char *path)
{
	void *library = dlopen(path, RTLD_NOW);
	const OrtApiBase *(*base)(void);

	if (!library)
		die(dlerror());
	*(void **)&base = dlsym(library, "OrtGetApiBase");
	if (!base)
		die("the library has no OrtGetApiBase");
	return base()->GetApi(ORT_API_VERSION);
}

static OrtSession *open_session(const char *model)
{
	OrtSessionOptions *options;
	OrtSession *session;
	OrtEnv *env;

	check(ort->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "floor", &env));
	check(ort->CreateSessionOptions(&options));
	check(ort->SetIntraOpNumThreads(options, 1));
	check(ort->SetSessionGraphOptimizationLevel(options, ORT_ENABLE_ALL));
	check(ort->CreateSession(env, model, options, &session));
	return session;
}

struct call *call_open(const char *library, const char *model,
		       const char *inputs)
{
	struct call *c = calloc(1, sizeof *c);
	OrtAllocator *allocator;

	if (!c)
		die("memory");
	if (!ort)
		ort = open_library(library);
	if (!ort)
		die("the library is older than its header");
	c->session = open_session(model);
	c->n_in = read_inputs(inputs, c->inputs);
	check(ort->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault,
				       &c->memory));
	check(ort->GetAllocatorWithDefaultOptions(&allocator));
	check(ort->SessionGetOutputCount(c->session, &c->n_out));
	if (c->n_out > OUTPUTS_MAX)
		die("the model has too many outputs");
	for (size_t i = 0; i < c->n_in; i++)
		c->in_names[i] = c->inputs[i].name;
	for (size_t i = 0; i < c->n_out; i++)
		check(ort->SessionGetOutputName(c->session, i, allocator,
						(char **)&c->out_names[i]));
	return c;
}

/* The outputs are the caller's. */
static void run(struct call *c, size_t rows, OrtValue **out)
{
	OrtValue *in[INPUTS_MAX];

	for (size_t i = 0; i < c->n_in; i++) {
		struct input *from = &c->inputs[i];
		int64_t shape[RANK_MAX];

		memcpy(shape, from->shape, sizeof shape);
		shape[0] *= (int64_t)rows;
		check(ort->CreateTensorWithDataAsOrtValue(
			c->memory, from->data, rows * from->bytes, shape,
			from->rank, (ONNXTensorElementDataType)from->type,
			&in[i]));
	}
	check(ort->Run(c->session, NULL, c->in_names,
		       (const OrtValue *const *)in, c->n_in, c->out_names,
		       c->n_out, out));
	for (size_t i = 0; i < c->n_in; i++)
		ort->ReleaseValue(in[i]);
}

float call_once(struct call *c)
{
	OrtValue *out[OUTPUTS_MAX] = {0};
	float *value, first;

	run(c, 1, out);
	check(ort->GetTensorMutableData(out[0], (void **)&value));
	first = value[0];
	for (size_t i = 0; i < c->n_out; i++)
		ort->ReleaseValue(out[i]);
	return first;
}

/* --- JSON -------------------------------------------------------------------
 */

/* Numbers of any depth, one behind the other, up to `end` bytes of data. */
static bool flatten(yyjson_val *v, struct input *in, size_t end, size_t *at)
{
	size_t i, max;
	yyjson_val *item;

	if (yyjson_is_arr(v)) {
		yyjson_arr_foreach(
			v, i, max,
			item) if (!flatten(item, in, end, at)) return false;
		return true;
	}
	if (!yyjson_is_num(v))
		return false;
	switch ((ONNXTensorElementDataType)in->type) {
	case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT:
		if ((*at + 1) * sizeof(float) > end)
			return false;
		((float *)in->data)[(*at)++] = (float)yyjson_get_num(v);
		return true;
	case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32:
		if ((*at + 1) * sizeof(int32_t) > end)
			return false;
		((int32_t *)in->data)[(*at)++] = (int32_t)yyjson_get_sint(v);
		return true;
	case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64:
		if ((*at + 1) * sizeof(int64_t) > end)
			return false;
		((int64_t *)in->data)[(*at)++] = yyjson_get_sint(v);
		return true;
	default:
		die("a type of INPUTS that is not read from JSON");
	}
	return false;
}

static size_t size_of(int type)
{
	return type == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64 ? 8 : 4;
}

static bool read_json(struct call *c, size_t row, yyjson_val *root)
{
	size_t i, max;
	yyjson_val *key, *value;

	yyjson_obj_foreach(root, i, max, key, value)
	{
		struct input *in = c->inputs;
		size_t at, end;

		while (in < c->inputs + c->n_in &&
		       !yyjson_equals_str(key, in->name))
			in++;
		if (in == c->inputs + c->n_in)
			return false;
		end = (row + 1) * in->bytes;
		at = row * in->bytes / size_of(in->type);
		if (!flatten(value, in, end, &at))
			return false;
	}
	return true;
}

/* Outputs are of float32, as those of the bench's models are. */
static void write_json(struct call *c, size_t row, yyjson_mut_doc *doc)
{
	yyjson_mut_val *root = yyjson_mut_obj(doc);

	yyjson_mut_doc_set_root(doc, root);
	for (size_t i = 0; i < c->n_out; i++) {
		OrtTensorTypeAndShapeInfo *info;
		size_t n;
		float *value;

		check(ort->GetTensorTypeAndShape(c->told[i], &info));
		check(ort->GetTensorShapeElementCount(info, &n));
		ort->ReleaseTensorTypeAndShapeInfo(info);
		check(ort->GetTensorMutableData(c->told[i], (void **)&value));
		n /= c->rows;
		yyjson_mut_obj_add_val(
			doc, root, c->out_names[i],
			yyjson_mut_arr_with_float(doc, value + row * n, n));
	}
}

bool call_put(struct call *c, size_t row, const char *body, size_t n)
{
	static char memory[JSON_MEMORY];
	yyjson_alc alc;
	yyjson_doc *doc;

	yyjson_alc_pool_init(&alc, memory, sizeof memory);
	doc = yyjson_read_opts((char *)(uintptr_t)body, n, 0, &alc, NULL);
	return doc && read_json(c, row, yyjson_doc_get_root(doc));
}

void call_rows(struct call *c, size_t rows)
{
	for (size_t i = 0; i < c->n_out; i++)
		if (c->told[i])
			ort->ReleaseValue(c->told[i]);
	memset(c->told, 0, sizeof c->told);
	c->rows = rows;
	run(c, rows, c->told);
}

const char *call_told(struct call *c, size_t row, size_t *ret_n)
{
	static char memory[JSON_MEMORY];
	yyjson_alc alc;
	yyjson_mut_doc *doc;

	yyjson_alc_pool_init(&alc, memory, sizeof memory);
	doc = yyjson_mut_doc_new(&alc);
	write_json(c, row, doc);
	return yyjson_mut_write_opts(doc, 0, &alc, ret_n, NULL);
}

/* --- in a loop --------------------------------------------------------------
 */

static double now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void call_loop(struct call *c, double seconds)
{
	double begin = now(CLOCK_MONOTONIC),
	       cpu = now(CLOCK_PROCESS_CPUTIME_ID);
	double first = 0;
	long runs = 0;

	while (now(CLOCK_MONOTONIC) - begin < seconds) {
		first = (double)call_once(c);
		runs++;
	}
	cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	begin = now(CLOCK_MONOTONIC) - begin;
	printf("{\"requests\":%ld,\"cpu_us\":%.3f,\"rps\":%.1f,\"first\":%.9g}"
	       "\n",
	       runs, cpu * 1e6 / (double)runs, (double)runs / begin, first);
}
