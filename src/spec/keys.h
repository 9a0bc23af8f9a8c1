/* keys.h: every key of a config file, once: the parser, its checks and the
 * defaults come from this table; the schema and the manual are made of it. */
#ifndef SPEC_KEYS_H
#define SPEC_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum key_type {
	KEY_MAP,      /* children in the table; or one of `words`, which stands
			 for the map with its defaults */
	KEY_LIST,     /* list of maps; children are "path[].x" */
	KEY_STRINGS,  /* list of texts */
	KEY_ORIGINS,  /* the same: "*", or origins as browsers name them */
	KEY_TOKENS,   /* the same: "*", or names of HTTP's */
	KEY_PERCENTS, /* list of percentages, each larger than the one before */
	KEY_JSON,     /* any map, handed on as JSON */
	KEY_ANY,      /* any value, read with the list that it is in */
	KEY_OPTIONS,  /* the same, of texts, numbers and booleans alone */
	KEY_ENV,      /* map of texts and {from_secret: name} */
	KEY_HEADERS,  /* map of HTTP headers, read as KEY_ANY is */
	KEY_COMMAND,  /* list of texts, or one text that is split */
	KEY_STRING,   /* any text */
	KEY_NAME,     /* an api's name */
	KEY_ENDPOINT, /* URL path of an api */
	KEY_URL_PATH, /* URL path inside an api */
	KEY_PROGRAM,  /* interpreter or library: absolute, or relative to the
			 project */
	KEY_FILE,     /* file of the project */
	KEY_PY_FILE,  /* the same, ending in .py */
	KEY_ENGINE,   /* one of `words`, or a file of the project, .so */
	KEY_SOURCE,   /* where a model is: source.h */
	KEY_DIR,      /* directory of the project */
	KEY_WORD,     /* one of `words`; kept as text */
	KEY_CHOICE,   /* one of `words`; kept as its position in them */
	KEY_INT,
	KEY_FLOAT,
	KEY_BOOL,
	KEY_DURATION, /* kept as ms */
	KEY_CPU,      /* cores, kept as thousandths */
	KEY_BYTES,
	KEY_SHARE, /* count or percentage: 2, 25% */
};

enum key_acts {
	WORKS,
	WARNS,	 /* accepted, checked, named in a warning: not acted on yet */
	REFUSED, /* ignoring it would change answers; its default is fine */
};

/* Kinds of api, and types of predictor, that a key is for. */
enum {
	KIND_REALTIME = 1,
	KIND_ASYNC = 2,
	KIND_BATCH = 4,
	KIND_TASK = 8,
	KIND_SPLITTER = 16,

	/* The order of predictor.type's words. */
	FOR_PYTHON = 1,
	FOR_COMMAND = 2,
	FOR_ENGINE = 4,
	FOR_ONNX = 8,
	FOR_TENSORFLOW = 16,
	FOR_ONNX_CLASS = 32, /* type onnx with a path: Cortex's class */
};

struct key {
	const char *path; /* "predictor.models.paths[].name" */
	enum key_type type;
	enum key_acts acts;
	const char *versions; /* of Cortex: "0.25-0.33"; or "soma" */
	uint8_t kinds;
	uint8_t predictors; /* FOR_ bits; 0: whatever the predictor */
	bool required;	    /* where its map is given */
	bool null_ok;	    /* null says "none", which is not the default */
	bool above_min, below_max; /* the bound itself is out of range */
	bool again;		   /* an earlier row has the same field */
	bool ranged;		   /* min and max hold; of lists: items */
	double min, max;	   /* in the unit kept; max may be infinite */
	const char *words;	   /* "debug info warning error" */
	const char *unit;	   /* for the manual */
	const char *def;	   /* as one would write it; NULL: none */
	const char *def_shown;	   /* where it follows from other keys */
	const char *example;	   /* "path: predictor.py" */
	const char *text;	   /* what it does: a sentence or two */
	const char *why; /* WARNS, REFUSED: what happens, what to do */
	size_t at, size; /* its field of struct spec; size 0: none */
};

/* A word that is known, but not served: "tensorflow". */
struct key_refusal {
	const char *path, *word, *why;
};

/* All keys in the manual's order; NULL behind the last. */
const struct key *key_at(size_t i);

/* The fields of the form that the store keeps (json.c): the keys that have
 * one, and what follows from several. NULL behind the last. */
const struct key *key_field_at(size_t i);

/* The key `name` in the map at path `parent` ("" for the api), or NULL. */
const struct key *key_child(const char *parent, const char *name);
const struct key *key_find(const char *path);

/* Whether k is directly in the map at `parent`, or in one of a list there: its
 * last word then. */
const char *key_in(const struct key *k, const char *parent);

static inline bool key_is_texts(const struct key *k)
{
	return k->type == KEY_STRINGS || k->type == KEY_ORIGINS ||
	       k->type == KEY_TOKENS;
}

/* What a misspelt key may have meant: "did you mean ..." without the head,
 * or NULL. `here` is set when it is a key of the same map. */
const struct key *key_meant(const char *parent, const char *name, bool *here);

/* Why this word of a KEY_WORD or KEY_CHOICE is refused, or NULL. */
const char *key_refusal(const struct key *k, const char *word);

/* private: the parts of the table, and fields that are no keys */
extern const struct key keys_api[], keys_predictor[], keys_pod[], keys_warmup[],
	keys_kinds[], keys_derived[];
extern const size_t keys_api_n, keys_predictor_n, keys_pod_n, keys_warmup_n,
	keys_kinds_n, keys_derived_n;
extern const struct key_refusal key_refusals[];
extern const size_t key_refusals_n;

#endif
