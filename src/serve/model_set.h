/* model_set.h: the models that a revision names: those that are fetched, each
 * pinned to what it was then, and those that are used in place. */
#ifndef SERVE_MODEL_SET_H
#define SERVE_MODEL_SET_H

#include <stdbool.h>
#include <stddef.h>

#include "core/json.h"
#include "serve/model.h"

struct revision;
struct model_set;

struct model_item {
	struct model_set *set;
	char *name;	     /* owned: "_" where it has none */
	char *source;	     /* owned: as the spec has it */
	struct model *model; /* NULL: it is used in place */
	struct model_user user;
	char *place;	/* owned: where it is; NULL: not there yet */
	char *pin;	/* owned: the link to that, of one that is fetched */
	uint64_t bytes; /* of that, of one that is fetched; 0: not known */
	/* Of one that is fetched: its tree, and the one before, which a replica
	 * may still read; or "". */
	char tree[SHA256_HEX], before[SHA256_HEX];
	bool grumbled; /* it was told that its source is in trouble */
	char *trouble; /* owned: why what is there could not be pinned, or
			  NULL */
};

/* DATA/models/pins/API-N/NAME are links to the trees that revision N of an api
 * uses: replicas look at them for what is new, and the next daemon for what the
 * revision had. A link is replaced by rename. */
struct model_set {
	struct revision *rev;	  /* borrowed: we are in it */
	char *key;		  /* owned: "predictor.models.path" */
	struct model_item *items; /* owned */
	size_t n;
	bool live; /* what is new at its source is loaded while it runs */
	bool some; /* a replica has no more of them at a time than
		      cache_size */
	bool begun, told_large; /* private */
	char *broken; /* owned: what cannot be mended by waiting, or NULL */
};

enum model_set_state { MODELS_THERE, MODELS_COMING, MODELS_MISSING };

void model_set_init(struct model_set *set, struct revision *rev);
void model_set_fini(struct model_set *set);
/* Starts what is to be fetched, at first, and says how far it is. */
enum model_set_state model_set_step(struct model_set *set);
/* Why some are missing, with the remedy; mem_printf. */
char *model_set_trouble(const struct model_set *set);
/* Milliseconds until those are tried again; 0: they are not, or now. */
uint64_t model_set_again_ms(const struct model_set *set);
/* Nobody waits for them any more; those that are there stay in use. */
void model_set_leave(struct model_set *set);
/* A secret that its env names has changed: what failed is tried with it. */
void model_set_on_secret(struct model_set *set);

/* The models that are on their way: their bytes (total 0: not known), and
 * seconds until they are there (below 0: not known). False: there are none. */
bool model_set_loading(const struct model_set *set, uint64_t *ret_done,
		       uint64_t *ret_total, double *ret_eta_s);
/* CONFIG.models: the spec's block with each source as {"path", "source",
 * "in_place"}. */
yyjson_mut_val *model_set_config(const struct model_set *set,
				 yyjson_mut_doc *doc);
/* "models" of an api's object. */
void model_set_put(const struct model_set *set, yyjson_mut_doc *doc,
		   yyjson_mut_val *root);
/* What it costs that memory cannot hold them all; mem_printf. NULL: it can, or
 * they are not mapped by us. */
char *model_set_large_text(const struct model_set *set);
/* The paths that a replica must be able to read, at most n of them. */
size_t model_set_needs(const struct model_set *set, const char **need);
/* model_hub.c: where the hub's own libraries find those that are of the hub;
 * mem_printf. NULL: none is. */
char *model_set_hub(const struct model_set *set);
/* An item that is of the hub is m's version there from now on. */
int model_hub_put(const struct model_item *item, const struct model *m,
		  struct err *err);

/* "API-N"; mem_printf. */
char *model_set_pin_name(const struct revision *rev);

#endif
