/* settings.h: the settings of a Soma itself, from one table: command line,
 * environment, file, defaults. */
#ifndef SETTINGS_SETTINGS_H
#define SETTINGS_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/args.h"
#include "core/buf.h"
#include "core/err.h"
#include "http/limits.h"
#include "http/server.h"

/* In the order of `--help` and of the manual. */
enum setting_id {
	SETTING_CONFIG,
	SETTING_DATA,
	SETTING_LISTEN,
	SETTING_ADMIN,
	SETTING_LOG_LEVEL,
	SETTING_LOG_FORMAT,
	SETTING_ACCESS_LOG,
	SETTING_STOP_TIMEOUT,
	SETTING_UPGRADE_GRACE,
	SETTING_MEMORY,
	SETTING_WARM_MEMORY,
	SETTING_MODELS_SIZE,
	SETTING_MODELS_CHECK,
#define X(field, name, value, least, most, unit, text) SETTING_##field,
	HTTP_LIMITS(X)
#undef X
		SETTING_COUNT,
};

enum setting_type {
	SETTING_IS_PATH,
	SETTING_IS_ADDRESS, /* HOST:PORT */
	SETTING_IS_WORD,    /* one of `words` */
	SETTING_IS_SWITCH,  /* on, off */
	SETTING_IS_TIME,    /* "30s"; milliseconds */
	SETTING_IS_BYTES,   /* "16Ki" */
	SETTING_IS_COUNT,
};

/* When a change of the file counts. */
enum setting_when {
	SETTING_LIVE,	 /* at SIGHUP */
	SETTING_RESTART, /* when Soma is started again */
	SETTING_OPTION,	 /* never: it is no key of the file */
};

struct setting {
	const char *name; /* "log_level" in the file, --log-level as option */
	enum setting_type type;
	enum setting_when when;
	const char *arg;	  /* "LEVEL", for help */
	const char *const *words; /* NULL-ended */
	const char *fallback;	  /* the default as text; NULL: none, or told
				     in `text` */
	uint64_t least, most;	  /* times, bytes, counts */
	const char *env;	  /* variable that sets it, or NULL */
	const char *text;
};

extern const struct setting settings_table[SETTING_COUNT];

/* Who said it; the later ones win. */
enum setting_from { FROM_DEFAULT, FROM_FILE, FROM_ENV, FROM_COMMAND_LINE };

struct setting_value {
	char *text; /* owned; NULL: nothing was said, and there is no default */
	uint64_t number; /* what a time, a size, a count or a switch is */
	enum setting_from from;
};

struct settings {
	struct setting_value values[SETTING_COUNT];
};

/* All at their defaults. */
void settings_init(struct settings *s);
void settings_fini(struct settings *s);
/* The same without what `file` said: to read it anew. */
void settings_copy_without_file(struct settings *ret, const struct settings *s);
/* Moves what is in `from` to `to`; `from` is finished. */
void settings_take(struct settings *to, struct settings *from);

/* The setting of that name ('-' and '_' are one), or NULL. */
const struct setting *settings_find(const char *name);
enum setting_id settings_id(const struct setting *row);

/* Sets one, unless a stronger source has. label is how its writer calls it:
 * "--log-level". E_INVALID: not a value for it; nothing is changed. */
int settings_set(struct settings *s, const struct setting *row,
		 const char *label, const char *value, enum setting_from from,
		 struct err *err);
/* What the environment says. */
int settings_read_env(struct settings *s, struct err *err);

/* What the text of a file says. Each problem is told in a line,
 * "soma.conf:3:1: ...", and then nothing is changed. The number of problems.
 * named: by --config; else it is the one in the data directory, and does not
 * say where that is. */
unsigned settings_read_text(struct settings *s, const char *path, bool named,
			    const char *text, size_t len,
			    void (*say)(void *data, const char *line),
			    void *data);
/* The same of the file itself. One that is not there says nothing, unless it
 * was named. */
unsigned settings_read_file(struct settings *s, const char *path, bool named,
			    void (*say)(void *data, const char *line),
			    void *data);

/* DATA/soma.conf, what is read when no file is named; free() it. */
char *settings_default_file(const char *data_dir);

/* The options of `soma serve`: a flag each, for good. */
void settings_flags(struct flag flags[ARGS_FLAGS_MAX]);
/* What was given of them. */
int settings_read_args(struct settings *s, const struct args *a,
		       struct err *err);

const char *settings_text(const struct settings *s, enum setting_id id);
uint64_t settings_number(const struct settings *s, enum setting_id id);
void settings_limits(const struct settings *s, struct http_limits *ret);
/* 1 JSON, 0 text, -1 by what standard error is. */
int settings_log_json(const struct settings *s);

/* "NAME=VALUE" a line, of what was said (not the defaults), each with a letter
 * in front for who said it: how the keeper and the daemon tell each other. */
void settings_dump(const struct settings *s, struct buf *out);
int settings_load(struct settings *s, const char *dump, struct err *err);

#endif
