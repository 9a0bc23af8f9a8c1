/* predictor.env: variables by value, or by a secret's name. */
#include <ctype.h>
#include <string.h>

#include "core/mem.h"
#include "core/str.h"
#include "spec/value.h"

enum {
	ENV_MAX = 1000,
	ENV_VALUE_MAX = 128 * 1024 - 1, /* of "NAME=value": the kernel's */
	SECRET_NAME_MAX = 64,
};

static bool is_variable(const char *s)
{
	if (!isalpha((unsigned char)*s) && *s != '_')
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr("_.-", *s))
			return false;
	return true;
}

static bool is_secret(const struct node *n)
{
	if (n->type != NODE_SCALAR || node_is_null(n) || !n->len ||
	    n->len > SECRET_NAME_MAX)
		return false;
	for (const char *s = n->text; *s; s++)
		if (!islower((unsigned char)*s) &&
		    !isdigit((unsigned char)*s) && *s != '-' && *s != '_')
			return false;
	return true;
}

/* {from_secret: name} */
static const char *read_secret(struct reader *r, const char *path,
			       struct node *map)
{
	const char *secret = NULL;

	for (uint32_t i = 0; i < map->n; i++) {
		struct node *key = map->pairs[i].key;
		struct node *value = map->pairs[i].value;

		if (strcmp(key->text, "from_secret") != 0)
			problem_error(r, key, path,
				      "unknown key %s; expected a text, or "
				      "{from_secret: NAME}",
				      problem_quote(r, key->text));
		else if (!is_secret(value))
			problem_error(r, value, path,
				      "from_secret: expected a secret's name, "
				      "1 to 64 of a-z, 0-9, '-' and '_', found "
				      "%s",
				      node_shown(r, value));
		else
			secret = value->text;
	}
	if (!map->n)
		problem_error(r, map, path,
			      "expected a text, or {from_secret: NAME}");
	return secret;
}

static void read_value(struct reader *r, const char *path, struct node *n,
		       struct spec_var *var)
{
	if (n->bad)
		return;
	if (n->type == NODE_MAP)
		var->from_secret = read_secret(r, path, n);
	else if (n->type == NODE_LIST)
		problem_error(r, n, path,
			      "expected a text, or {from_secret: NAME}, found "
			      "a list");
	else if (node_is_null(n))
		problem_error(r, n, path,
			      "expected a text, found nothing: write '' for an "
			      "empty one");
	else if (strlen(var->name) + 1 + n->len > ENV_VALUE_MAX)
		problem_error(r, n, path, "longer than 128 KiB");
	else
		var->value = n->text;
}

static void check_name(struct reader *r, const char *path, struct node *key)
{
	if (strncmp(key->text, "CORTEX_", 7) == 0 ||
	    strncmp(key->text, "SOMA_", 5) == 0)
		problem_error(r, key, path,
			      "names that begin with CORTEX_ or SOMA_ are "
			      "reserved");
	else if (r->predictor == FOR_COMMAND && strcmp(key->text, "PORT") == 0)
		problem_error(r, key, path,
			      "PORT is chosen by Soma: listen on it, and "
			      "remove the key");
	else if (!is_variable(key->text))
		problem_error(r, key, path,
			      "expected a variable's name: letters, digits "
			      "and '_', not beginning with a digit");
}

void value_read_env(struct reader *r, const struct key *k, struct node *n,
		    struct spec *spec)
{
	if (node_is_null(n))
		return;
	if (n->type != NODE_MAP) {
		value_unexpected(r, k, n, "a map of names and texts");
		return;
	}
	if (n->n > ENV_MAX) {
		problem_error(r, n, k->path,
			      "expected at most 1000 variables, found %u",
			      n->n);
		return;
	}
	spec->predictor.n_env = 0; /* two blocks are a problem, told later */
	spec->predictor.env =
		arena_zalloc(&r->set->arena, n->n * sizeof(struct spec_var));
	for (uint32_t i = 0; i < n->n; i++) {
		struct spec_var *var =
			&spec->predictor.env[spec->predictor.n_env++];
		struct pair *pair = &n->pairs[i];
		const char *path =
			arena_printf(&r->set->arena, "%s.%s", k->path,
				     problem_clean(r, pair->key->text));

		var->name = pair->key->text;
		check_name(r, path, pair->key);
		read_value(r, path, pair->value, var);
	}
}
