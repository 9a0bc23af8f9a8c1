/* engine-tiny.c: a whole engine in one file. It multiplies what it is given by
 * a factor: as little as a model can do, with everything that an engine has to
 * say about it.
 *
 *     cc -shared -fPIC -O2 -Iinclude -o tiny.so examples/engine-tiny.c
 *
 * and, in a folder with tiny.so, soma.yaml:
 *
 *     - name: tiny
 *       predictor: {type: engine, engine: tiny.so, engine_options: {factor: 3}}
 *
 * docs/engines.md goes on from here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "soma_engine.h"

/* What this engine can be told. Whoever writes another key in engine_options is
 * told so by Soma; whoever writes none gets the value given here, so that load
 * always finds one. */
static const struct soma_option_info options[] = {
	{"factor", "2", "what every element is multiplied by"},
	{NULL, NULL, NULL},
};

/* What it takes: a list of any length, called x. What it gives: one as long.
 * Requests that do not fit are refused before they come here; that the output
 * is as said here is up to run. */
static const struct soma_port inputs[] = {
	{.name = "x",
	 .dtype = SOMA_FLOAT32,
	 .rank = 1,
	 .shape = {-1},
	 .dim_names = {"n"}},
};
static const struct soma_port outputs[] = {
	{.name = "y",
	 .dtype = SOMA_FLOAT32,
	 .rank = 1,
	 .shape = {-1},
	 .dim_names = {"n"}},
};
static const struct soma_ports ports = {
	.inputs = inputs, .n_inputs = 1, .outputs = outputs, .n_outputs = 1};

/* A loaded model is whatever the engine likes. This one has its factor, and for
 * each slot an output: slots run at the same time, and what run gives must stay
 * until release. */
struct soma_model {
	float factor;
	struct soma_tensor *out;
};

static int load(const struct soma_params *params, struct soma_model **ret_model,
		struct soma_error *error)
{
	struct soma_model *m = calloc(1, sizeof *m);

	if (m)
		m->out = calloc(params->slots, sizeof *m->out);
	if (!m || !m->out) {
		free(m);
		snprintf(error->text, sizeof error->text,
			 "no memory for %u slots", params->slots);
		return SOMA_NO_MEMORY;
	}
	for (uint32_t i = 0; i < params->n_options; i++) {
		const struct soma_option *o = &params->options[i];
		char *end;

		if (strcmp(o->key, "factor") != 0)
			continue;
		m->factor = strtof(o->value, &end);
		if (end == o->value || *end) {
			/* On failure everything is still ours to free. */
			free(m->out);
			free(m);
			snprintf(error->text, sizeof error->text,
				 "factor: '%s' is not a number", o->value);
			return SOMA_BAD_OPTION;
		}
	}
	/* What params points to is gone after load; log, progress and host may
	 * be kept. */
	params->log(params->host, SOMA_LOG_INFO, "tiny is ready to multiply");
	*ret_model = m;
	return SOMA_OK;
}

static void unload(struct soma_model *m)
{
	free(m->out);
	free(m);
}

static const struct soma_ports *get_ports(const struct soma_model *m)
{
	(void)m; /* it is the same for every model here */
	return &ports;
}

/* One inference. The thread may be any, the slot is ours alone until release.
 */
static int run(struct soma_model *m, uint32_t slot,
	       const struct soma_request *in, struct soma_response *out,
	       struct soma_error *error)
{
	const struct soma_tensor *x = &in->inputs[0];
	struct soma_tensor *y = &m->out[slot];
	const float *from = x->data;
	/* One more: for none, malloc may return NULL. */
	float *to = malloc((x->count + 1) * sizeof *to);

	if (!to) {
		snprintf(error->text, sizeof error->text,
			 "no memory for %zu elements", x->count);
		return SOMA_NO_MEMORY;
	}
	for (size_t i = 0; i < x->count; i++)
		to[i] = from[i] * m->factor;
	*y = *x; /* the same dtype, shape and count */
	y->name = "y";
	y->data = to;
	out->outputs = y;
	out->n_outputs = 1;
	out->keep = to;
	return SOMA_OK;
}

/* The answer has been written: what run has made can go. */
static void release(struct soma_model *m, uint32_t slot,
		    struct soma_response *out)
{
	(void)m;
	(void)slot;
	free(out->keep);
}

/* The one symbol that Soma looks for. */
SOMA_ENGINE_EXPORT const struct soma_engine soma_engine = {
	.abi = SOMA_ENGINE_ABI,
	.size = sizeof(struct soma_engine),
	.name = "tiny",
	.version = "1",
	.options = options,
	.load = load,
	.unload = unload,
	.ports = get_ports,
	.run = run,
	.release = release,
};
