/* plugin.h: an engine's shared object, and the model that it has loaded. */
#ifndef HOST_PLUGIN_H
#define HOST_PLUGIN_H

#include "core/err.h"
#include "host/config.h"
#include "soma_engine.h"

struct plugin {
	void *library; /* owned; stays open to the end of the process */
	char *path;    /* owned */
	struct soma_engine engine; /* members that it does not know are 0 */
	struct soma_model *model;
	bool loaded;
	const struct soma_ports *ports; /* borrowed from the model, or open */
	/* What load is given as log and progress. */
	void (*log)(void *host, enum soma_log_level level, const char *text);
	void (*progress)(void *host, const char *text);
	void *host;
};

/* Opens the engine that c names and has it load its model. On failure the code
 * is one for people (FAILED frames have its word): E_NOTFOUND, E_INVALID,
 * E_UNPROCESSABLE, E_INTERNAL. plugin_close is to be called in both cases. */
int plugin_open(struct plugin *p, const struct config *c, struct err *err);
void plugin_close(struct plugin *p);

#endif
