/* onnx: models in ONNX's format, by ONNX Runtime, which is opened when a model
 * is loaded: nothing of it is linked. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnx_parts.h"

static const struct soma_option_info options[] = {
	{"session.", NULL,
	 "a session configuration entry of ONNX Runtime, such as "
	 "session.intra_op.allow_spinning"},
	{"provider.", NULL,
	 "an option of the execution provider, such as provider.device_id"},
	{"inter_op_threads", "1",
	 "more than one runs independent parts of the graph side by side"},
	{"prepack", "auto",
	 "whether weights are copied into the layout that is fastest: yes, no, "
	 "or auto (not where they are in files of their own, which are mapped "
	 "then)"},
	{NULL, NULL, NULL},
};

int onnx_status(const OrtApi *api, OrtStatus *status, int code,
		const char *what, struct soma_error *error)
{
	if (!status)
		return 0;
	onnx_fail(error, code, "%s: %s", what, api->GetErrorMessage(status));
	api->ReleaseStatus(status);
	return code;
}

/* ---- loading ---- */

static void ORT_API_CALL on_log(void *data, OrtLoggingLevel severity,
				const char *category, const char *id,
				const char *place, const char *text)
{
	struct soma_model *m = data;
	enum soma_log_level level =
		severity >= ORT_LOGGING_LEVEL_ERROR	? SOMA_LOG_ERROR
		: severity == ORT_LOGGING_LEVEL_WARNING ? SOMA_LOG_WARNING
		: severity == ORT_LOGGING_LEVEL_INFO	? SOMA_LOG_INFO
							: SOMA_LOG_DEBUG;
	char line[2048];

	(void)category;
	(void)id;
	(void)place;
	snprintf(line, sizeof line, "onnxruntime: %s", text);
	m->log(m->host, level, line);
}

static void slot_fini(struct soma_model *m, struct onnx_slot *s)
{
	if (s->options)
		m->api->ReleaseRunOptions(s->options);
	free(s->names);
	free(s->in);
	free(s->out);
	free(s->tensors);
	free(s->texts);
}

static int slot_init(struct soma_model *m, struct onnx_slot *s,
		     struct soma_error *error)
{
	size_t in = m->ports.n_inputs + 1, out = m->ports.n_outputs;

	s->names = calloc(in, sizeof *s->names);
	s->in = calloc(in, sizeof *s->in);
	s->out = calloc(out, sizeof *s->out);
	s->tensors = calloc(out, sizeof *s->tensors);
	s->texts = calloc(out, sizeof *s->texts);
	if (!s->names || !s->in || !s->out || !s->tensors || !s->texts)
		return onnx_fail(error, SOMA_NO_MEMORY, "no memory");
	return onnx_status(m->api, m->api->CreateRunOptions(&s->options),
			   SOMA_FAILED, "run options", error);
}

static void onnx_unload(struct soma_model *m)
{
	for (uint32_t i = 0; i < m->n_slots; i++)
		slot_fini(m, &m->slots[i]);
	free(m->slots);
	onnx_ports_free(m);
	if (m->memory)
		m->api->ReleaseMemoryInfo(m->memory);
	if (m->session)
		m->api->ReleaseSession(m->session);
	if (m->env)
		m->api->ReleaseEnv(m->env);
	free(m);
}

/* What to do about ONNX Runtime's refusal of a model. */
static const char *remedy(const char *why)
{
	if (strstr(why, "opset") || strstr(why, "Opset") ||
	    strstr(why, "IR version"))
		return ". Take a newer ONNX Runtime, or export the model for "
		       "an older opset";
	if (strstr(why, "is not a registered function/op"))
		return ". The model uses an operator that this ONNX Runtime "
		       "does not have";
	return "";
}

static int open_session(struct soma_model *m, const struct soma_params *params,
			const struct onnx_file *file, struct soma_error *error)
{
	const OrtApi *api = m->api;
	OrtSessionOptions *o = NULL;
	OrtStatus *status;
	int rc;

	rc = onnx_session_options(m, params, file, &o, error);
	if (rc)
		return rc;
	status = api->CreateSession(m->env, params->model, o, &m->session);
	api->ReleaseSessionOptions(o);
	if (!status)
		return 0;
	m->session = NULL;
	rc = onnx_fail(error, SOMA_BAD_MODEL,
		       "ONNX Runtime %s does not take the model '%s': %.700s%s",
		       m->library.version, params->model,
		       api->GetErrorMessage(status),
		       remedy(api->GetErrorMessage(status)));
	api->ReleaseStatus(status);
	return rc;
}

