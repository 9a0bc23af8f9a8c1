#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "onnx_parts.h"

#define SUFFIX "ExecutionProvider"

enum { PROVIDER_OPTIONS_MAX = 64, INTER_THREADS_MAX = 1024 };

/* Options of the family `prefix`, without it. */
struct family {
	const char *keys[PROVIDER_OPTIONS_MAX];
	const char *values[PROVIDER_OPTIONS_MAX];
	size_t n;
};

static struct family family_of(const struct soma_params *params,
			       const char *prefix)
{
	struct family f = {.n = 0};
	size_t n = strlen(prefix);

	for (uint32_t i = 0;
	     i < params->n_options && f.n < PROVIDER_OPTIONS_MAX; i++) {
		if (strncmp(params->options[i].key, prefix, n) != 0)
			continue;
		f.keys[f.n] = params->options[i].key + n;
		f.values[f.n++] = params->options[i].value;
	}
	return f;
}

static const char *option(const struct soma_params *params, const char *key)
{
	for (uint32_t i = 0; i < params->n_options; i++)
		if (strcmp(params->options[i].key, key) == 0)
			return params->options[i].value;
	return NULL;
}

/* ---- the execution provider ---- */

static bool is_provider(const char *name, const char *word)
{
	size_t n = strlen(word);

	return strncasecmp(name, word, n) == 0 && strcmp(name + n, SUFFIX) == 0;
}

/* "cpu, cuda" of the names that a library gives. */
static void list_providers(char *text, size_t size, char **names, int n)
{
	size_t at = 0;

	text[0] = 0;
	for (int i = 0; i < n && at < size; i++) {
		size_t len = strlen(names[i]);

		if (len > strlen(SUFFIX))
			len -= strlen(SUFFIX);
		at += (size_t)snprintf(text + at, size - at, "%s%.*s",
				       i ? ", " : "", (int)len, names[i]);
	}
	for (; *text; text++)
		if (*text >= 'A' && *text <= 'Z')
			*text = (char)(*text + 32);
}

/* The library's spelling of a word, into `name`. */
static int find_provider(const struct soma_model *m, const char *word,
			 char *name, size_t size, struct soma_error *error)
{
	const OrtApi *api = m->api;
	char **names, list[256];
	OrtStatus *status;
	bool found = false;
	int n, rc;

	rc = onnx_status(api, api->GetAvailableProviders(&names, &n),
			 SOMA_FAILED, "asking for execution providers", error);
	if (rc)
		return rc;
	for (int i = 0; i < n && !found; i++) {
		found = is_provider(names[i], word);
		if (found)
			snprintf(name, size, "%.*s", (int)strlen(word),
				 names[i]);
	}
	list_providers(list, sizeof list, names, n);
	status = api->ReleaseAvailableProviders(names, n);
	if (status)
		api->ReleaseStatus(status);
	if (found)
		return 0;
	return onnx_fail(error, SOMA_BAD_OPTION,
			 "predictor.execution_provider: ONNX Runtime %s at "
			 "'%s' has no '%s'; it has: %s. Take a build of ONNX "
			 "Runtime with it (onnxruntime-gpu has cuda and "
			 "tensorrt), and name its library with "
			 "predictor.onnxruntime",
			 m->library.version, m->library.path, word, list);
}

static OrtStatus *append_cuda(const OrtApi *api, OrtSessionOptions *o,
			      const struct family *f)
{
	OrtCUDAProviderOptionsV2 *cuda = NULL;
	OrtStatus *status = api->CreateCUDAProviderOptions(&cuda);

	if (!status)
		status = api->UpdateCUDAProviderOptions(cuda, f->keys,
							f->values, f->n);
	if (!status)
		status = api->SessionOptionsAppendExecutionProvider_CUDA_V2(
			o, cuda);
	if (cuda)
		api->ReleaseCUDAProviderOptions(cuda);
	return status;
}

static OrtStatus *append_tensorrt(const OrtApi *api, OrtSessionOptions *o,
				  const struct family *f)
{
	OrtTensorRTProviderOptionsV2 *trt = NULL;
	OrtStatus *status = api->CreateTensorRTProviderOptions(&trt);

	if (!status)
		status = api->UpdateTensorRTProviderOptions(trt, f->keys,
							    f->values, f->n);
	if (!status)
		status = api->SessionOptionsAppendExecutionProvider_TensorRT_V2(
			o, trt);
	if (trt)
		api->ReleaseTensorRTProviderOptions(trt);
	return status;
}

static int append_provider(const struct soma_model *m, OrtSessionOptions *o,
			   const struct soma_params *params,
			   struct soma_error *error)
{
	struct family f = family_of(params, "provider.");
	const char *word = params->device;
	OrtStatus *status;
	char name[64], what[128];
	int rc;

