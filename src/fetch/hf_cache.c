/* hf_cache.c: what the hub's own libraries have fetched for this user already
 * is copied, not fetched again. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/mem.h"
#include "fetch/hf.h"

static const char *env(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

static char *cache_folder(void)
{
	if (env("HF_HUB_CACHE"))
		return mem_strdup(env("HF_HUB_CACHE"));
	if (env("HF_HOME"))
		return mem_printf("%s/hub", env("HF_HOME"));
	if (env("HOME"))
		return mem_printf("%s/.cache/huggingface/hub", env("HOME"));
	return NULL;
}

/* "models--ORG--NAME" */
static char *folder_name(const char *name)
{
	const char *slash = strchr(name, '/');

	if (!slash)
		return mem_printf("models--%s", name);
	return mem_printf("models--%.*s--%s", (int)(slash - name), name,
			  slash + 1);
}

static bool is_it(const char *path, const struct source_file *f)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
	       (uint64_t)st.st_size == f->size && access(path, R_OK) == 0;
}

/* A file is there by its hash, whatever commit it came with. What has no
 * SHA-256 at the source could be anything here: it is small, and is fetched. */
static void look_for(const char *dir, struct listing *l, struct source_file *f)
{
	cleanup_free char *blob = NULL;

	if (!f->sha256[0])
		return;
	blob = mem_printf("%s/blobs/%s", dir, f->sha256);
	if (is_it(blob, f))
		f->local = arena_strdup(&l->arena, blob);
}

void hf__look_in_cache(const struct hf *own, struct listing *l)
{
	cleanup_free char *cache = cache_folder();
	cleanup_free char *folder = folder_name(own->name);
	cleanup_free char *dir = NULL;

	if (!cache)
		return;
	dir = mem_printf("%s/%s", cache, folder);
	if (access(dir, X_OK) != 0)
		return;
	for (size_t i = 0; i < l->n; i++)
		look_for(dir, l, &l->files[i]);
}