static int open_model(struct soma_model *m, const struct soma_params *params,
		      const struct onnx_file *file, struct soma_error *error)
{
	const OrtApi *api = m->api;
	char text[1024];
	int rc;

	rc = onnx_status(
		api,
		api->CreateEnvWithCustomLogger(
			on_log, m, ORT_LOGGING_LEVEL_WARNING, "soma", &m->env),
		SOMA_FAILED, "ONNX Runtime", error);
	if (rc)
		return rc;
	/* Never in the builds that are around; a build that has it is told. */
	if (onnx_status(api, api->DisableTelemetryEvents(m->env), SOMA_FAILED,
			"telemetry", error))
		m->log(m->host, SOMA_LOG_WARNING, error->text);
	snprintf(text, sizeof text, "loading the model with ONNX Runtime %s",
		 m->library.version);
	params->progress(params->host, text);
	rc = open_session(m, params, file, error);
	if (!rc)
		rc = onnx_status(
			api, api->GetAllocatorWithDefaultOptions(&m->allocator),
			SOMA_FAILED, "the allocator", error);
	if (!rc)
		rc = onnx_status(api,
				 api->CreateCpuMemoryInfo(OrtDeviceAllocator,
							  OrtMemTypeDefault,
							  &m->memory),
				 SOMA_FAILED, "memory", error);
	if (!rc)
		rc = onnx_ports_read(m, file, error);
	for (; m->n_slots < params->slots && !rc; m->n_slots++)
		rc = slot_init(m, &m->slots[m->n_slots], error);
	return rc;
}

static int onnx_load(const struct soma_params *params,
		     struct soma_model **ret_model, struct soma_error *error)
{
	struct soma_model *m = calloc(1, sizeof *m);
	struct onnx_file file = {0};
	int rc;

	if (m)
		m->slots = calloc(params->slots, sizeof *m->slots);
	if (!m || !m->slots) {
		free(m);
		return onnx_fail(error, SOMA_NO_MEMORY, "no memory");
	}
	m->log = params->log;
	m->host = params->host;
	rc = onnx_file_look(&file, params->model, error);
	if (!rc)
		rc = onnx_library_open(&m->library, params, error);
	m->api = m->library.api;
	if (!rc)
		rc = open_model(m, params, &file, error);
	onnx_file_fini(&file);
	if (rc)
		onnx_unload(m);
	else
		*ret_model = m;
	return rc;
}

static const struct soma_ports *onnx_ports(const struct soma_model *m)
{
	return &m->ports;
}

/* ---- inputs ---- */

static OrtStatus *make_strings(const struct soma_model *m,
			       const struct soma_tensor *t, OrtValue **ret)
{
	const struct soma_string *s = t->data;
	const OrtApi *api = m->api;
	OrtStatus *status;

	status = api->CreateTensorAsOrtValue(
		m->allocator, t->shape, t->rank,
		ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING, ret);
	for (size_t i = 0; i < t->count && !status; i++) {
		char *to;

		status = api->GetResizedStringTensorElementBuffer(
			*ret, i, s[i].len, &to);
		if (!status)
			memcpy(to, s[i].data, s[i].len);
	}
	return status;
}

static size_t size_of(enum soma_dtype dtype)
{
	switch (dtype) {
	case SOMA_BOOL:
	case SOMA_INT8:
	case SOMA_UINT8:
		return 1;
	case SOMA_INT16:
	case SOMA_UINT16:
	case SOMA_FLOAT16:
	case SOMA_BFLOAT16:
		return 2;
	case SOMA_INT32:
	case SOMA_UINT32:
	case SOMA_FLOAT32:
		return 4;
	default:
		return 8;
	}
}

/* Numbers are used where they lie. */
static OrtStatus *make_input(const struct soma_model *m,
			     const struct soma_tensor *t, OrtValue **ret)
{
	if (t->dtype == SOMA_STRING)
		return make_strings(m, t, ret);
	return m->api->CreateTensorWithDataAsOrtValue(
		m->memory, (void *)(uintptr_t)t->data,
		t->count * size_of(t->dtype), t->shape, t->rank,
		onnx_type(t->dtype), ret);
}

/* ---- outputs ---- */

/* The texts of a string tensor: one piece of memory with the views and, behind
 * them, the bytes, each text with a NUL. */
static OrtStatus *read_strings(const struct soma_model *m, const OrtValue *v,
			       struct soma_tensor *t, void **ret)
{
	const OrtApi *api = m->api;
	struct soma_string *views;
	size_t bytes, *offsets;
	OrtStatus *status;
	char *packed, *to;

	status = api->GetStringTensorDataLength(v, &bytes);
	if (status)
		return status;
	*ret = views = malloc(t->count * sizeof *views + bytes + t->count + 1);
	offsets = malloc((t->count + 1) * sizeof *offsets);
	packed = malloc(bytes + 1);
	if (!views || !offsets || !packed) {
		status = api->CreateStatus(ORT_FAIL, "no memory for strings");
	} else {
		status = api->GetStringTensorContent(v, packed, bytes, offsets,
						     t->count);
		offsets[t->count] = bytes;
	}
	to = (char *)(views + t->count);
	for (size_t i = 0; i < t->count && !status; i++) {
		size_t n = offsets[i + 1] - offsets[i];

		views[i] = (struct soma_string){to, n};
		memcpy(to, packed + offsets[i], n);
		to[n] = 0;
		to += n + 1;
	}
	free(offsets);
	free(packed);
	t->data = views;
	return status;
}

