#include "core/json.h"
#include "host/dtype.h"
#include "host/host.h"

enum { SAMPLE_MAX = 512 };

static void add_port(struct buf *b, const struct soma_port *port, bool input)
{
	buf_adds(b, "{\"name\":");
	json_quote(b, str_of(port->name));
	buf_addf(b, ",\"dtype\":\"%s\",\"shape\":", dtype_name(port->dtype));
	if (port->rank < 0) {
		buf_adds(b, "null");
	} else {
		buf_addc(b, '[');
		for (int32_t i = 0; i < port->rank; i++)
			buf_addf(b, "%s%lld", i ? "," : "",
				 (long long)port->shape[i]);
		buf_addc(b, ']');
	}
	if (input)
		buf_addf(b, ",\"optional\":%s",
			 port->optional ? "true" : "false");
	buf_addc(b, '}');
}

static void add_ports(struct buf *b, const char *key,
		      const struct soma_port *ports, uint32_t n, bool input)
{
	buf_addf(b, ",\"%s\":[", key);
	for (uint32_t i = 0; i < n; i++) {
		if (i)
			buf_addc(b, ',');
		add_port(b, &ports[i], input);
	}
	buf_addc(b, ']');
}

/* The least value that fits a port: each dimension of any size is 1. */
static void add_least(struct buf *b, const struct soma_port *port, int32_t dim)
{
	int64_t n;

	if (dim >= port->rank) {
		buf_adds(b, port->dtype == SOMA_STRING ? "\"\""
			    : port->dtype == SOMA_BOOL ? "false"
						       : "0");
		return;
	}
	n = port->shape[dim] < 0 ? 1 : port->shape[dim];
	buf_addc(b, '[');
	for (int64_t i = 0; i < n && !b->full; i++) {
		if (i)
			buf_addc(b, ',');
		add_least(b, port, dim + 1);
	}
	buf_addc(b, ']');
}

/* {"sample": TEXT}: a request that the model takes; {} when none is short. */
static void make_facts(struct host *h)
{
	const struct soma_ports *ports = h->plugin.ports;
	struct buf sample;

	buf_init(&sample, SAMPLE_MAX);
	buf_addc(&sample, '{');
	for (uint32_t i = 0; i < ports->n_inputs; i++) {
		if (ports->inputs[i].optional)
			continue;
		if (sample.len > 1)
			buf_addc(&sample, ',');
		json_quote(&sample, str_of(ports->inputs[i].name));
		buf_addc(&sample, ':');
		add_least(&sample, &ports->inputs[i], 0);
	}
	buf_addc(&sample, '}');
	if (sample.full) {
		buf_adds(&h->facts, "{}");
	} else {
		buf_adds(&h->facts, "{\"sample\":");
		json_quote(&h->facts, (struct str){sample.data, sample.len});
		buf_addc(&h->facts, '}');
	}
	buf_fini(&sample);
}

void about_make(struct host *h)
{
	const struct soma_engine *e = &h->plugin.engine;
	const struct soma_ports *ports = h->plugin.ports;
	struct buf *b = &h->about;

	buf_adds(b, "{\"name\":");
	json_quote(b, str_of(h->config.api));
	buf_adds(b, ",\"engine\":");
	json_quote(b, str_of(e->name));
	add_ports(b, "inputs", ports->inputs, ports->n_inputs, true);
	add_ports(b, "outputs", ports->outputs, ports->n_outputs, false);
	if (ports->open)
		buf_adds(b, ",\"open\":true");
	buf_adds(b, "}\n");
	make_facts(h);
}

void about_no_batches(struct host *h)
{
	h->told_no_batches = true;
	h->facts.len--; /* the brace */
	buf_adds(&h->facts, h->facts.len > 1 ? ",\"note\":" : "\"note\":");
	json_quote(&h->facts, str_of(h->no_batches));
	buf_addc(&h->facts, '}');
	control_send(h, FRAME_READY, (uint32_t)getpid(), h->facts.data,
		     h->facts.len);
}
