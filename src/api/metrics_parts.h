/* metrics_parts.h: what the files of /metrics share. */
#ifndef API_METRICS_PARTS_H
#define API_METRICS_PARTS_H

#include "api/admin.h"

/* The two lines that come before a metric's values. */
void metrics__head(struct buf *b, const char *name, const char *type,
		   const char *text);

/* metrics_slots.c: what replicas tell of their slots and stages. */
void metrics__slots(struct buf *b, const struct serve *s);

/* metrics_models.c: models that are fetched. */
void metrics__models(struct buf *b, const struct serve *s);

/* metrics_scale.c: starts of replicas. */
void metrics__scale(struct buf *b, const struct serve *s);

/* metrics_split.c: splitters and their shadows. */
void metrics__split(struct buf *b, const struct serve *s);

#endif
