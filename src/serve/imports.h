/* imports.h: the modules that Python source names in its import statements.
 * Nothing is run, and no file opened. */
#ifndef SERVE_IMPORTS_H
#define SERVE_IMPORTS_H

#include "core/str.h"

/* Says each module that text imports, as it is written there ("google.cloud"),
 * and again each time it comes. Relative imports are the project's own and left
 * out. Any text will do: what is no Python has whatever imports it seems to
 * have. */
void imports_scan(struct str text, void (*found)(void *data, struct str module),
		  void *data);

#endif
