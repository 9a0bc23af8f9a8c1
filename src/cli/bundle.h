/* bundle.h: the files of a project: found, left out, hashed. */
#ifndef CLI_BUNDLE_H
#define CLI_BUNDLE_H

#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "core/sha256.h"

struct bundle_file {
	char *path; /* owned; relative, '/'-separated */
	uint64_t size;
	uint32_t mode;
	char sha256[SHA256_HEX];
};

struct bundle {
	char *dir;   /* owned; absolute */
	char *model; /* owned; the .onnx file that is all of it, or NULL */
	char *config_name; /* owned */
	char *config;	   /* owned; its text */
	size_t config_len;
	struct bundle_file *files; /* owned; sorted by path */
	size_t n_files;
	size_t room; /* private: of files */
	uint64_t bytes;
};

/* path: a config file, a folder with one, an .onnx file, or NULL for the
 * current folder. On failure b is empty. */
int bundle_make(struct bundle *b, const char *path, struct err *err);
/* The config file alone: no files of the project. */
int bundle_config(struct bundle *b, const char *path, struct err *err);
void bundle_fini(struct bundle *b);

#endif
