#include <inttypes.h>

#include "core/json.h"
#include "core/mem.h"
#include "host/dtype.h"
#include "host/reading.h"

enum { NAMES_SHOWN = 512 };

static void describe_shape(struct buf *b, const struct soma_tensor *t)
{
	buf_addc(b, '[');
	for (uint32_t i = 0; i < t->rank; i++)
		buf_addf(b, "%s%" PRId64, i ? "," : "", t->shape[i]);
	buf_addc(b, ']');
}

int unfit(struct reading *in, const struct soma_port *port, const char *fmt,
	  ...)
{
	struct buf wants;
	va_list args;

	va_start(args, fmt);
	err_setv(in->err, E_INVALID, fmt, args);
	va_end(args);
	buf_init(&wants, NAMES_SHOWN);
	port_describe(&wants, port);
	err_wrap(in->err, "input '%s' wants %s", port->name, buf_cstr(&wants));
	buf_fini(&wants);
	return E_INVALID;
}

/* "x float32 [batch,3], y int64" */
static void list_inputs(struct buf *b, const struct soma_ports *ports)
{
	for (uint32_t i = 0; i < ports->n_inputs; i++) {
		buf_addf(b, "%s%s ", i ? ", " : "", ports->inputs[i].name);
		port_describe(b, &ports->inputs[i]);
		if (ports->inputs[i].optional)
			buf_adds(b, " (optional)");
	}
}

/* The place of an element or list: "x[0][3]". */
static void describe_place(struct buf *b, const struct reading *in,
			   const char *name, uint32_t levels)
{
	buf_adds(b, name);
	for (uint32_t i = 0; i < levels; i++)
		buf_addf(b, "[%zu]", in->at[i]);
}

const char *unfit_kind(yyjson_val *v)
{
	if (yyjson_is_arr(v))
		return "a list";
	if (yyjson_is_obj(v))
		return "an object";
	return yyjson_is_null(v) ? "null" : NULL;
}

/* What stands there: a kind, or the value itself, shortened. */
static void describe_value(struct buf *b, yyjson_val *v)
{
	enum { SHOWN = 40 };
	cleanup_free char *text = NULL;
	size_t len;

	if (unfit_kind(v)) {
		buf_adds(b, unfit_kind(v));
		return;
	}
	text = json_write_val(v, &len);
	if (yyjson_is_str(v))
		buf_adds(b, "the text ");
	buf_addf(b, "%.*s%s", SHOWN, text, len > SHOWN ? "..." : "");
}

int unfit_element(struct reading *in, const struct soma_port *port,
		  const struct soma_tensor *t, yyjson_val *v)
{
	bool fits_kind = yyjson_is_num(v) && t->dtype != SOMA_BOOL;
	struct buf place, what;

	buf_init(&place, NAMES_SHOWN);
	buf_init(&what, NAMES_SHOWN);
	describe_place(&place, in, port->name, t->rank);
	describe_value(&what, v);
	if (fits_kind)
		unfit(in, port, "%s is %s, which %s does not hold",
		      buf_cstr(&place), buf_cstr(&what), dtype_name(t->dtype));
	else
		unfit(in, port, "%s is %s%s", buf_cstr(&place), buf_cstr(&what),
		      yyjson_is_str(v) && t->dtype != SOMA_BOOL
			      ? " (write numbers without quotes; JSON has no "
				"NaN and no infinity)"
			      : "");
	buf_fini(&place);
	buf_fini(&what);
	return E_INVALID;
}

int unfit_ragged(struct reading *in, const struct soma_port *port,
		 const struct soma_tensor *t, uint32_t level, yyjson_val *v)
{
	struct buf place;

	buf_init(&place, NAMES_SHOWN);
	describe_place(&place, in, port->name, level);
	if (yyjson_is_arr(v))
		unfit(in, port,
		      "its lists are ragged: %s has %zu items where the first "
		      "list of its level has %" PRId64,
		      buf_cstr(&place), yyjson_arr_size(v), t->shape[level]);
	else
		unfit(in, port,
		      "its lists are ragged: %s is no list where the first of "
		      "its level is one",
		      buf_cstr(&place));
	buf_fini(&place);
	return E_INVALID;
}

int unfit_shape(struct reading *in, const struct soma_port *port,
		const struct soma_tensor *t)
{
	struct buf shape;

	if (t->rank == 0)
		return unfit(in, port,
			     "it is a single value: write %d level%s of lists",
			     port->rank, port->rank > 1 ? "s" : "");
	if (port->rank == 0)
		return unfit(in, port, "it is a list: write a single value");
	buf_init(&shape, NAMES_SHOWN);
	describe_shape(&shape, t);
	if (port->rank != (int32_t)t->rank)
		unfit(in, port,
		      "its lists have the shape %s: %u level%s, not %d",
		      buf_cstr(&shape), t->rank, t->rank > 1 ? "s" : "",
		      port->rank);
	else
		unfit(in, port, "its lists have the shape %s",
		      buf_cstr(&shape));
	buf_fini(&shape);
	return E_INVALID;
}

int unfit_unknown(struct reading *in, const char *name)
{
	const struct soma_ports *ports = in->ports;
	cleanup_free const char **names =
		mem_alloc((ports->n_inputs + 1) * sizeof *names);
	struct buf list;
	const char *near;

	for (uint32_t i = 0; i < ports->n_inputs; i++)
		names[i] = ports->inputs[i].name;
	near = str_nearest(name, names, ports->n_inputs);
	buf_init(&list, NAMES_SHOWN);
	list_inputs(&list, ports);
	err_set(in->err, E_INVALID,
		"there is no input '%.64s'%s%s%s; the model takes %s", name,
		near ? "; did you mean '" : "", near ? near : "",
		near ? "'?" : "", list.len ? buf_cstr(&list) : "nothing");
	buf_fini(&list);
	return E_INVALID;
}

int unfit_missing(struct reading *in, const struct soma_port *port)
{
	struct buf wants;

	buf_init(&wants, NAMES_SHOWN);
	port_describe(&wants, port);
	err_set(in->err, E_INVALID, "input '%s' (%s) is missing", port->name,
		buf_cstr(&wants));
	buf_fini(&wants);
	return E_INVALID;
}
