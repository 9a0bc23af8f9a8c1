/* model_parts.h: what the files of models share: the life of one
 * (model.c), all of them (models.c), the process that fetches one
 * (model_fetch.c), the shelf (model_shelf.c), and the variables that the
 * process gets (model_env.c). */
#ifndef SERVE_MODEL_PARTS_H
#define SERVE_MODEL_PARTS_H

#include "serve/model.h"

/* model.c: the process has ended, and what it said is in m. */
void model__pulled(struct model *m, bool ok);
void model__asked(struct model *m, bool ok);
/* Its process has ended, and nobody wants it. */
void model__forsaken(struct model *m);
/* It is due: it is fetched, or its source asked. */
void model__act(struct model *m);
/* Fetches it now, or when that can be; its users are told where it cannot. */
void model__pull(struct model *m);
/* Its source is asked when the setting says. */
void model__ask_later(struct model *m);
/* Some user of it may want to know what is new. */
bool model__may_be_watched(const struct model *m);
void model__free(struct model *m);

/* models.c: starts those that waited for the end of a collection. */
void models__go_on(struct models *all);
/* Sets the timer by what is due first. */
void models__arm(struct models *all);

/* model_fetch.c: m->process, or FAILED with the cause. */
void model__start(struct model *m, enum model_work work);

/* model_shelf.c */
int models__open_shelf(struct models *all, struct err *err);
void models__free_askers(struct models *all);
/* Looks on the shelf for it, in the background; NULL: it is not there. */
void model__find(struct model *m,
		 void (*then)(struct model *m, const struct shelf_ref *ref));

/* model_env.c: "K=V" of those variables that say how to fetch; NULL with err
 * where a secret is missing. */
char **model__env(const struct serve *s, const struct spec *spec,
		  struct err *err);
void model__env_free(char **env);
/* Its name on the shelf, for who fetches with these; mem_printf. */
char *model__name(const char *url, char *const *env);

#endif
