/* environment.h: Python environments, each built once per content and shared.
 */
#ifndef SERVE_ENVIRONMENT_H
#define SERVE_ENVIRONMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"
#include "core/list.h"
#include "core/map.h"
#include "serve/base_packages.h"
#include "spec/spec.h"

struct serve;
struct process;

enum environment_state {
	ENVIRONMENT_NONE, /* nothing to install: the interpreter as it is */
	ENVIRONMENT_BUILDING,
	ENVIRONMENT_READY,
	ENVIRONMENT_FAILED,
};

/* One that waits for an environment. */
struct environment_user {
	struct list link; /* private */
	void (*on_line)(struct environment_user *u, const char *line);
	void (*on_settled)(struct environment_user *u); /* READY or FAILED */
};

struct environment {
	struct environments *all;
	char *hash;   /* owned; NULL with NONE */
	char *python; /* owned: the interpreter to run; NULL where none is
			 asked for */
	char *bin;    /* owned: its bin directory, first on PATH; or NULL */
	enum environment_state state;
	char *message; /* owned: why it failed, with the remedy */
	struct list users;
	struct process *process; /* while building */
	char *dir;		 /* owned */
	/* private: what is built from */
	char *base, *requirements, *shell, *project;
	struct package_rows imported, needed;
	struct list tail; /* newest output lines */
	unsigned n_tail;
	unsigned refs;
	bool abandoned; /* its build is being ended: nobody wanted it */
};

struct environments {
	struct serve *serve;
	struct map by_hash; /* to struct environment */
	uid_t build_uid;
};

void environments_init(struct environments *e, struct serve *serve);
void environments_fini(struct environments *e);

/* The environment of a spec with its project directory, started building if it
 * must be. A reference is the caller's (environment_unref). Fails when there is
 * no interpreter to be found: the message has the remedy. */
int environment_get(struct environments *e, const struct spec *spec,
		    const char *project_dir, uid_t uid,
		    struct environment **ret, struct err *err);
/* Tells u of lines and of the end; a failed build is tried again by
 * environment_get. */
void environment_wait(struct environment *env, struct environment_user *u);
void environment_leave(struct environment_user *u);
void environment_unref(struct environment *env);

#endif
