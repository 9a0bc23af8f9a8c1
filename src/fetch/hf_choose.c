/* hf_choose.c: a repository of the hub often has the same weights five times,
 * for five frameworks. */
#include <string.h>

#include "core/map.h"
#include "core/mem.h"
#include "fetch/hf.h"

static bool ends(const char *path, const char *tail)
{
	size_t n = strlen(path), t = strlen(tail);

	return n >= t && strcasecmp(path + n - t, tail) == 0;
}

/* Weights as PyTorch, or Soma itself, reads them. */
static bool is_wanted(const char *path)
{
	static const char *const tails[] = {".safetensors", ".bin", ".pt",
					    ".pth", ".gguf"};

	for (size_t i = 0; i < ARRAY_LEN(tails); i++)
		if (ends(path, tails[i]))
			return true;
	return false;
}

/* The same for other frameworks. */
static bool is_foreign(const char *path)
{
	static const char *const tails[] = {
		".msgpack",   ".h5",	    ".onnx",	   ".onnx_data",
		".onnx.data", ".tflite",    ".ot",	   ".pb",
		".mlmodel",   ".mlpackage", ".ckpt.index", ".ckpt.meta",
		".keras",     ".nemo",	    ".engine",
	};
	static const char *const folders[] = {"onnx/", "openvino/", "coreml/",
					      "tf_model/", "flax/"};

	for (size_t i = 0; i < ARRAY_LEN(tails); i++)
		if (ends(path, tails[i]))
			return true;
	for (size_t i = 0; i < ARRAY_LEN(folders); i++)
		if (strncmp(path, folders[i], strlen(folders[i])) == 0)
			return true;
	return false;
}

static size_t folder_length(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? (size_t)(slash - path) : 0;
}

/* Marks the folders that have .safetensors. */
static void note_safe(const struct listing *l, struct map *safe)
{
	for (size_t i = 0; i < l->n; i++) {
		const char *path = l->files[i].path;
		cleanup_free char *folder = NULL;

		if (!ends(path, ".safetensors"))
			continue;
		folder = mem_strndup(path, folder_length(path));
		map_set(safe, folder, safe);
	}
}

static bool is_pickled(const char *path)
{
	return ends(path, ".bin") || ends(path, ".pt") || ends(path, ".pth") ||
	       ends(path, ".bin.index.json");
}

static bool is_left_out(const char *path, const struct map *safe, bool others)
{
	if (ends(path, ".gitattributes") || ends(path, ".gitignore"))
		return true;
	if (is_pickled(path) && map_getn(safe, path, folder_length(path)))
		return true;
	return others && is_foreign(path);
}

void hf__choose(struct listing *l)
{
	bool wanted = false;
	struct map safe;
	size_t kept = 0;

	map_init(&safe);
	note_safe(l, &safe);
	for (size_t i = 0; i < l->n; i++)
		if (is_wanted(l->files[i].path) &&
		    !is_foreign(l->files[i].path))
			wanted = true;
	for (size_t i = 0; i < l->n; i++)
		if (!is_left_out(l->files[i].path, &safe, wanted))
			l->files[kept++] = l->files[i];
	map_fini(&safe);
	/* A repository of nothing but notes is taken as it is. */
	if (kept > 0)
		l->n = kept;
}
