/* environ.h: the environment variables of the processes that are started. */
#ifndef SERVE_ENVIRON_H
#define SERVE_ENVIRON_H

/* The process' environment variables: ours without what is Soma's own, then bin
 * first on PATH. A NULL-ended array, free with environ_free. extra: "K=V" that
 * replace what was there; NULL-ended, may be NULL. */
char **environ_make(const char *bin, char *const *extra);
void environ_free(char **env);

#endif
