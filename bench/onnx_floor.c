/* The floor of a native model: ONNX Runtime's C API in a bare loop, without
 * HTTP, JSON or anyone to answer.
 *
 *   onnx_floor LIBRARY MODEL INPUTS SECONDS
 *
 * INPUTS is a file: for each input a line "name type bytes dimension...", then
 * its bytes; types are numbers of the C API. Each run makes its tensors anew
 * over these bytes and reads the first output, as one must for each request.
 * Prints one line of JSON. */
#include <dlfcn.h>
#include <onnxruntime_c_api.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { INPUTS_MAX = 8, RANK_MAX = 8, OUTPUTS_MAX = 8 };

struct input {
	char name[64];
	int type;
	size_t bytes, rank;
	int64_t shape[RANK_MAX];
	void *data;
};

static const OrtApi *ort;

static void die(const char *what)
{
	fprintf(stderr, "onnx_floor: %s\n", what);
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
		in->data = malloc(in->bytes);
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

static double seconds(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
	struct input inputs[INPUTS_MAX] = {0};
	const char *in_names[INPUTS_MAX], *out_names[OUTPUTS_MAX];
	OrtValue *in[INPUTS_MAX], *out[OUTPUTS_MAX];
	double begin, cpu, length;
	OrtAllocator *allocator;
	OrtMemoryInfo *memory;
	OrtSession *session;
	size_t n_in, n_out;
	float first = 0;
	long runs = 0;

	if (argc != 5)
		die("usage: onnx_floor LIBRARY MODEL INPUTS SECONDS");
	ort = open_library(argv[1]);
	if (!ort)
		die("the library is older than its header");
	session = open_session(argv[2]);
	n_in = read_inputs(argv[3], inputs);
	length = atof(argv[4]);
	check(ort->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault,
				       &memory));
	check(ort->GetAllocatorWithDefaultOptions(&allocator));
	check(ort->SessionGetOutputCount(session, &n_out));
	if (n_out > OUTPUTS_MAX)
		die("the model has too many outputs");
	for (size_t i = 0; i < n_out; i++)
		check(ort->SessionGetOutputName(session, i, allocator,
						(char **)&out_names[i]));

	begin = seconds(CLOCK_MONOTONIC);
	cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
	while (seconds(CLOCK_MONOTONIC) - begin < length) {
		float *value;

		for (size_t i = 0; i < n_in; i++) {
			in_names[i] = inputs[i].name;
			check(ort->CreateTensorWithDataAsOrtValue(
				memory, inputs[i].data, inputs[i].bytes,
				inputs[i].shape, inputs[i].rank,
				(ONNXTensorElementDataType)inputs[i].type,
				&in[i]));
		}
		memset(out, 0, sizeof out);
		check(ort->Run(session, NULL, in_names,
			       (const OrtValue *const *)in, n_in, out_names,
			       n_out, out));
		check(ort->GetTensorMutableData(out[0], (void **)&value));
		first = value[0];
		for (size_t i = 0; i < n_in; i++)
			ort->ReleaseValue(in[i]);
		for (size_t i = 0; i < n_out; i++)
			ort->ReleaseValue(out[i]);
		runs++;
	}
	cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	begin = seconds(CLOCK_MONOTONIC) - begin;
	printf("{\"requests\":%ld,\"cpu_us\":%.3f,\"rps\":%.1f,\"first\":%.9g}"
	       "\n",
	       runs, cpu * 1e6 / (double)runs, (double)runs / begin,
	       (double)first);
	return 0;
}
