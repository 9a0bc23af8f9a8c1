#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnx_parts.h"

static const struct {
	ONNXTensorElementDataType type;
	enum soma_dtype dtype;
} types[] = {
	{ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL, SOMA_BOOL},
	{ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8, SOMA_INT8},
	{ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16, SOMA_INT16},
	{ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32, SOMA_INT32},
	{ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, SOMA_INT64},
	{ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, SOMA_UINT8},
	{ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16, SOMA_UINT16},
	{ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32, SOMA_UINT32},
	{ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64, SOMA_UINT64},
	{ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16, SOMA_FLOAT16},
	{ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16, SOMA_BFLOAT16},
	{ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, SOMA_FLOAT32},
	{ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE, SOMA_FLOAT64},
	{ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING, SOMA_STRING},
};

enum { N_TYPES = sizeof types / sizeof *types };

enum soma_dtype onnx_dtype(ONNXTensorElementDataType type)
{
	for (size_t i = 0; i < N_TYPES; i++)
		if (types[i].type == type)
			return types[i].dtype;
	return SOMA_ANY;
}

ONNXTensorElementDataType onnx_type(enum soma_dtype dtype)
{
	for (size_t i = 0; i < N_TYPES; i++)
		if (types[i].dtype == dtype)
			return types[i].type;
	return ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
}

/* The three lists that a session has. */
enum list { INPUTS, OVERRIDABLE, OUTPUTS };

static OrtStatus *get_count(const struct soma_model *m, enum list list,
			    size_t *ret)
{
	switch (list) {
	case INPUTS:
		return m->api->SessionGetInputCount(m->session, ret);
	case OVERRIDABLE:
		return m->api->SessionGetOverridableInitializerCount(m->session,
								     ret);
	default:
		return m->api->SessionGetOutputCount(m->session, ret);
	}
}

static OrtStatus *get_name(const struct soma_model *m, enum list list, size_t i,
			   char **ret)
{
	const OrtApi *api = m->api;

	switch (list) {
	case INPUTS:
		return api->SessionGetInputName(m->session, i, m->allocator,
						ret);
	case OVERRIDABLE:
		return api->SessionGetOverridableInitializerName(
			m->session, i, m->allocator, ret);
	default:
		return api->SessionGetOutputName(m->session, i, m->allocator,
						 ret);
	}
}

static OrtStatus *get_type(const struct soma_model *m, enum list list, size_t i,
			   OrtTypeInfo **ret)
{
	const OrtApi *api = m->api;

	switch (list) {
	case INPUTS:
		return api->SessionGetInputTypeInfo(m->session, i, ret);
	case OVERRIDABLE:
		return api->SessionGetOverridableInitializerTypeInfo(m->session,
								     i, ret);
	default:
		return api->SessionGetOutputTypeInfo(m->session, i, ret);
	}
}

/* ONNX Runtime tells a scalar and a tensor of any shape alike. */
static bool has_shape(const struct onnx_file *file, const char *name)
{
	for (size_t i = 0; i < file->n_inputs; i++)
		if (strcmp(file->inputs[i].name, name) == 0)
			return file->inputs[i].has_shape;
	return true;
}

static OrtStatus *read_shape(const OrtApi *api,
			     const OrtTensorTypeAndShapeInfo *tensor,
			     struct soma_port *port)
{
	const char *names[SOMA_RANK_MAX] = {0};
	ONNXTensorElementDataType type;
	OrtStatus *status;
	size_t rank;

	status = api->GetTensorElementType(tensor, &type);
	if (!status)
		status = api->GetDimensionsCount(tensor, &rank);
	if (status)
		return status;
	port->dtype = onnx_dtype(type);
	if (rank > SOMA_RANK_MAX) {
		port->dtype = SOMA_ANY;
		return NULL;
	}
	port->rank = (int32_t)rank;
	status = api->GetDimensions(tensor, port->shape, rank);
	if (!status)
		status = api->GetSymbolicDimensions(tensor, names, rank);
	/* Their text belongs to the type, which is about to go. */
	for (size_t i = 0; i < rank && !status; i++)
		if (port->shape[i] < 0 && names[i] && names[i][0])
			port->dim_names[i] = strdup(names[i]);
	return status;
}

/* dtype stays SOMA_ANY where it is no tensor that Soma knows. */
static OrtStatus *read_type(const struct soma_model *m, enum list list,
			    size_t i, struct soma_port *port)
{
	const OrtApi *api = m->api;
	const OrtTensorTypeAndShapeInfo *tensor = NULL;
	OrtTypeInfo *type;
	OrtStatus *status = get_type(m, list, i, &type);

	if (status)
		return status;
	status = api->CastTypeInfoToTensorInfo(type, &tensor);
	if (!status && tensor)
		status = read_shape(api, tensor, port);
	api->ReleaseTypeInfo(type);
	return status;
}

static int read_one(struct soma_model *m, enum list list, size_t i,
		    struct soma_port *port, struct soma_error *error)
{
	char *name;
	int rc;

	rc = onnx_status(m->api, get_name(m, list, i, &name), SOMA_FAILED,
			 "a name of the model", error);
	if (rc)
		return rc;
	port->name = strdup(name);
	m->allocator->Free(m->allocator, name);
	port->optional = list == OVERRIDABLE;
	return onnx_status(m->api, read_type(m, list, i, port), SOMA_FAILED,
			   port->name, error);
}

