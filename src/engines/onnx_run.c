/* Runs of a slot. Values of small tensors are kept from one to the next. */
#include <stdlib.h>
#include <string.h>

#include "onnx_parts.h"

enum {
	KEEP_BYTES = 64 << 10, /* of a tensor: more is not copied */
	ALIGN = 64,
};

static void forget(const OrtApi *api, struct onnx_kept *k)
{
	if (k->value)
		api->ReleaseValue(k->value);
	free(k->data);
	*k = (struct onnx_kept){0};
}

int onnx_slot_init(struct soma_model *m, struct onnx_slot *s,
		   struct soma_error *error)
{
	size_t in = m->ports.n_inputs + 1, out = m->ports.n_outputs;

	s->names = calloc(in, sizeof *s->names);
	s->in = calloc(in, sizeof *s->in);
	s->own_in = calloc(in, sizeof *s->own_in);
	s->kept_in = calloc(in, sizeof *s->kept_in);
	s->out = calloc(out, sizeof *s->out);
	s->own_out = calloc(out, sizeof *s->own_out);
	s->kept_out = calloc(out, sizeof *s->kept_out);
	s->tensors = calloc(out, sizeof *s->tensors);
	s->texts = calloc(out, sizeof *s->texts);
	if (!s->names || !s->in || !s->own_in || !s->kept_in || !s->out ||
	    !s->own_out || !s->kept_out || !s->tensors || !s->texts)
		return onnx_fail(error, SOMA_NO_MEMORY, "no memory");
	return onnx_status(m->api, m->api->CreateRunOptions(&s->options),
			   SOMA_FAILED, "run options", error);
}

