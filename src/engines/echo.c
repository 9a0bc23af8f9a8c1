/* echo: an engine that gives back what it gets. It measures what everything but
 * the model costs, and stands for a model in tests. */
#include <ctype.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "soma_engine.h"

enum { PORTS_MAX = 64 };

static const struct soma_option_info options[] = {
	{"inputs", NULL,
	 "what it takes, as \"x:float32[-1,3] flag?:bool\"; a ? marks what may "
	 "be left out. Without it any inputs are taken"},
	{"delay_ms", "0", "how long each run waits before it answers"},
	{"load_ms", "0", "how long loading waits"},
	{"deaf", "0", "1: a run waits to its end even if it is cancelled"},
	{NULL, NULL, NULL},
};

struct slot {
	pthread_mutex_t lock;
	pthread_cond_t told;
	bool canceled;
};

struct soma_model {
	struct soma_ports ports;
	struct soma_port port[PORTS_MAX];
	char *names; /* owned: what port[].name points into */
	long delay_ms;
	bool deaf;
	uint32_t n_slots;
	struct slot *slots; /* owned */
};

static int fail(struct soma_error *error, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int fail(struct soma_error *error, int code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(error->text, sizeof error->text, fmt, args);
	va_end(args);
	return code;
}

/* ---- options ---- */

static enum soma_dtype dtype_of(const char *word, size_t n)
{
	static const char *const names[] = {
		"any",	   "bool",     "int8",	  "int16",   "int32",
		"int64",   "uint8",    "uint16",  "uint32",  "uint64",
		"float16", "bfloat16", "float32", "float64", "string"};

	for (size_t i = 1; i < sizeof names / sizeof *names; i++)
		if (strlen(names[i]) == n && memcmp(names[i], word, n) == 0)
			return (enum soma_dtype)i;
	return SOMA_ANY;
}

/* "[-1,3]" or nothing; returns what is behind, or NULL. */
static char *parse_shape(char *at, struct soma_port *port)
{
	if (*at != '[')
		return at;
	do {
		char *end;
		long long size = strtoll(++at, &end, 10);

		if (end == at || size < -1 || port->rank == SOMA_RANK_MAX)
			return NULL;
		port->shape[port->rank++] = size;
		at = end;
	} while (*at == ',');
	return *at == ']' ? at + 1 : NULL;
}

/* "x:float32[-1,3]" or "x?:int64"; spoils the text. Returns what is behind it,
 * or NULL. */
static char *parse_port(char *at, struct soma_port *port)
{
	char *colon = strchr(at, ':');
	size_t n;

	if (!colon || colon == at)
		return NULL;
	*port = (struct soma_port){.name = at};
	port->optional = colon[-1] == '?';
	colon[port->optional ? -1 : 0] = 0;
	at = colon + 1;
	n = strcspn(at, "[ ");
	port->dtype = dtype_of(at, n);
	if (port->dtype == SOMA_ANY)
		return NULL;
	return parse_shape(at + n, port);
}

static int parse_inputs(struct soma_model *m, const char *text,
			struct soma_error *error)
{
	uint32_t n = 0;
	char *at;

	m->names = strdup(text);
	for (at = m->names; at; n++) {
		while (isspace((unsigned char)*at))
			*at++ = 0;
		if (!*at)
			break;
		if (n == PORTS_MAX)
			return fail(error, SOMA_BAD_OPTION,
				    "inputs: more than %d", PORTS_MAX);
		at = parse_port(at, &m->port[n]);
	}
	if (!at)
		return fail(error, SOMA_BAD_OPTION,
			    "inputs: '%s' is not like \"x:float32[-1,3] "
			    "flag?:bool\"",
			    text);
	m->ports.open = 0;
	m->ports.inputs = m->ports.outputs = m->port;
	m->ports.n_inputs = m->ports.n_outputs = n;
	return 0;
}

static int parse_number(const struct soma_option *o, long *ret,
			struct soma_error *error)
{
	char *end;

	*ret = strtol(o->value, &end, 10);
	if (end == o->value || *end || *ret < 0)
		return fail(error, SOMA_BAD_OPTION,
			    "%s: '%s' is not a whole number", o->key, o->value);
	return 0;
}

/* ---- waiting ---- */

static void wait_ms(struct slot *s, long ms, bool deaf)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += ms % 1000 * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	pthread_mutex_lock(&s->lock);
	while ((deaf || !s->canceled) &&
	       pthread_cond_timedwait(&s->told, &s->lock, &until) == 0)
		;
	pthread_mutex_unlock(&s->lock);
}

