/* doctor.h: `soma doctor`: the checks it makes, one row of a table each. */
#ifndef CLI_DOCTOR_H
#define CLI_DOCTOR_H

#include "cli/admin.h"

enum doctor_state {
	DOCTOR_OK,
	DOCTOR_NONE,	/* not here, and nothing is wrong with that */
	DOCTOR_WARNING, /* Soma runs, with less */
	DOCTOR_MISSING, /* Soma needs it */
};

/* What a check finds. Its text is there for every state. */
struct finding {
	enum doctor_state state;
	char text[512];
	char remedy[256]; /* "": that of the row */
};

/* What checks know of each other and of the command. */
struct doctor {
	struct admin ad;
	char *data_dir;	  /* owned; where a daemon would keep everything */
	char *data_url;	  /* owned; of the daemon that runs; or NULL */
	bool daemon_runs; /* set by doctor_daemon */
	char *python;	  /* owned; set by doctor_python: what environments
			     are made with, or NULL */
	bool python_venv; /* it has what that takes */
};

struct check {
	const char *name;
	void (*fn)(struct doctor *d, struct finding *f);
	const char *use;    /* what it is for */
	const char *remedy; /* for a warning, and for what is missing */
};

/* Sets state and text. */
void finding_set(struct finding *f, enum doctor_state state, const char *fmt,
		 ...) __attribute__((format(printf, 3, 4)));
/* Adds ", text", or text when there is none yet. */
void finding_add(struct finding *f, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* doctor_kernel.c */
void doctor_kernel(struct doctor *d, struct finding *f);
void doctor_users(struct doctor *d, struct finding *f);
void doctor_cgroups(struct doctor *d, struct finding *f);
void doctor_namespaces(struct doctor *d, struct finding *f);
void doctor_seccomp(struct doctor *d, struct finding *f);
void doctor_landlock(struct doctor *d, struct finding *f);

/* doctor_machine.c */
void doctor_processors(struct doctor *d, struct finding *f);
void doctor_memory(struct doctor *d, struct finding *f);
void doctor_files(struct doctor *d, struct finding *f);
void doctor_clock(struct doctor *d, struct finding *f);
void doctor_nvidia(struct doctor *d, struct finding *f);
void doctor_neuron(struct doctor *d, struct finding *f);
void doctor_tpu(struct doctor *d, struct finding *f);

/* doctor_place.c */
void doctor_daemon(struct doctor *d, struct finding *f);
void doctor_data(struct doctor *d, struct finding *f);
void doctor_space(struct doctor *d, struct finding *f);
void doctor_listen(struct doctor *d, struct finding *f);
void doctor_admin(struct doctor *d, struct finding *f);

/* doctor_tools.c */
void doctor_python(struct doctor *d, struct finding *f);
void doctor_venv(struct doctor *d, struct finding *f);
void doctor_uv(struct doctor *d, struct finding *f);

/* doctor_onnx.c */
void doctor_onnx(struct doctor *d, struct finding *f);

#endif
