#include "host/plugin.h"

#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/mem.h"
#include "core/str.h"

enum { OPTIONS_MAX = 1024, TEXT_MAX = 4096 };

/* Taken where an engine does not say. */
static const struct soma_ports open_ports = {.open = 1};

static bool ends_in_so(const char *s)
{
	size_t n = strlen(s);

	return n > 3 && strcmp(s + n - 3, ".so") == 0;
}

/* A word is an engine that came with the host; anything else a file of the
 * project. */
static char *find(const struct config *c, struct err *err)
{
	bool word = !strchr(c->engine, '/') && !ends_in_so(c->engine);
	char *path;

	if (word)
		path = mem_printf("%s/%s.so", c->host_dir, c->engine);
	else if (c->engine[0] == '/' || !c->project)
		path = mem_strdup(c->engine);
	else
		path = mem_printf("%s/%s", c->project, c->engine);
	if (access(path, R_OK) == 0)
		return path;
	if (word)
		err_set(err, E_NOTFOUND,
			"there is no engine '%s' in %s; name one that came "
			"with Soma (onnx, echo), or a .so file of the project",
			c->engine, c->host_dir);
	else
		err_sys(err, errno, "the engine '%s' cannot be read",
			c->engine);
	free(path);
	return NULL;
}

/* Copies what it knows of struct soma_engine. */
static int take_engine(struct plugin *p, const struct config *c,
		       struct err *err)
{
	const struct soma_engine *theirs;
	size_t size;

	dlerror();
	theirs = dlsym(p->library, SOMA_ENGINE_SYMBOL);
	if (!theirs)
		return err_set(err, E_INVALID,
			       "'%s' is no engine: it has no symbol "
			       "'%s'; define it as soma_engine.h says, with "
			       "SOMA_ENGINE_EXPORT",
			       c->engine, SOMA_ENGINE_SYMBOL);
	if (theirs->abi != SOMA_ENGINE_ABI)
		return err_set(err, E_INVALID,
			       "the engine '%s' was built for version %u of "
			       "soma_engine.h, this Soma has version %u; build "
			       "it again with the header of this Soma",
			       c->engine, theirs->abi, SOMA_ENGINE_ABI);
	size = theirs->size;
	memcpy(&p->engine, theirs, MIN(size, sizeof p->engine));
	if (size < offsetof(struct soma_engine, run) + sizeof p->engine.run ||
	    !p->engine.run || !p->engine.name)
		return err_set(err, E_INVALID,
			       "the engine '%s' has no %s; soma_engine.h says "
			       "what must be there",
			       c->engine, p->engine.name ? "run" : "name");
	return 0;
}

/* ---- options ---- */

static bool is_family(const char *key)
{
	return key[strlen(key) - 1] == '.';
}

static bool is_known(const struct soma_option_info *info, const char *key)
{
	return is_family(info->key)
		       ? strncmp(key, info->key, strlen(info->key)) == 0
		       : strcmp(key, info->key) == 0;
}

static int unknown_option(const struct plugin *p, const char *key,
			  struct err *err)
{
	const struct soma_option_info *info = p->engine.options;
	const char *names[OPTIONS_MAX], *near;
	size_t n = 0;
	struct buf list;

	buf_init(&list, TEXT_MAX);
	for (; info && info->key && n < OPTIONS_MAX; info++) {
		names[n++] = info->key;
		buf_addf(&list, "%s%s%s", n > 1 ? ", " : "", info->key,
			 is_family(info->key) ? "*" : "");
	}
	near = str_nearest(key, names, n);
	err_set(err, E_INVALID,
		"engine_options: the engine %s knows no '%s'%s%s%s; it has: %s",
		p->engine.name, key, near ? "; did you mean '" : "",
		near ? near : "", near ? "'?" : "",
		n ? buf_cstr(&list) : "none");
	buf_fini(&list);
	return err->code;
}

/* The given ones and the defaults. *ret is free()d. */
static int make_options(const struct plugin *p, const struct config *c,
			struct soma_option **ret, uint32_t *ret_n,
			struct err *err)
{
	const struct soma_option_info *info;
	cleanup_free struct soma_option *list = NULL;
	uint32_t n = 0;

	list = mem_alloc((c->n_options + OPTIONS_MAX) * sizeof *list);
	for (uint32_t i = 0; i < c->n_options; i++) {
		for (info = p->engine.options; info && info->key; info++)
			if (is_known(info, c->options[i].key))
				break;
		if (!info || !info->key)
			return unknown_option(p, c->options[i].key, err);
		list[n++] = c->options[i];
	}
	for (info = p->engine.options;
	     info && info->key && n < c->n_options + OPTIONS_MAX; info++) {
		bool given = false;

		for (uint32_t i = 0; i < c->n_options; i++)
			given |= is_known(info, c->options[i].key);
		if (!given && info->value)
			list[n++] =
				(struct soma_option){info->key, info->value};
	}
	*ret = mem_take(&list);
	*ret_n = n;
	return 0;
}