/* ---- the engine ---- */

static void echo_unload(struct soma_model *m)
{
	for (uint32_t i = 0; i < m->n_slots; i++) {
		pthread_cond_destroy(&m->slots[i].told);
		pthread_mutex_destroy(&m->slots[i].lock);
	}
	free(m->slots);
	free(m->names);
	free(m);
}

static int echo_load(const struct soma_params *params,
		     struct soma_model **ret_model, struct soma_error *error)
{
	struct soma_model *m = calloc(1, sizeof *m);
	long load_ms = 0, deaf = 0;
	int rc = 0;

	if (m)
		m->slots = calloc(params->slots, sizeof *m->slots);
	if (!m || !m->slots) {
		free(m);
		return fail(error, SOMA_NO_MEMORY, "no memory");
	}
	m->ports.open = 1;
	for (; m->n_slots < params->slots; m->n_slots++) {
		pthread_mutex_init(&m->slots[m->n_slots].lock, NULL);
		pthread_cond_init(&m->slots[m->n_slots].told, NULL);
	}
	for (uint32_t i = 0; i < params->n_options && !rc; i++) {
		const struct soma_option *o = &params->options[i];

		if (strcmp(o->key, "inputs") == 0)
			rc = parse_inputs(m, o->value, error);
		else if (strcmp(o->key, "delay_ms") == 0)
			rc = parse_number(o, &m->delay_ms, error);
		else if (strcmp(o->key, "load_ms") == 0)
			rc = parse_number(o, &load_ms, error);
		else if (strcmp(o->key, "deaf") == 0)
			rc = parse_number(o, &deaf, error);
	}
	if (rc) {
		echo_unload(m);
		return rc;
	}
	m->deaf = deaf != 0;
	if (load_ms) {
		params->progress(params->host, "echo waits before it is ready");
		wait_ms(&m->slots[0], load_ms, true);
	}
	*ret_model = m;
	return 0;
}

static const struct soma_ports *echo_ports(const struct soma_model *m)
{
	return &m->ports;
}

static int echo_run(struct soma_model *m, uint32_t slot,
		    const struct soma_request *in, struct soma_response *out,
		    struct soma_error *error)
{
	struct slot *s = &m->slots[slot];
	bool canceled = false;

	if (m->delay_ms) {
		pthread_mutex_lock(&s->lock);
		s->canceled = false;
		pthread_mutex_unlock(&s->lock);
		wait_ms(s, m->delay_ms, m->deaf);
		pthread_mutex_lock(&s->lock);
		canceled = s->canceled && !m->deaf;
		pthread_mutex_unlock(&s->lock);
	}
	if (canceled)
		return fail(error, SOMA_CANCELED, "canceled");
	out->outputs = in->inputs;
	out->n_outputs = in->n_inputs;
	return 0;
}

static void echo_cancel(struct soma_model *m, uint32_t slot)
{
	struct slot *s = &m->slots[slot];

	pthread_mutex_lock(&s->lock);
	s->canceled = true;
	pthread_cond_signal(&s->told);
	pthread_mutex_unlock(&s->lock);
}

SOMA_ENGINE_EXPORT const struct soma_engine soma_engine = {
	.abi = SOMA_ENGINE_ABI,
	.size = sizeof(struct soma_engine),
	.name = "echo",
	.version = SOMA_VERSION,
	.options = options,
	.load = echo_load,
	.unload = echo_unload,
	.ports = echo_ports,
	.run = echo_run,
	.cancel = echo_cancel,
};
