#include "core/args.h"

#include <assert.h>
#include <string.h>

#include "core/mem.h"
#include "core/str.h"

const struct flag args_common[] = {
	{"admin", 0, "URL", "the daemon's admin address (or SOMA_ADMIN)"},
	{"help", 'h', NULL, "this text"},
	{NULL, 0, NULL, NULL},
};

static bool has(const struct flag *own, const char *name)
{
	for (; own->name; own++)
		if (strcmp(own->name, name) == 0)
			return true;
	return false;
}

const struct flag *args_flag(const struct flag *own, size_t at)
{
	size_t n = 0;

	for (; own[n].name; n++)
		if (n == at)
			return &own[n];
	for (const struct flag *f = args_common; f->name; f++)
		if (!has(own, f->name) && n++ == at)
			return f;
	return NULL;
}

static const struct flag *find(const struct flag *own, const char *name,
			       size_t len, char letter, size_t *ret_at)
{
	const struct flag *f;

	for (size_t i = 0; (f = args_flag(own, i)); i++) {
		bool hit = letter ? f->letter == letter
				  : strlen(f->name) == len &&
					    memcmp(f->name, name, len) == 0;

		if (hit) {
			assert(i < ARGS_FLAGS_MAX);
			*ret_at = i;
			return f;
		}
	}
	return NULL;
}

static int unknown(const struct command *c, const char *arg, size_t len,
		   struct err *err)
{
	const char *names[ARGS_FLAGS_MAX];
	const struct flag *f;
	cleanup_free char *word = mem_strndup(arg, len);
	const char *near;
	size_t n = 0;

	for (size_t i = 0; (f = args_flag(c->flags, i)); i++)
		names[n++] = f->name;
	near = str_nearest(word, names, n);
	if (near)
		return err_set(err, E_INVALID,
			       "soma %s has no flag --%s; did you mean --%s?",
			       c->name, word, near);
	return err_set(err, E_INVALID,
		       "soma %s has no flag --%s; 'soma %s --help' lists them",
		       c->name, word, c->name);
}

static int parse_long(struct args *a, const struct command *c, char **argv,
		      int argc, int *i, struct err *err)
{
	const char *name = argv[*i] + 2;
	const char *eq = strchr(name, '=');
	size_t len = eq ? (size_t)(eq - name) : strlen(name), at;
	const struct flag *f = find(c->flags, name, len, 0, &at);

	if (!f)
		return unknown(c, name, len, err);
	if (!f->value && eq)
		return err_set(err, E_INVALID, "--%s takes no value", f->name);
	if (!f->value)
		a->values[at] = "";
	else if (eq)
		a->values[at] = eq + 1;
	else if (*i + 1 < argc)
		a->values[at] = argv[++*i];
	else
		return err_set(err, E_INVALID, "--%s needs a value: --%s %s",
			       f->name, f->name, f->value);
	return 0;
}

/* "-f", "-fw", "-n5", "-n 5" */
static int parse_short(struct args *a, const struct command *c, char **argv,
		       int argc, int *i, struct err *err)
{
	for (const char *p = argv[*i] + 1; *p; p++) {
		size_t at;
		const struct flag *f = find(c->flags, NULL, 0, *p, &at);

		if (!f)
			return err_set(err, E_INVALID,
				       "soma %s has no flag -%c; 'soma %s "
				       "--help' lists them",
				       c->name, *p, c->name);
		if (!f->value) {
			a->values[at] = "";
			continue;
		}
		if (p[1])
			a->values[at] = p + 1;
		else if (*i + 1 < argc)
			a->values[at] = argv[++*i];
		else
			return err_set(err, E_INVALID,
				       "-%c needs a value: -%c %s", f->letter,
				       f->letter, f->value);
		return 0;
	}
	return 0;
}

int args_parse(struct args *a, const struct command *c, int argc, char **argv,
	       struct err *err)
{
	bool only_words = false;
	int rc = 0;

	*a = (struct args){.flags = c->flags};
	for (int i = 0; rc == 0 && i < argc; i++) {
		const char *arg = argv[i];

		if (!only_words && strcmp(arg, "--") == 0)
			only_words = true;
		else if (!only_words && strncmp(arg, "--", 2) == 0)
			rc = parse_long(a, c, argv, argc, &i, err);
		else if (!only_words && arg[0] == '-' && arg[1])
			rc = parse_short(a, c, argv, argc, &i, err);
		else if (a->n_words == c->max_words)
			return err_set(err, E_INVALID,
				       "soma %s: one argument too many: '%s'; "
				       "usage: soma %s%s%s",
				       c->name, arg, c->name,
				       *c->words ? " " : "", c->words);
		else
			a->words[a->n_words++] = arg;
	}
	if (rc == 0 && a->n_words < c->min_words && !args_has(a, "help"))
		return err_set(err, E_INVALID,
			       "an argument is missing; usage: soma %s %s",
			       c->name, c->words);
	return rc;
}

const char *args_value(const struct args *a, const char *flag)
{
	size_t at;

	if (!find(a->flags, flag, strlen(flag), 0, &at))
		return NULL;
	return a->values[at];
}

bool args_has(const struct args *a, const char *flag)
{
	return args_value(a, flag) != NULL;
}

const char *args_word(const struct args *a, size_t at)
{
	return at < a->n_words ? a->words[at] : NULL;
}
