#include "serve/secret.h"

#include <string.h>

#include "core/mem.h"

static void secret_free(struct secret *v)
{
	if (!v)
		return;
	explicit_bzero(v->value, strlen(v->value));
	free(v->value);
	free(v);
}

void secret_set(struct map *secrets, const char *name, const char *value,
		int64_t updated_ms)
{
	struct secret *v = mem_alloc(sizeof *v);

	v->value = mem_strdup(value);
	v->updated_ms = updated_ms;
	secret_free(map_set(secrets, name, v));
}

void secret_remove(struct map *secrets, const char *name)
{
	secret_free(map_del(secrets, name));
}

void secrets_fini(struct map *secrets)
{
	struct secret *v;

	for (size_t i = 0; (v = map_next(secrets, &i, NULL));)
		secret_free(v);
	map_fini(secrets);
}
