/* project.h: what `soma init` makes, and names for apis. */
#ifndef CLI_PROJECT_H
#define CLI_PROJECT_H

#include <stddef.h>

#include "core/buf.h"

/* One file: text in which @name@ stands for the api's name, or bytes. */
struct project_part {
	const char *path; /* NULL ends the list */
	const char *text;
	void (*make)(struct buf *out); /* when there is no text */
};

enum { PROJECT_PARTS_MAX = 6 };

struct project_type {
	const char *type, *text; /* "python", "a class of yours" */
	struct project_part parts[PROJECT_PARTS_MAX];
};

/* In the order they are shown; NULL behind the last. */
const struct project_type *project_type_at(size_t i);

/* A model of a few hundred bytes: y = x * w, for rows of three numbers. */
void project_onnx_model(struct buf *out);

/* A valid name for an api, made of any text: "My Model_2" is "my-model-2".
 * free() it. */
char *project_name(const char *from);

#endif