static OrtStatus *read_output(const struct soma_model *m, OrtValue *v,
			      struct soma_tensor *t, void **ret_texts)
{
	const OrtApi *api = m->api;
	ONNXTensorElementDataType type;
	OrtTensorTypeAndShapeInfo *info;
	OrtStatus *status = api->GetTensorTypeAndShape(v, &info);
	size_t rank = 0;

	if (status)
		return status;
	status = api->GetTensorElementType(info, &type);
	if (!status)
		status = api->GetDimensionsCount(info, &rank);
	if (!status && rank > SOMA_RANK_MAX)
		status = api->CreateStatus(ORT_FAIL, "too many dimensions");
	if (!status)
		status = api->GetDimensions(info, t->shape, rank);
	api->ReleaseTensorTypeAndShapeInfo(info);
	if (status)
		return status;
	t->dtype = onnx_dtype(type);
	t->rank = (uint32_t)rank;
	t->count = 1;
	for (size_t i = 0; i < rank; i++)
		t->count *= (size_t)t->shape[i];
	if (t->dtype == SOMA_STRING)
		return read_strings(m, v, t, ret_texts);
	{
		void *data;

		status = api->GetTensorMutableData(v, &data);
		t->data = data;
	}
	return status;
}

/* ---- running ---- */

static void drop_outputs(const struct soma_model *m, struct onnx_slot *s)
{
	for (uint32_t i = 0; i < m->ports.n_outputs; i++) {
		if (s->out[i])
			m->api->ReleaseValue(s->out[i]);
		s->out[i] = NULL;
		free(s->texts[i]);
		s->texts[i] = NULL;
	}
}

static int run_failed(const struct soma_model *m, struct onnx_slot *s,
		      OrtStatus *status, struct soma_error *error)
{
	int code = m->api->GetErrorCode(status) == ORT_INVALID_ARGUMENT
			   ? SOMA_BAD_INPUT
			   : SOMA_FAILED;

	if (atomic_load(&s->canceled))
		code = SOMA_CANCELED;
	return onnx_status(m->api, status, code, "ONNX Runtime", error);
}

static int onnx_run(struct soma_model *m, uint32_t slot,
		    const struct soma_request *in, struct soma_response *out,
		    struct soma_error *error)
{
	struct onnx_slot *s = &m->slots[slot];
	const OrtApi *api = m->api;
	OrtStatus *status = NULL;
	uint32_t made = 0;

	/* Left from the run before. */
	if (atomic_exchange(&s->canceled, false))
		status = api->RunOptionsUnsetTerminate(s->options);
	for (; made < in->n_inputs && !status; made++) {
		s->names[made] = in->inputs[made].name;
		s->in[made] = NULL;
		status = make_input(m, &in->inputs[made], &s->in[made]);
	}
	if (!status)
		status = api->Run(m->session, s->options, s->names,
				  (const OrtValue *const *)s->in, in->n_inputs,
				  m->output_names, m->ports.n_outputs, s->out);
	while (made > 0)
		if (s->in[--made])
			api->ReleaseValue(s->in[made]);
	for (uint32_t i = 0; i < m->ports.n_outputs && !status; i++) {
		s->tensors[i].name = m->output_names[i];
		status =
			read_output(m, s->out[i], &s->tensors[i], &s->texts[i]);
	}
	if (status) {
		drop_outputs(m, s);
		return run_failed(m, s, status, error);
	}
	out->outputs = s->tensors;
	out->n_outputs = m->ports.n_outputs;
	return 0;
}

static void onnx_release(struct soma_model *m, uint32_t slot,
			 struct soma_response *out)
{
	(void)out;
	drop_outputs(m, &m->slots[slot]);
}

static void onnx_cancel(struct soma_model *m, uint32_t slot)
{
	struct onnx_slot *s = &m->slots[slot];
	OrtStatus *status;

	atomic_store(&s->canceled, true);
	status = m->api->RunOptionsSetTerminate(s->options);
	if (status)
		m->api->ReleaseStatus(status);
}

SOMA_ENGINE_EXPORT const struct soma_engine soma_engine = {
	.abi = SOMA_ENGINE_ABI,
	.size = sizeof(struct soma_engine),
	.name = "onnx",
	.version = SOMA_VERSION,
	.options = options,
	.wants_model = 1,
	.load = onnx_load,
	.unload = onnx_unload,
	.ports = onnx_ports,
	.run = onnx_run,
	.release = onnx_release,
	.cancel = onnx_cancel,
};