static void forget(struct soma_port *port)
{
	free((char *)(uintptr_t)port->name);
	for (size_t i = 0; i < SOMA_RANK_MAX; i++)
		free((char *)(uintptr_t)port->dim_names[i]);
	*port = (struct soma_port){0};
}

/* Adds those of a list to ports[*n...]. */
static int read_list(struct soma_model *m, enum list list,
		     struct soma_port *ports, uint32_t *n, size_t count,
		     const struct onnx_file *file, struct soma_error *error)
{
	for (size_t i = 0; i < count; i++) {
		struct soma_port *port = &ports[*n];
		char text[256];
		int rc = read_one(m, list, i, port, error);

		(*n)++;
		if (rc)
			return rc;
		if (port->rank == 0 && list != OUTPUTS &&
		    !has_shape(file, port->name))
			port->rank = -1;
		if (port->dtype != SOMA_ANY)
			continue;
		if (list == INPUTS)
			return onnx_fail(error, SOMA_BAD_MODEL,
					 "the model's input '%s' is no tensor "
					 "of numbers, booleans or strings: "
					 "export the model with such inputs",
					 port->name);
		snprintf(text, sizeof text,
			 "'%s' of the model is no tensor of numbers, booleans "
			 "or strings: it is left out (of a classifier of "
			 "scikit-learn: export it with zipmap=False)",
			 port->name);
		m->log(m->host, SOMA_LOG_WARNING, text);
		forget(port);
		(*n)--;
	}
	return 0;
}

/* Whether an input that is always there has a dimension of this name. */
static bool find_dim(const struct soma_model *m, const char *name,
		     struct onnx_dim *ret)
{
	for (uint32_t i = 0; name && i < m->ports.n_inputs; i++) {
		const struct soma_port *in = &m->inputs[i];

		if (in->optional)
			continue;
		for (int32_t d = 0; d < in->rank; d++) {
			if (!in->dim_names[d] ||
			    strcmp(in->dim_names[d], name) != 0)
				continue;
			ret->input = (int32_t)i;
			ret->dim = (uint32_t)d;
			return true;
		}
	}
	return false;
}

/* Which outputs have sizes that are known before a run. */
static void foretell(struct soma_model *m)
{
	for (uint32_t i = 0; i < m->ports.n_outputs; i++) {
		const struct soma_port *out = &m->outputs[i];
		struct onnx_dim *dims;
		bool known = out->rank > 0 && out->dtype != SOMA_STRING;

		dims = calloc(SOMA_RANK_MAX, sizeof *dims);
		for (int32_t d = 0; dims && d < out->rank && known; d++) {
			dims[d].input = -1;
			dims[d].size = out->shape[d];
			if (out->shape[d] < 0)
				known = find_dim(m, out->dim_names[d],
						 &dims[d]);
		}
		if (known)
			m->foretold[i] = dims;
		else
			free(dims);
	}
}

int onnx_ports_read(struct soma_model *m, const struct onnx_file *file,
		    struct soma_error *error)
{
	const OrtApi *api = m->api;
	size_t in, more, out;
	int rc;

	rc = onnx_status(api, get_count(m, INPUTS, &in), SOMA_FAILED, "inputs",
			 error);
	if (!rc)
		rc = onnx_status(api, get_count(m, OVERRIDABLE, &more),
				 SOMA_FAILED, "inputs", error);
	if (!rc)
		rc = onnx_status(api, get_count(m, OUTPUTS, &out), SOMA_FAILED,
				 "outputs", error);
	if (rc)
		return rc;
	m->inputs = calloc(in + more + 1, sizeof *m->inputs);
	m->outputs = calloc(out + 1, sizeof *m->outputs);
	m->output_names = calloc(out + 1, sizeof *m->output_names);
	m->foretold = calloc(out + 1, sizeof *m->foretold);
	if (!m->inputs || !m->outputs || !m->output_names || !m->foretold)
		return onnx_fail(error, SOMA_NO_MEMORY, "no memory");
	m->ports.inputs = m->inputs;
	m->ports.outputs = m->outputs;
	rc = read_list(m, INPUTS, m->inputs, &m->ports.n_inputs, in, file,
		       error);
	if (!rc)
		rc = read_list(m, OVERRIDABLE, m->inputs, &m->ports.n_inputs,
			       more, file, error);
	if (!rc)
		rc = read_list(m, OUTPUTS, m->outputs, &m->ports.n_outputs, out,
			       file, error);
	if (!rc && m->ports.n_outputs == 0)
		rc = onnx_fail(error, SOMA_BAD_MODEL,
			       "the model has no output that is a tensor of "
			       "numbers, booleans or strings");
	for (uint32_t i = 0; i < m->ports.n_outputs; i++)
		m->output_names[i] = m->outputs[i].name;
	if (!rc)
		foretell(m);
	return rc;
}

void onnx_ports_free(struct soma_model *m)
{
	for (uint32_t i = 0; i < m->ports.n_inputs; i++)
		forget(&m->inputs[i]);
	for (uint32_t i = 0; i < m->ports.n_outputs; i++) {
		forget(&m->outputs[i]);
		if (m->foretold)
			free(m->foretold[i]);
	}
	free(m->inputs);
	free(m->outputs);
	free(m->output_names);
	free(m->foretold);
}
