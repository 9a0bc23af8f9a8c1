#include "core/map.h"

#include <stdlib.h>
#include <string.h>

#include "core/mem.h"

void map_init(struct map *m)
{
	*m = (struct map){0};
}

void map_fini(struct map *m)
{
	for (size_t i = 0; i < m->cap; i++)
		free(m->slots[i].key);
	free(m->slots);
	map_init(m);
}

/* FNV-1a: keys are names that an administrator chose, few and short. */
static uint64_t hash_of(const char *key, size_t len)
{
	uint64_t h = 14695981039346656037u;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)key[i]) * 1099511628211u;
	return h;
}

/* The slot of the key, or the free slot where it would go. cap > len. */
static struct map_slot *slot_of(const struct map *m, const char *key,
				size_t len, uint64_t hash)
{
	size_t i = hash & (m->cap - 1);

	for (;; i = (i + 1) & (m->cap - 1)) {
		struct map_slot *s = &m->slots[i];

		if (!s->key)
			return s;
		if (s->hash == hash && s->key_len == len &&
		    memcmp(s->key, key, len) == 0)
			return s;
	}
}

static void grow(struct map *m)
{
	struct map bigger = {.cap = m->cap ? m->cap * 2 : 16, .len = m->len};

	bigger.slots = mem_alloc(bigger.cap * sizeof *bigger.slots);
	for (size_t i = 0; i < m->cap; i++) {
		struct map_slot *s = &m->slots[i];

		if (s->key)
			*slot_of(&bigger, s->key, s->key_len, s->hash) = *s;
	}
	free(m->slots);
	*m = bigger;
}

void *map_getn(const struct map *m, const char *key, size_t len)
{
	struct map_slot *s;

	if (!m->len)
		return NULL;
	s = slot_of(m, key, len, hash_of(key, len));
	return s->key ? s->value : NULL;
}

void *map_get(const struct map *m, const char *key)
{
	return map_getn(m, key, strlen(key));
}

void *map_set(struct map *m, const char *key, void *value)
{
	size_t len = strlen(key);
	uint64_t hash = hash_of(key, len);
	struct map_slot *s;
	void *old;

	if ((m->len + 1) * 4 > m->cap * 3)
		grow(m);
	s = slot_of(m, key, len, hash);
	old = s->key ? s->value : NULL;
	if (!s->key) {
		*s = (struct map_slot){mem_strndup(key, len), len, hash, NULL};
		m->len++;
	}
	s->value = value;
	return old;
}

void *map_del(struct map *m, const char *key)
{
	size_t len = strlen(key), i, j;
	struct map_slot *s;
	void *old;

	if (!m->len)
		return NULL;
	s = slot_of(m, key, len, hash_of(key, len));
	if (!s->key)
		return NULL;
	old = s->value;
	free(s->key);
	*s = (struct map_slot){0};
	m->len--;
	/* Close the gap: whoever was pushed past it may move back. */
	i = (size_t)(s - m->slots);
	for (j = (i + 1) & (m->cap - 1); m->slots[j].key;
	     j = (j + 1) & (m->cap - 1)) {
		struct map_slot moved = m->slots[j];

		m->slots[j] = (struct map_slot){0};
		*slot_of(m, moved.key, moved.key_len, moved.hash) = moved;
	}
	return old;
}

void *map_next(const struct map *m, size_t *i, const char **ret_key)
{
	while (*i < m->cap) {
		struct map_slot *s = &m->slots[(*i)++];

		if (!s->key)
			continue;
		if (ret_key)
			*ret_key = s->key;
		return s->value;
	}
	return NULL;
}
