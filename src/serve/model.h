/* model.h: models that come from elsewhere: fetched by `soma fetch`, once for
 * all who name the same URL with the same credentials.
 *
 *                 no path yet, or somebody new wants it
 *   READY ──────────────────────────────────────────────▶ FETCHING
 *     │ ▲                                                  │ │  ▲
 *     │ ╰───────────────── it is there ────────────────────╯ │  │ back-off, or
 *     │ asked now and then whether the source has changed:   ▼  │ somebody
 * comes ╰─ what is new is fetched beside, it stays READY      FAILED
 */
#ifndef SERVE_MODEL_H
#define SERVE_MODEL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "core/err.h"
#include "core/list.h"
#include "core/map.h"
#include "core/sha256.h"
#include "spec/spec.h"
#include "store/shelf.h"

struct serve;
struct process;

enum model_state { MODEL_FETCHING, MODEL_READY, MODEL_FAILED };

/* What its process does. */
enum model_work { MODEL_RESTS, MODEL_PULLS, MODEL_ASKS };

/* One that wants a model. What it is told of may make it leave. */
struct model_user {
	struct list link; /* private */
	/* More of it is there; at most once a second. May be NULL. */
	void (*on_progress)(struct model_user *u);
	/* It is READY or FAILED, or READY in another version. */
	void (*on_settled)(struct model_user *u);
	/* Whether its source is to be asked now. NULL: never. */
	bool (*watches)(const struct model_user *u);
	bool again; /* private */
};

struct model {
	struct models *all;
	char *key;   /* owned: in all->by_key */
	char *url;   /* owned */
	char *name;  /* owned: of it on the shelf */
	char *shown; /* owned: the same without a query, which may be a key */
	char **env;  /* owned, NULL-ended: "K=V" of who wants it; secret */
	enum model_state state;
	char *path;	       /* owned: of the newest tree; NULL: none yet */
	char tree[SHA256_HEX]; /* its ID; "" while there is no path */
	char *etag;	       /* owned: what its source knows it by; or NULL */
	uint64_t bytes, files; /* that it has */
	uint64_t done, total;  /* bytes, while it is fetched; total 0: not
				  known */
	uint64_t rate;	       /* bytes a second */
	const char *doing;     /* "listing", "fetching", "verifying" */
	char *code, *message;  /* owned: of the last failure; or NULL */
	bool again;	       /* trying that again may help */
	bool unmarked;	       /* its source tells nothing that a newer version
				  of the same size would be known by */
	unsigned failures;     /* in a row */
	uint64_t next_at;      /* uv_now: when it is tried, or its source is
				  asked, again; 0: not */
	struct list users;
	unsigned refs;
	/* private */
	enum model_work work;
	struct process *process;
	char *line;		 /* owned: what it printed last that is none of
				    its words */
	char *answer;		 /* owned: its last word: "ready", "changed" */
	uint64_t told_at;	 /* of progress */
	char before[SHA256_HEX]; /* tree, when its process was started */
	bool deferred;		 /* to be started when garbage is collected */
	bool abandoned;		 /* nobody wants what its process does */
};

/* What is counted since the daemon's start. */
struct model_counts {
	uint64_t ready, same, failed;
};

struct models {
	struct serve *serve;
	char *dir; /* owned: DATA/models */
	struct shelf shelf;
	uid_t uid;			/* fetches run as it; 0: as we do */
	struct map by_key;		/* to struct model */
	unsigned pulling;		/* processes that may publish */
	uv_timer_t timer;		/* private: of the first next_at */
	bool collecting, collect_again; /* garbage */
	unsigned finding;		/* private: works on the pool */
	uint64_t collect_at;		/* private: uv_now, the next hourly */
	struct list askers;		/* private: for what the next does */
	uint64_t bytes; /* that the shelf has, when it was looked at last */
	struct model_counts counts;
	bool verifying;	       /* somebody has them read: one at a time */
	_Atomic bool stopping; /* for works on the pool that take long */
};

/* Opens DATA/models for the user that fetches run as. */
int models_open(struct models *all, struct serve *serve, struct err *err);
/* No callback of users comes after. */
void models_stop(struct models *all);
void models_close(struct models *all);
/* The settings have changed. */
void models_settings(struct models *all);

/* The model at a URL, with the variables that a spec's env has for who fetches
 * (spec may be NULL). A reference is the caller's (model_unref). It is fetched
 * unless `tree` is given, which is what it is known to be; where it is there
 * already it is looked at its source whether it is still the newest. Fails
 * where a secret is not there. */
int model_get(struct models *all, const char *url, const struct spec *spec,
	      const char *tree, struct model **ret, struct err *err);
void model_join(struct model *m, struct model_user *u);
void model_leave(struct model_user *u);
/* It could not use what it was told of: it is told again at the next check. */
void model_tell_again(struct model *m, struct model_user *u);
void model_unref(struct model *m);

/* Milliseconds until it is tried again; 0: it is not, or now. */
uint64_t model_again_ms(const struct model *m);
/* Seconds until it is there, by its rate; below 0: not known. */
double model_eta_s(const struct model *m);
/* Whether it has this URL, for whoever. */
struct model *models_at(const struct models *all, const char *url);
/* The one, or one of those, that this name on the shelf is of. */
struct model *models_named(const struct models *all, const char *name);
/* "fetching URL: 1.2 GiB of 5.9 GiB, 210 MiB/s, 22 s left"; mem_printf. */
char *model_progress_text(const struct model *m);

/* Removes what nobody needs from the shelf, in the background: when no model
 * is being fetched. */
void models_collect(struct models *all);
/* The same, and tells what it did. E_BUSY while a model is fetched; `done`
 * comes else, unless the daemon stops. */
int models_collect_now(struct models *all,
		       void (*done)(void *data, const struct shelf_gc *gc,
				    const struct err *err),
		       void *data, struct err *err);
/* The trees that somebody uses, NULL-ended; both are free()d by the caller as
 * one. */
const char **models_in_use(const struct models *all, size_t *ret_n);

#endif
