/* keep.h: the keeper: owns the listeners, is the parent of every process,
 * starts the daemon again. */
#ifndef KEEP_KEEP_H
#define KEEP_KEEP_H

#include <stdint.h>

#include "core/args.h"
#include "core/err.h"
#include "keep/proto.h"
#include "settings/settings.h"

struct keep_opts {
	char *data_dir;		   /* owned; absolute */
	char *listen;		   /* owned; "127.0.0.1:8000" as bound */
	char *admin;		   /* owned; "127.0.0.1:8002" as bound */
	struct settings *settings; /* borrowed; those in force */
	int lock; /* borrowed: the data directory's, which daemons share */
};

/* `soma serve`: what it takes, by the table of settings; looks at it, takes the
 * data directory, binds, keeps. */
const struct command *keep_serve(void);

/* The keeper's own log, as the settings want it. */
void keep_setup_log(const struct settings *s);

/* Runs until stopped. fds: the bound listeners, by enum keep_listener; those
 * it has closed are -1 afterwards. */
int keep_run(const struct keep_opts *opts, int fds[KEEP_LISTENERS]);

#endif