void onnx_slot_fini(struct soma_model *m, struct onnx_slot *s)
{
	for (uint32_t i = 0; s->kept_in && i < m->ports.n_inputs; i++)
		forget(m->api, &s->kept_in[i]);
	for (uint32_t i = 0; s->kept_out && i < m->ports.n_outputs; i++)
		forget(m->api, &s->kept_out[i]);
	if (s->options)
		m->api->ReleaseRunOptions(s->options);
	free(s->names);
	free(s->in);
	free(s->own_in);
	free(s->kept_in);
	free(s->out);
	free(s->own_out);
	free(s->kept_out);
	free(s->tensors);
	free(s->texts);
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

static bool same_shape(const struct soma_tensor *a, const struct soma_tensor *b)
{
	return a->rank == b->rank &&
	       memcmp(a->shape, b->shape, a->rank * sizeof *a->shape) == 0;
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

static OrtStatus *make_numbers(const struct soma_model *m,
			       const struct soma_tensor *t, const void *data,
			       OrtValue **ret)
{
	return m->api->CreateTensorWithDataAsOrtValue(
		m->memory, (void *)(uintptr_t)data,
		t->count * size_of(t->dtype), t->shape, t->rank,
		onnx_type(t->dtype), ret);
}

/* A copy of small numbers, in the value of the last run if the shape is the
 * same. */
static OrtStatus *keep_input(const struct soma_model *m, struct onnx_kept *k,
			     const struct soma_tensor *t)
{
	size_t bytes = t->count * size_of(t->dtype);
	OrtStatus *status = NULL;

	if (!k->value || !same_shape(&k->tensor, t)) {
		forget(m->api, k);
		k->tensor = *t;
		k->data = aligned_alloc(ALIGN, (bytes / ALIGN + 1) * ALIGN);
		if (!k->data)
			return m->api->CreateStatus(ORT_FAIL, "no memory");
		status = make_numbers(m, t, k->data, &k->value);
	}
	if (!status)
		memcpy(k->data, t->data, bytes);
	return status;
}

/* Larger numbers are used where they lie. */
static OrtStatus *make_input(const struct soma_model *m, struct onnx_slot *s,
			     uint32_t port, const struct soma_tensor *t,
			     uint32_t at)
{
	OrtStatus *status;

	if (t->dtype != SOMA_STRING && t->count > 0 &&
	    t->count <= KEEP_BYTES / size_of(t->dtype)) {
		status = keep_input(m, &s->kept_in[port], t);
		s->in[at] = s->kept_in[port].value;
		return status;
	}
	forget(m->api, &s->kept_in[port]); /* of another shape than t */
	if (t->dtype == SOMA_STRING)
		status = make_strings(m, t, &s->own_in[at]);
	else
		status = make_numbers(m, t, t->data, &s->own_in[at]);
	s->in[at] = s->own_in[at];
	return status;
}

static OrtStatus *make_inputs(const struct soma_model *m, struct onnx_slot *s,
			      const struct soma_request *in)
{
	OrtStatus *status = NULL;
	uint32_t port = 0;

	for (uint32_t i = 0; i < in->n_inputs && !status; i++, port++) {
		const struct soma_tensor *t = &in->inputs[i];

		while (strcmp(m->inputs[port].name, t->name) != 0)
			port++;
		s->names[i] = m->inputs[port].name;
		status = make_input(m, s, port, t, i);
	}
	return status;
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
	void *data;

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
	status = api->GetTensorMutableData(v, &data);
	t->data = data;
	return status;
}

/* Whether the kept value of output i will be as this run's. */
static bool fits(const struct soma_model *m, const struct onnx_slot *s,
		 uint32_t i)
{
	const struct onnx_dim *dims = m->foretold[i];
	const struct soma_tensor *t = &s->kept_out[i].tensor;

	for (uint32_t d = 0; d < t->rank; d++) {
		int64_t size = dims[d].input < 0
				       ? dims[d].size
				       : s->kept_in[dims[d].input]
						 .tensor.shape[dims[d].dim];

		if (t->shape[d] != size)
			return false;
	}
	return true;
}

/* All inputs that sizes come from are among those that are kept. */
static bool can_foretell(const struct soma_model *m, const struct onnx_slot *s,
			 uint32_t i)
{
	const struct onnx_dim *dims = m->foretold[i];

	if (!dims || s->distrusts)
		return false;
	for (int32_t d = 0; d < m->outputs[i].rank; d++)
		if (dims[d].input >= 0 && !s->kept_in[dims[d].input].value)
			return false;
	return true;
}

/* Offers kept values to the run. Returns whether there was one. */
static bool offer_outputs(const struct soma_model *m, struct onnx_slot *s)
{
	bool any = false;

	for (uint32_t i = 0; i < m->ports.n_outputs; i++) {
		struct onnx_kept *k = &s->kept_out[i];

		s->out[i] = NULL;
		if (!k->value)
			continue;
		if (can_foretell(m, s, i) && fits(m, s, i)) {
			s->out[i] = k->value;
			any = true;
		} else {
			forget(m->api, k);
		}
	}
	return any;
}

static OrtStatus *read_outputs(const struct soma_model *m, struct onnx_slot *s)
{
	/* All before the first that may fail: own_out is what is released. */
	for (uint32_t i = 0; i < m->ports.n_outputs; i++)
		if (s->out[i] != s->kept_out[i].value)
			s->own_out[i] = s->out[i];
	for (uint32_t i = 0; i < m->ports.n_outputs; i++) {
		struct soma_tensor *t = &s->tensors[i];
		struct onnx_kept *k = &s->kept_out[i];
		OrtStatus *status;

		if (s->out[i] == k->value && k->value) {
			*t = k->tensor;
			continue;
		}
		t->name = m->output_names[i];
		status = read_output(m, s->out[i], t, &s->texts[i]);
		if (status)
			return status;
		k->tensor = *t;
		if (t->rank != (uint32_t)m->outputs[i].rank ||
		    t->count > KEEP_BYTES / size_of(t->dtype) ||
		    !can_foretell(m, s, i) || !fits(m, s, i))
			continue;
		k->value = s->own_out[i];
		s->own_out[i] = NULL;
	}
	return NULL;
}

/* ---- running ---- */

static void drop_inputs(const struct soma_model *m, struct onnx_slot *s,
			uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (s->own_in[i])
			m->api->ReleaseValue(s->own_in[i]);
		s->own_in[i] = NULL;
	}
}

static void drop_outputs(const struct soma_model *m, struct onnx_slot *s)
{
	for (uint32_t i = 0; i < m->ports.n_outputs; i++) {
		if (s->own_out[i])
			m->api->ReleaseValue(s->own_out[i]);
		s->own_out[i] = NULL;
		free(s->texts[i]);
		s->texts[i] = NULL;
	}
}

static OrtStatus *call(const struct soma_model *m, struct onnx_slot *s,
		       uint32_t n_inputs)
{
	return m->api->Run(m->session, s->options, s->names,
			   (const OrtValue *const *)s->in, n_inputs,
			   m->output_names, m->ports.n_outputs, s->out);
}

/* A model may break its word about names of dimensions: then the output that
 * was offered has another shape, the run fails, and is done again without. */
static OrtStatus *call_with_kept(const struct soma_model *m,
				 struct onnx_slot *s, uint32_t n_inputs)
{
	bool offered = offer_outputs(m, s);
	OrtStatus *status = call(m, s, n_inputs);

	if (!status || !offered || atomic_load(&s->canceled))
		return status;
	m->api->ReleaseStatus(status);
	for (uint32_t i = 0; i < m->ports.n_outputs; i++) {
		if (s->out[i] && s->out[i] != s->kept_out[i].value)
			m->api->ReleaseValue(s->out[i]);
		s->out[i] = NULL;
		forget(m->api, &s->kept_out[i]);
	}
	status = call(m, s, n_inputs);
	s->distrusts = !status;
	return status;
}

static int failed(const struct soma_model *m, struct onnx_slot *s,
		  OrtStatus *status, struct soma_error *error)
{
	int code = m->api->GetErrorCode(status) == ORT_INVALID_ARGUMENT
			   ? SOMA_BAD_INPUT
			   : SOMA_FAILED;

	if (atomic_load(&s->canceled))
		code = SOMA_CANCELED;
	return onnx_status(m->api, status, code, "ONNX Runtime", error);
}

int onnx_run(struct soma_model *m, uint32_t slot, const struct soma_request *in,
	     struct soma_response *out, struct soma_error *error)
{
	struct onnx_slot *s = &m->slots[slot];
	OrtStatus *status = NULL;

	/* Left from the run before. */
	if (atomic_exchange(&s->canceled, false))
		status = m->api->RunOptionsUnsetTerminate(s->options);
	if (!status)
		status = make_inputs(m, s, in);
	if (!status)
		status = call_with_kept(m, s, in->n_inputs);
	drop_inputs(m, s, in->n_inputs);
	if (!status)
		status = read_outputs(m, s);
	if (status) {
		drop_outputs(m, s);
		return failed(m, s, status, error);
	}
	out->outputs = s->tensors;
	out->n_outputs = m->ports.n_outputs;
	return 0;
}

void onnx_release(struct soma_model *m, uint32_t slot,
		  struct soma_response *out)
{
	(void)out;
	drop_outputs(m, &m->slots[slot]);
}

void onnx_cancel(struct soma_model *m, uint32_t slot)
{
	struct onnx_slot *s = &m->slots[slot];
	OrtStatus *status;

	atomic_store(&s->canceled, true);
	status = m->api->RunOptionsSetTerminate(s->options);
	if (status)
		m->api->ReleaseStatus(status);
}