/* ---- loading ---- */

static int code_of(int code)
{
	switch (code) {
	case SOMA_MISSING:
		return E_NOTFOUND;
	case SOMA_BAD_MODEL:
	case SOMA_BAD_INPUT:
		return E_UNPROCESSABLE;
	case SOMA_BAD_OPTION:
		return E_INVALID;
	case SOMA_NO_MEMORY:
		return E_NOMEM;
	default:
		return E_INTERNAL;
	}
}

static int load(struct plugin *p, const struct config *c, struct err *err)
{
	cleanup_free struct soma_option *options = NULL;
	struct soma_params params = {
		.size = sizeof params,
		.model = c->model,
		.project = c->project,
		.library = c->library,
		.host_dir = c->host_dir,
		.lib_dir = c->lib_dir,
		.slots = c->slots,
		.threads = c->threads,
		.graph_optimization = c->graph_optimization,
		.device = c->device,
		.log = p->log,
		.progress = p->progress,
		.host = p->host,
	};
	struct soma_error why = {{0}};
	int rc = make_options(p, c, &options, &params.n_options, err);

	if (rc)
		return rc;
	if (p->engine.wants_model && !c->model)
		return err_set(err, E_INVALID,
			       "the engine %s wants a model: name its file "
			       "with predictor.model",
			       p->engine.name);
	params.options = options;
	if (p->engine.load) {
		rc = p->engine.load(&params, &p->model, &why);
		why.text[sizeof why.text - 1] = 0;
		if (rc && !why.text[0])
			return err_set(err, code_of(rc),
				       "the engine could not load the model "
				       "(code %d), and does not say why",
				       rc);
		str_tidy(why.text, true); /* it may quote the model */
		if (rc)
			return err_set(err, code_of(rc), "%s", why.text);
	}
	p->loaded = true;
	return 0;
}

/* What the host relies on. `what` is input or output. */
static int check_port(const struct plugin *p, const char *what,
		      const struct soma_port *ports, uint32_t i,
		      struct err *err)
{
	const struct soma_port *port = &ports[i];

	if (!port->name || !port->name[0])
		return err_set(err, E_INTERNAL,
			       "the engine %s gives its %s %u no name",
			       p->engine.name, what, i);
	if ((unsigned)port->dtype > SOMA_STRING || port->rank < -1 ||
	    port->rank > SOMA_RANK_MAX)
		return err_set(err, E_INTERNAL,
			       "the engine %s gives the %s '%s' the dtype %d "
			       "and %d dimensions, which soma_engine.h does "
			       "not know",
			       p->engine.name, what, port->name,
			       (int)port->dtype, port->rank);
	for (int32_t k = 0; k < port->rank; k++)
		if (port->shape[k] < -1)
			return err_set(err, E_INTERNAL,
				       "the engine %s gives dimension %d of "
				       "the %s '%s' the size %" PRId64
				       "; any size is -1",
				       p->engine.name, k, what, port->name,
				       port->shape[k]);
	for (uint32_t k = 0; k < i; k++)
		if (strcmp(ports[k].name, port->name) == 0)
			return err_set(err, E_INTERNAL,
				       "the engine %s has two %ss called '%s'",
				       p->engine.name, what, port->name);
	return 0;
}

static int check_ports(const struct plugin *p, const char *what,
		       const struct soma_port *ports, uint32_t n,
		       struct err *err)
{
	if (n && !ports)
		return err_set(err, E_INTERNAL,
			       "the engine %s says that it has %u %ss, but not "
			       "which: the list is NULL",
			       p->engine.name, n, what);
	for (uint32_t i = 0; i < n; i++)
		if (check_port(p, what, ports, i, err))
			return err->code;
	return 0;
}

static int take_ports(struct plugin *p, struct err *err)
{
	p->ports = p->engine.ports ? p->engine.ports(p->model) : NULL;
	if (!p->ports)
		p->ports = &open_ports;
	if (check_ports(p, "input", p->ports->inputs, p->ports->n_inputs, err))
		return err->code;
	return check_ports(p, "output", p->ports->outputs, p->ports->n_outputs,
			   err);
}

int plugin_open(struct plugin *p, const struct config *c, struct err *err)
{
	p->path = find(c, err);
	if (!p->path)
		return err->code;
	p->library = dlopen(p->path, RTLD_NOW | RTLD_LOCAL);
	if (!p->library)
		return err_set(err, E_INVALID,
			       "the engine '%s' cannot be opened: %s",
			       c->engine, dlerror());
	if (take_engine(p, c, err) || load(p, c, err))
		return err->code;
	return take_ports(p, err);
}

void plugin_close(struct plugin *p)
{
	if (p->loaded && p->engine.unload)
		p->engine.unload(p->model);
	p->loaded = false;
	/* The library stays: threads of its own may still be on their way
	 * out. */
	free(mem_take(&p->path));
}
