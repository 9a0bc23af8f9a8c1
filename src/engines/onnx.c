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

static void onnx_unload(struct soma_model *m)
{
	for (uint32_t i = 0; i < m->n_slots; i++)
		onnx_slot_fini(m, &m->slots[i]);
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
	/* Soma's replicas have it off by ORT_DISABLE_TELEMETRY, which builds
	 * from before its time do not know. */
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
		rc = onnx_slot_init(m, &m->slots[m->n_slots], error);
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
