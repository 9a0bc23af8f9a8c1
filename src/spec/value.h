/* value.h: a key's value: read by its type, checked by its row, and kept in
 * its field. */
#ifndef SPEC_VALUE_H
#define SPEC_VALUE_H

#include "core/json.h"
#include "spec/keys.h"
#include "spec/tree.h"

union value {
	const char *s;
	int64_t i; /* also ms, thousandths of cores, bytes, positions */
	double f;
	bool b;
};

/* Scalars only. False: the problem is reported, *ret untouched. */
bool value_read(struct reader *r, const struct key *k, struct node *n,
		union value *ret);
/* Does nothing for a key without a field. */
void value_store(struct spec *spec, const struct key *k, union value v);
/* All defaults of the table; those that follow from other keys stay 0. */
void value_set_defaults(struct reader *r, struct spec *spec);

/* "expected WHAT, found ..." */
void value_unexpected(struct reader *r, const struct key *k, struct node *n,
		      const char *what);
/* Position in words; -1: none of them. */
int value_word(const char *words, const char *word);
bool value_in_range(const struct key *k, double v);
/* A bound as one would write it: "20Mi". */
const char *value_bound(struct arena *a, const struct key *k, double v);
/* " of at least 20Mi"; "" for any value. */
const char *value_range_text(struct arena *a, const struct key *k);

/* The types that are more than a scalar. */
void value_read_env(struct reader *r, const struct key *k, struct node *n,
		    struct spec *spec);
void value_read_command(struct reader *r, const struct key *k, struct node *n,
			struct spec *spec);
/* Any value as JSON; NULL: a problem is reported. Where one is in a list or a
 * map inside, that is left out. */
yyjson_mut_val *value_to_json(struct reader *r, const char *path,
			      struct node *n, yyjson_mut_doc *doc);

/* KEY_JSON and KEY_OPTIONS */
void value_read_config(struct reader *r, const struct key *k, struct node *n,
		       struct spec *spec);

/* A token of HTTP's (texts.c): a method, a header's name. */
bool texts_is_token(const char *s);

/* Lists of texts (texts.c). Where k has no field they are checked only. */
void texts_read(struct reader *r, const struct key *k, struct node *n,
		struct spec *spec);
void texts_set_default(struct reader *r, const struct key *k,
		       struct spec *spec);

/* KEY_PERCENTS: checked only (canary.c). */
void canary_read_steps(struct reader *r, const struct key *k, struct node *n);

/* models_json of a block of models (models.c). */
void models_apply(struct reader *r, struct node *api, const char *path,
		  struct spec *spec);

/* Texts with rules of their own (paths.c); n is a scalar, not null. */
bool value_read_name(struct reader *r, const struct key *k, struct node *n,
		     const char **ret);
bool value_read_endpoint(struct reader *r, const struct key *k, struct node *n,
			 const char **ret);
bool value_read_url_path(struct reader *r, const struct key *k, struct node *n,
			 const char **ret);
bool value_read_program(struct reader *r, const struct key *k, struct node *n,
			const char **ret);
bool value_read_engine(struct reader *r, const struct key *k, struct node *n,
		       const char **ret);
bool value_read_source(struct reader *r, const struct key *k, struct node *n,
		       const char **ret);
bool value_read_path(struct reader *r, const struct key *k, struct node *n,
		     const char **ret);

#endif
