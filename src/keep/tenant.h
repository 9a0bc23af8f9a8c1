/* tenant.h: a daemon that the keeper has started, and its channel: the one that
 * serves, one that is about to, or one that has yielded. */
#ifndef KEEP_TENANT_H
#define KEEP_TENANT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/list.h"
#include "loop/chan.h"

struct keeper;

/* Requests that one which has yielded still has at a child. */
struct hold {
	uint64_t id;
	unsigned n;
};

struct tenant {
	struct list link; /* in keeper.retired, once it has yielded */
	struct keeper *keeper;
	struct chan chan;
	bool open;
	pid_t pid;
	struct hold *holds; /* owned */
	size_t n_holds;
};

/* Starts one. waits: it is to say READY, and to wait for GO. program: its path;
 * fd: of the file itself, where that is not at the path any more; else -1.
 * NULL: errno says why. */
struct tenant *tenant_start(struct keeper *k, const char *program, int fd,
			    bool waits);
/* Its process is dead, or is not to be heard any more. */
void tenant_free(struct tenant *t);
/* t may be NULL, and then nothing is said. */
void tenant_say(struct tenant *t, uint16_t type, uint64_t id, int32_t arg,
		const char *payload, const int *fds, size_t n_fds);
void tenant_note_hold(struct tenant *t, uint64_t id, unsigned n);
/* Of all that have yielded together. */
unsigned tenants_hold(const struct list *retired, uint64_t id);
struct tenant *tenant_by_pid(const struct list *retired, pid_t pid);

#endif
