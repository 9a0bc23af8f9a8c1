#include "cli/model.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/project.h"
#include "core/json.h"
#include "core/map.h"
#include "core/mem.h"

static const char ending[] = ".onnx";
static const char *const of_python[] = {
	".py",	".ipynb", ".pkl",   ".pickle",	    ".joblib", ".pt",
	".pth", ".h5",	  ".keras", ".safetensors", ".gguf",   ".bin",
};

static bool ends_in(const char *path, const char *end)
{
	size_t n = strlen(path), m = strlen(end);

	return n > m && strcasecmp(path + n - m, end) == 0;
}

bool model_is(const char *path)
{
	return ends_in(path, ending);
}

bool model_wants_class(const char *path)
{
	for (size_t i = 0; i < ARRAY_LEN(of_python); i++)
		if (ends_in(path, of_python[i]))
			return true;
	return false;
}

char *model_config(const char *file)
{
	cleanup_free char *stem =
		mem_strndup(file, strlen(file) - (sizeof ending - 1));
	cleanup_free char *name = project_name(stem);
	struct buf text;

	buf_init(&text, 4 * PATH_MAX);
	buf_addf(&text, "- name: %s\n  predictor: {type: onnx, model: ", name);
	json_quote(&text, str_of(file)); /* JSON is YAML */
	buf_adds(&text, "}\n");
	return buf_take(&text, NULL);
}

/* protobuf's length before a text. The text, or NULL: it is none. */
static const char *read_length(const char *at, const char *end, size_t *ret)
{
	uint64_t n = 0;

	for (unsigned shift = 0; at < end && shift < 28; shift += 7) {
		unsigned char c = (unsigned char)*at++;

		n |= (uint64_t)(c & 0x7f) << shift;
		if (c & 0x80)
			continue;
		*ret = (size_t)n;
		return n > 0 && n < PATH_MAX && n <= (size_t)(end - at) ? at
									: NULL;
	}
	return NULL;
}

static bool leads_out(const char *name)
{
	size_t n;

	if (*name == '/')
		return true;
	for (; *name; name += n + (name[n] == '/')) {
		n = strcspn(name, "/");
		if (n == 2 && name[0] == '.' && name[1] == '.')
			return true;
	}
	return false;
}

/*
 * A tensor whose bytes are elsewhere has the entry {key: "location", value:
 * FILE}. Serialised, that is this mark, a length and the name, wherever in the
 * file it stands: no more of the format needs to be known.
 */
static int scan(const char *text, size_t len, char ***names, size_t *n,
		struct err *err)
{
	static const char mark[] = "\x0a\x08location\x12";
	const char *at = text, *end = text + len;
	struct map seen;
	int rc = 0;

	map_init(&seen);
	while (rc == 0 &&
	       (at = memmem(at, (size_t)(end - at), mark, sizeof mark - 1))) {
		size_t size;
		const char *name =
			read_length(at + sizeof mark - 1, end, &size);
		cleanup_free char *copy = NULL;

		at += sizeof mark - 1;
		if (!name || memchr(name, '\0', size))
			continue;
		copy = mem_strndup(name, size);
		if (leads_out(copy))
			rc = err_set(err, E_INVALID,
				     "the model keeps data in '%.200s', which "
				     "is not in its folder: save it with its "
				     "data beside it",
				     copy);
		else if (!map_set(&seen, copy, names)) {
			*names = mem_grow(*names, (*n + 1) * sizeof **names);
			(*names)[(*n)++] = mem_take(&copy);
		}
	}
	map_fini(&seen);
	return rc;
}

int model_data(const char *path, char ***ret, size_t *ret_n, struct err *err)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	char **names = NULL;
	struct stat st;
	size_t n = 0;
	void *text;
	int rc;

	if (fd < 0 || fstat(fd, &st) != 0)
		return err_sys(err, errno, "cannot read '%s'", path);
	if (st.st_size == 0)
		return err_set(err, E_INVALID,
			       "'%s' is empty: it is no ONNX model", path);
	text = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (text == MAP_FAILED)
		return err_sys(err, errno, "cannot read '%s'", path);
	rc = scan(text, (size_t)st.st_size, &names, &n, err);
	munmap(text, (size_t)st.st_size);
	if (rc != 0) {
		model_data_free(names, n);
		return rc;
	}
	*ret = names;
	*ret_n = n;
	return 0;
}

void model_data_free(char **names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(names[i]);
	free(names);
}
