/* url.h: the few things done with URLs. */
#ifndef FETCH_URL_H
#define FETCH_URL_H

#include <stdbool.h>

#include "core/str.h"

/* To be shown: without user, password, query and fragment, in which secrets may
 * be. free() it. */
char *url_shown(const char *url);
/* All but letters, digits and "-._~" as %XX in capitals, as AWS's signatures
 * want it; '/' stays with keep_slash. free() it. */
char *url_escape(struct str text, bool keep_slash);
/* %XX undone, and '+' as a space with `plus`. NULL where it is malformed or has
 * a NUL. free() it. */
char *url_unescape(struct str text, bool plus);
/* Scheme, host and port are the same? */
bool url_same_host(const char *a, const char *b);
/* "host" or "host:port", as the Host header has it; free() it. NULL: no URL. */
char *url_host(const char *url);

#endif
