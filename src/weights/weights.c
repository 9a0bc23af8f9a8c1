#include "weights/weights.h"

#include <string.h>

#include "core/mem.h"
#include "weights/weights_parts.h"

static const struct {
	const char *name;
	uint32_t size;
} dtypes[WEIGHTS_DTYPES] = {
	[WEIGHTS_BOOL] = {"BOOL", 1},	    [WEIGHTS_U8] = {"U8", 1},
	[WEIGHTS_I8] = {"I8", 1},	    [WEIGHTS_U16] = {"U16", 2},
	[WEIGHTS_I16] = {"I16", 2},	    [WEIGHTS_U32] = {"U32", 4},
	[WEIGHTS_I32] = {"I32", 4},	    [WEIGHTS_U64] = {"U64", 8},
	[WEIGHTS_I64] = {"I64", 8},	    [WEIGHTS_F8_E4M3] = {"F8_E4M3", 1},
	[WEIGHTS_F8_E5M2] = {"F8_E5M2", 1}, [WEIGHTS_F16] = {"F16", 2},
	[WEIGHTS_BF16] = {"BF16", 2},	    [WEIGHTS_F32] = {"F32", 4},
	[WEIGHTS_F64] = {"F64", 8},	    [WEIGHTS_C64] = {"C64", 8},
	[WEIGHTS_C128] = {"C128", 16},
};

const char *weights_dtype_name(enum weights_dtype dtype)
{
	return dtypes[dtype].name;
}

uint32_t weights_dtype_size(enum weights_dtype dtype)
{
	return dtypes[dtype].size;
}

bool weights__dtype(struct str name, enum weights_dtype *ret)
{
	for (unsigned i = 0; i < WEIGHTS_DTYPES; i++)
		if (str_eq(name, str_of(dtypes[i].name))) {
			*ret = (enum weights_dtype)i;
			return true;
		}
	return false;
}

bool weights__count(const uint64_t *shape, uint32_t n_dims, uint64_t *ret)
{
	bool is_empty = false;
	uint64_t count = 1;

	/* Those that make it empty are left out, so that the others are
	 * numbers that readers can have. */
	for (uint32_t i = 0; i < n_dims; i++) {
		is_empty |= !shape[i];
		if (shape[i] && __builtin_mul_overflow(count, shape[i], &count))
			return false;
	}
	if (count > INT64_MAX)
		return false;
	*ret = is_empty ? 0 : count;
	return true;
}

struct weights_tensor *weights__add(struct weights *w)
{
	if (w->n == w->cap) {
		w->cap = w->cap ? 2 * w->cap : 64;
		w->tensors = mem_grow(w->tensors, w->cap * sizeof *w->tensors);
	}
	w->tensors[w->n] = (struct weights_tensor){0};
	return &w->tensors[w->n++];
}

static bool is_zip(const uint8_t *data, uint64_t size)
{
	return size >= 4 && memcmp(data, "PK\3\4", 4) == 0;
}

/* torch.save() before 1.6: pickles one after the other, the first of which is a
 * magic number. */
static bool is_old_torch(const uint8_t *data, uint64_t size)
{
	return size >= 3 && data[0] == 0x80 && data[1] <= 5 &&
	       (data[2] == 0x8a || data[2] == 0x95);
}

int weights__wrong(struct err *err, const char *name, const char *what)
{
	return err_set(err, E_UNPROCESSABLE, "tensor '%.200s' %s", name, what);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted, and not hashed: whoever makes the names could make them collide. */
static int check_names(const struct weights *w, struct err *err)
{
	cleanup_free const char **names = NULL;

	if (w->n < 2)
		return 0;
	names = mem_alloc(w->n * sizeof *names);
	for (size_t i = 0; i < w->n; i++)
		names[i] = w->tensors[i].name;
	qsort(names, w->n, sizeof *names, by_name);
	for (size_t i = 1; i < w->n; i++)
		if (strcmp(names[i - 1], names[i]) == 0)
			return weights__wrong(err, names[i], "is there twice");
	return 0;
}

static int parse(struct weights *w, const uint8_t *data, uint64_t size,
		 struct err *err)
{
	if (is_zip(data, size)) {
		w->kind = WEIGHTS_TORCH;
		return torch__parse(w, data, size, err);
	}
	if (is_old_torch(data, size))
		return err_set(err, E_UNPROCESSABLE,
			       "was written by torch.save() of before PyTorch "
			       "1.6, or with its old format, which cannot be "
			       "mapped: load it with torch.load(FILE, "
			       "weights_only=True) and save it anew, best as "
			       "safetensors");
	return safetensors__parse(w, data, size, err);
}

int weights_parse(struct weights *w, const void *data, uint64_t size,
		  struct err *err)
{
	struct err why = {0};

	*w = (struct weights){0};
	arena_init(&w->arena);
	if (parse(w, data, size, &why) == 0 && check_names(w, &why) == 0)
		return 0;
	weights_fini(w);
	str_tidy(why.msg, false);
	return err_set(err, why.code, "%s", why.msg);
}

void weights_fini(struct weights *w)
{
	free(w->tensors);
	arena_fini(&w->arena);
	*w = (struct weights){0};
	arena_init(&w->arena);
}
