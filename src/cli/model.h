/* model.h: an .onnx file as it lies on the disk: what else belongs to it. */
#ifndef CLI_MODEL_H
#define CLI_MODEL_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"

/* By its name alone. */
bool model_is(const char *path);

/* By its name alone, too: a class loads it, or it is one. */
bool model_wants_class(const char *path);

/* The files of external data that it names, relative to its folder, each once.
 * Fails for one outside the folder. The array and its texts are the caller's:
 * model_data_free. */
int model_data(const char *path, char ***ret, size_t *ret_n, struct err *err);
void model_data_free(char **names, size_t n);

/* A config file's text that makes it an api; free() it. */
char *model_config(const char *file);

#endif
