/* rules_parts.h: what the files of the rules share. */
#ifndef SPEC_RULES_PARTS_H
#define SPEC_RULES_PARTS_H

#include "core/json.h"
#include "spec/rules.h"

/* The value of a key that was given, and given right; or NULL. */
struct node *rules__good(struct node *api, const char *path);

/* Whatever its name is, the file of a Cortex project is not ours. */
bool rules__is_soma_file(const struct reader *r);

/* autoscaling.schedule (schedule.c); max_replicas is known. */
void rules__schedule(struct reader *r, struct node *api, struct spec *spec);

/* warmup (warmup.c); the type of the predictor is known. */
void rules__warmup(struct reader *r, struct node *api, struct spec *spec);

/* How many replicas there are. */
void rules__scale(struct reader *r, struct node *api, struct spec *spec);

/* What is run: the type, the class, the model. */
void rules__predictor(struct reader *r, struct node *api, struct spec *spec);

/* What a TrafficSplitter sends to; once the whole file is read, whether those
 * apis are there. */
void rules__splitter(struct reader *r, struct node *api, struct spec *spec);
/* Its `canary` into the same object, where it has one. */
void rules__canary(struct reader *r, struct node *api, yyjson_mut_doc *doc,
		   yyjson_mut_val *root);
void rules__targets(struct reader *r, struct node *api);

/* The command that a pod's container becomes. */
void rules__pod(struct reader *r, struct node *api, struct spec *spec);

#endif
