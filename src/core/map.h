/* map.h: string keys to pointers; open addressing, insertion order not kept. */
#ifndef CORE_MAP_H
#define CORE_MAP_H

#include <stddef.h>
#include <stdint.h>

struct map_slot {
	char *key; /* owned; NULL: free */
	size_t key_len;
	uint64_t hash;
	void *value; /* borrowed */
};

struct map {
	struct map_slot *slots; /* owned */
	size_t cap, len;
};

void map_init(struct map *m);
void map_fini(struct map *m); /* values are the caller's */

/* The value, or NULL. */
void *map_get(const struct map *m, const char *key);
void *map_getn(const struct map *m, const char *key, size_t len);

/* Sets or replaces; returns the value that was there, or NULL. */
void *map_set(struct map *m, const char *key, void *value);

/* Removes; returns the value that was there, or NULL. */
void *map_del(struct map *m, const char *key);

/* for (size_t i = 0; (v = map_next(&m, &i, &key));) ...; no change of the
 * map while iterating. ret_key may be NULL. */
void *map_next(const struct map *m, size_t *i, const char **ret_key);

#endif
