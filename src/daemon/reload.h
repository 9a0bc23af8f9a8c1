/* reload.h: reads the settings file again while everything runs. */
#ifndef DAEMON_RELOAD_H
#define DAEMON_RELOAD_H

#include <uv.h>

#include "settings/settings.h"

struct reload {
	uv_loop_t *loop;
	struct settings *settings; /* borrowed: those in force */
	char *path;		   /* owned: the file */
	bool named;		   /* by --config: it must be there */
	/* The file was read: what is in force now is in `settings`. */
	void (*on_done)(struct reload *r);

	/* private */
	uv_work_t work;
	struct settings fresh;
	struct buf problems; /* a line each */
	unsigned n_problems;
	bool busy, again;
};

void reload_init(struct reload *r, uv_loop_t *loop, struct settings *settings,
		 const char *data_dir, void (*on_done)(struct reload *r));
/* Nothing may be under way: the loop has ended. */
void reload_fini(struct reload *r);
/* Reads the file in the background. What can change now changes, and is logged
 * as "old -> new"; what cannot is named; a file with problems changes nothing
 * and they are logged. */
void reload_start(struct reload *r);

#endif
