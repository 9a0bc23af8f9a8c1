/* environ.h: the environment variables of the processes that are started. */
#ifndef SERVE_ENVIRON_H
#define SERVE_ENVIRON_H

/* The process' environment variables: ours without what is Soma's own, then bin
 * first on PATH. A NULL-ended array, free with environ_free. extra: "K=V" that
 * replace what was there; NULL-ended, may be NULL. */
char **environ_make(const char *bin, char *const *extra);
/* The same for this program as another user, who may not get to its libraries
 * where they lie: libs, a directory that has them, or NULL. */
char **environ_own(const char *libs, char *const *extra);
void environ_free(char **env);

#endif
