/* Finding keys in the table, and what a misspelt one may have meant. */
#include <string.h>

#include "core/mem.h"
#include "core/str.h"
#include "spec/keys.h"

struct part {
	const struct key *keys;
	const size_t *n;
};

static const struct part parts[] = {
	{keys_api, &keys_api_n},
	{keys_predictor, &keys_predictor_n},
	{keys_pod, &keys_pod_n},
	{keys_warmup, &keys_warmup_n},
	{keys_kinds, &keys_kinds_n},
	{keys_derived, &keys_derived_n}, /* fields only */
};

static const struct key *nth(size_t i, size_t n_parts)
{
	for (size_t p = 0; p < n_parts; p++) {
		if (i < *parts[p].n)
			return &parts[p].keys[i];
		i -= *parts[p].n;
	}
	return NULL;
}

const struct key *key_at(size_t i)
{
	return nth(i, ARRAY_LEN(parts) - 1);
}

const struct key *key_field_at(size_t i)
{
	return nth(i, ARRAY_LEN(parts));
}

const struct key *key_find(const char *path)
{
	const struct key *k;

	for (size_t i = 0; (k = key_at(i)); i++)
		if (strcmp(k->path, path) == 0)
			return k;
	return NULL;
}

const char *key_in(const struct key *k, const char *parent)
{
	size_t n = strlen(parent);
	const char *last = k->path;

	if (n) {
		if (strncmp(k->path, parent, n) != 0 || k->path[n] != '.')
			return NULL;
		last += n + 1;
	}
	return strchr(last, '.') ? NULL : last;
}

const struct key *key_child(const char *parent, const char *name)
{
	const struct key *k;

	for (size_t i = 0; (k = key_at(i)); i++) {
		const char *last = key_in(k, parent);

		if (last && strcmp(last, name) == 0)
			return k;
	}
	return NULL;
}

static const char *last_word(const struct key *k)
{
	const char *dot = strrchr(k->path, '.');

	return dot ? dot + 1 : k->path;
}

/* Right word, wrong map: the first that works, in the table's order. */
static const struct key *elsewhere(const char *name)
{
	const struct key *k;

	for (size_t i = 0; (k = key_at(i)); i++)
		if (k->acts != REFUSED && strcmp(last_word(k), name) == 0)
			return k;
	return NULL;
}

/* "processes" is part of processes_per_replica. */
static bool has_word(const char *key, const char *name)
{
	size_t n = strlen(name);
	const char *at = key;

	while (n >= 3 && (at = strstr(at, name))) {
		bool begins = at == key || at[-1] == '_';
		bool ends = !at[n] || at[n] == '_';

		if (begins && ends)
			return true;
		at++;
	}
	return false;
}

const struct key *key_meant(const char *parent, const char *name, bool *here)
{
	enum { NEAR_MAX = 64 };
	const char *names[NEAR_MAX], *near;
	const struct key *k;
	size_t n = 0;

	*here = false;
	k = elsewhere(name);
	if (k)
		return k;
	*here = true;
	for (size_t i = 0; (k = key_at(i)) && n < NEAR_MAX; i++) {
		const char *last = key_in(k, parent);

		if (last && k->acts != REFUSED)
			names[n++] = last;
	}
	near = str_nearest(name, names, n);
	if (near)
		return key_child(parent, near);
	for (size_t i = 0; i < n; i++)
		if (has_word(names[i], name))
			return key_child(parent, names[i]);
	return NULL;
}

const char *key_refusal(const struct key *k, const char *word)
{
	for (size_t i = 0; i < key_refusals_n; i++)
		if (strcmp(key_refusals[i].path, k->path) == 0 &&
		    strcmp(key_refusals[i].word, word) == 0)
			return key_refusals[i].why;
	return NULL;
}