	if (strcasecmp(word, "cpu") == 0)
		return 0;
	rc = find_provider(m, word, name, sizeof name, error);
	if (rc)
		return rc;
	if (strcasecmp(word, "cuda") == 0)
		status = append_cuda(m->api, o, &f);
	else if (strcasecmp(word, "tensorrt") == 0)
		status = append_tensorrt(m->api, o, &f);
	else
		status = m->api->SessionOptionsAppendExecutionProvider(
			o, strcasecmp(word, "xnnpack") == 0 ? "XNNPACK" : name,
			f.keys, f.values, f.n);
	snprintf(what, sizeof what, "the execution provider '%s'", word);
	rc = onnx_status(m->api, status, SOMA_BAD_OPTION, what, error);
	/* The dynamic linker's words: the provider is a library of its own. */
	if (rc && strstr(error->text, "cannot open shared object file")) {
		size_t n = strlen(error->text);

		snprintf(error->text + n, sizeof error->text - n,
			 ". Install what it wants, or say where that is: "
			 "predictor.env: {LD_LIBRARY_PATH: FOLDER:FOLDER}");
	}
	return rc;
}

/* ---- the rest ---- */

static GraphOptimizationLevel level_of(const char *word)
{
	if (strcmp(word, "disabled") == 0)
		return ORT_DISABLE_ALL;
	if (strcmp(word, "basic") == 0)
		return ORT_ENABLE_BASIC;
	if (strcmp(word, "extended") == 0)
		return ORT_ENABLE_EXTENDED;
	return ORT_ENABLE_ALL;
}

/* Weights that lie in files of their own are mapped by ONNX Runtime, unless it
 * makes a packed copy of them: that would read and copy gigabytes before the
 * first answer. */
static int read_packing(const struct soma_params *params,
			const struct onnx_file *file, bool *ret,
			struct soma_error *error)
{
	const char *word = option(params, "prepack");

	/* YAML's own yes and no come as true and false. */
	if (!word || strcmp(word, "auto") == 0)
		*ret = !file->external;
	else if (strcmp(word, "yes") == 0 || strcmp(word, "true") == 0)
		*ret = true;
	else if (strcmp(word, "no") == 0 || strcmp(word, "false") == 0)
		*ret = false;
	else
		return onnx_fail(error, SOMA_BAD_OPTION,
				 "engine_options: prepack wants yes, no or "
				 "auto, not '%s'",
				 word);
	return 0;
}

static int read_inter_threads(const struct soma_params *params, int *ret,
			      struct soma_error *error)
{
	const char *text = option(params, "inter_op_threads");
	char *end = NULL;
	long n = text ? strtol(text, &end, 10) : 1;

	if (text && (end == text || *end || n < 1 || n > INTER_THREADS_MAX))
		return onnx_fail(error, SOMA_BAD_OPTION,
				 "engine_options: inter_op_threads wants a "
				 "whole number from 1 to %d, not '%s'",
				 INTER_THREADS_MAX, text);
	*ret = (int)n;
	return 0;
}

static int set(const OrtApi *api, OrtSessionOptions *o, const char *key,
	       const char *value, struct soma_error *error)
{
	char what[160];

	snprintf(what, sizeof what, "engine_options: %.100s", key);
	return onnx_status(api, api->AddSessionConfigEntry(o, key, value),
			   SOMA_BAD_OPTION, what, error);
}

static int configure(const struct soma_model *m, OrtSessionOptions *o,
		     const struct soma_params *params,
		     const struct onnx_file *file, struct soma_error *error)
{
	const OrtApi *api = m->api;
	int inter_threads = 1, rc;
	bool packs = true;

	rc = read_inter_threads(params, &inter_threads, error);
	if (!rc)
		rc = read_packing(params, file, &packs, error);
	if (rc)
		return rc;
	rc = onnx_status(api,
			 api->SetIntraOpNumThreads(o, (int)params->threads),
			 SOMA_BAD_OPTION, "predictor.intra_op_threads", error);
	if (!rc)
		rc = onnx_status(api,
				 api->SetInterOpNumThreads(o, inter_threads),
				 SOMA_BAD_OPTION,
				 "engine_options: inter_op_threads", error);
	if (!rc && inter_threads > 1)
		rc = onnx_status(api,
				 api->SetSessionExecutionMode(o, ORT_PARALLEL),
				 SOMA_FAILED, "the execution mode", error);
	if (!rc)
		rc = onnx_status(
			api,
			api->SetSessionGraphOptimizationLevel(
				o, level_of(params->graph_optimization)),
			SOMA_FAILED, "predictor.graph_optimization", error);
	/* A pool that spins burns the processor that the next request needs. */
	if (!rc)
		rc = set(api, o, "session.intra_op.allow_spinning", "0", error);
	if (!rc && !packs)
		rc = set(api, o, "session.disable_prepacking", "1", error);
	for (uint32_t i = 0; i < params->n_options && !rc; i++)
		if (strncmp(params->options[i].key, "session.", 8) == 0)
			rc = set(api, o, params->options[i].key,
				 params->options[i].value, error);
	return rc ? rc : append_provider(m, o, params, error);
}

int onnx_session_options(const struct soma_model *m,
			 const struct soma_params *params,
			 const struct onnx_file *file, OrtSessionOptions **ret,
			 struct soma_error *error)
{
	OrtSessionOptions *o;
	int rc = onnx_status(m->api, m->api->CreateSessionOptions(&o),
			     SOMA_FAILED, "session options", error);

	if (rc)
		return rc;
	rc = configure(m, o, params, file, error);
	if (rc)
		m->api->ReleaseSessionOptions(o);
	else
		*ret = o;
	return rc;
}
