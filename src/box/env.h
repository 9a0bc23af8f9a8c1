/* env.h: the environment of the program, kept apart from the box's own: what a
 * user wrote there must not reach a loader that runs as root. */
#ifndef BOX_ENV_H
#define BOX_ENV_H

#include <stdbool.h>
#include <stddef.h>

struct env {
	char **var; /* owned, and so are the "K=V" in it; NULL-ended */
	size_t n;
};

/* Both fill an empty one. */
void env_copy(struct env *e, char *const *vars);
/* "K=V" NUL "K=V" NUL ..., from the start of a file or from a pipe. 0 or an
 * errno. */
int env_read(struct env *e, int fd);
void env_fini(struct env *e);

/* The value, or NULL; valid until the next change. */
const char *env_get(const struct env *e, const char *name);
void env_set(struct env *e, const char *name, const char *value, bool replace);
void env_unset(struct env *e, const char *name);

#endif
