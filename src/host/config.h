/* config.h: what the daemon's CONFIG frame tells a host. */
#ifndef HOST_CONFIG_H
#define HOST_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"
#include "soma_engine.h"

/* docs/internals/host.md has the JSON. All text lives in `text`. */
struct config {
	const char *api, *replica;
	const char *project; /* NULL: none */
	const char *engine;  /* a word, or a path of the project */
	const char *model;   /* absolute; NULL: none */
	const char *library; /* of the runtime, absolute; NULL: looked for */
	const char *lib_dir; /* NULL: none */
	uint32_t slots, threads;
	const char *graph_optimization, *device;
	struct soma_option *options; /* owned */
	uint32_t n_options;
	uint64_t predict_timeout_ms; /* 0: none */
	uint32_t max_batch_size;     /* below 2: no batches */
	uint64_t batch_interval_ms;
	uint64_t latency_target_ms; /* 0: max_batch_size is the size */
	uint64_t max_body;	    /* 0: no limit */
	const char *log_level;
	bool zygote;	/* it is to load and to wait */
	void *doc;	/* private, owned: a yyjson_doc */
	char *host_dir; /* owned: where this program lies */
	void *texts;	/* private, owned */
};

int config_read(struct config *c, const char *json, size_t len,
		struct err *err);
void config_fini(struct config *c);
/* The key of the predictor that asks for batches. */
const char *config_batch_key(const struct config *c);

#endif
