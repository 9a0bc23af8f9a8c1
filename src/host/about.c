#include "core/json.h"
#include "host/dtype.h"
#include "host/host.h"

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
}
