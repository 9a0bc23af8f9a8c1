/* base_packages.h: what an environment gets although no requirements name it:
 * packages that Cortex's images had and the project imports. */
#ifndef SERVE_BASE_PACKAGES_H
#define SERVE_BASE_PACKAGES_H

#include <stddef.h>

#include "spec/spec.h"

enum { BASE_PACKAGES_MAX = 80 };

/* Rows of the table, each "PACKAGE" or "PACKAGE|OTHER|OTHER": the first is to
 * be installed unless the requirements have one of them. Borrowed: constants.
 */
struct package_rows {
	const char *rows[BASE_PACKAGES_MAX];
	size_t n;
};

/* Those that the Python files of the project import, in the table's order; none
 * unless the spec wants Cortex's. */
void base_packages_imported(struct package_rows *b, const struct spec *spec,
			    const char *project_dir);

/* Those that run what Soma gives to the spec's class: onnxruntime and numpy for
 * an ONNXPredictor. */
void base_packages_needed(struct package_rows *b, const struct spec *spec);

#endif
