/* What a pickle of tensors names and calls. Nothing is called: each has a
 * meaning here, and what has none is refused. torch/_utils.py and
 * torch/serialization.py (persistent_load) are where they come from. */
#include <string.h>

#include "core/mem.h"
#include "weights/weights_parts.h"

static const struct {
	const char *name; /* of a class of torch, without "Storage" */
	const char *dtype;
} storages[] = {
	{"Float", "F32"},  {"Half", "F16"},	    {"BFloat16", "BF16"},
	{"Double", "F64"}, {"Long", "I64"},	    {"Int", "I32"},
	{"Short", "I16"},  {"Char", "I8"},	    {"Byte", "U8"},
	{"Bool", "BOOL"},  {"ComplexFloat", "C64"}, {"ComplexDouble", "C128"},
};

static const struct {
	const char *name; /* "torch NAME" */
	const char *dtype;
} torch_dtypes[] = {
	{"float32", "F32"},
	{"float", "F32"},
	{"float16", "F16"},
	{"half", "F16"},
	{"bfloat16", "BF16"},
	{"float64", "F64"},
	{"double", "F64"},
	{"int64", "I64"},
	{"long", "I64"},
	{"int32", "I32"},
	{"int", "I32"},
	{"int16", "I16"},
	{"short", "I16"},
	{"int8", "I8"},
	{"uint8", "U8"},
	{"uint16", "U16"},
	{"uint32", "U32"},
	{"uint64", "U64"},
	{"bool", "BOOL"},
	{"complex64", "C64"},
	{"complex128", "C128"},
	{"float8_e4m3fn", "F8_E4M3"},
	{"float8_e5m2", "F8_E5M2"},
};

static int refused(struct err *err, const struct pickle *name)
{
	return err_set(err, E_UNPROCESSABLE,
		       "its data.pkl names '%.*s', which is code and no "
		       "tensor, and which Soma does not run: where you trust "
		       "the file, load it once with torch.load() and save "
		       "model.state_dict(), best as safetensors",
		       (int)name->text.n, name->text.p);
}

static int malformed(struct err *err)
{
	return err_set(err, E_UNPROCESSABLE,
		       "its data.pkl makes a tensor of what is none: it was "
		       "not written by torch.save()");
}

static bool is_named(const struct pickle *name, const char *text)
{
	return str_eq(name->text, str_of(text));
}

/* "torch FloatStorage" and the like; false: no such class. An untyped one says
 * nothing of its elements. */
static bool storage_class(const struct pickle *name, struct pickle *ret)
{
	static const char torch[] = "torch ";
	struct str text = name->text;

	if (is_named(name, "torch.storage UntypedStorage") ||
	    is_named(name, "torch UntypedStorage"))
		return true;
	if (!str_starts(text, str_of(torch)))
		return false;
	text.p += sizeof torch - 1;
	text.n -= sizeof torch - 1;
	for (size_t i = 0; i < ARRAY_LEN(storages); i++) {
		size_t n = strlen(storages[i].name);

		if (text.n == n + 7 &&
		    memcmp(text.p, storages[i].name, n) == 0 &&
		    memcmp(text.p + n, "Storage", 7) == 0) {
			ret->typed = true;
			return weights__dtype(str_of(storages[i].dtype),
					      &ret->dtype);
		}
	}
	return false;
}

static bool torch_dtype(const struct pickle *name, enum weights_dtype *ret)
{
	static const char torch[] = "torch ";
	struct str text = name->text;

	if (name->kind != PICKLE_NAME || !str_starts(text, str_of(torch)))
		return false;
	text.p += sizeof torch - 1;
	text.n -= sizeof torch - 1;
	for (size_t i = 0; i < ARRAY_LEN(torch_dtypes); i++)
		if (str_eq(text, str_of(torch_dtypes[i].name)))
			return weights__dtype(str_of(torch_dtypes[i].dtype),
					      ret);
	return false;
}

/* ('storage', class, key, location, number of elements) */
int pickle__persistent(struct arena *arena, const struct pickle *id,
		       struct pickle **ret, struct err *err)
{
	struct pickle *v = pickle__new(arena, PICKLE_STORAGE);

	if (id->kind != PICKLE_TUPLE || id->n != 5 ||
	    id->items[0]->kind != PICKLE_TEXT ||
	    !str_eq(id->items[0]->text, STR("storage")) ||
	    id->items[1]->kind != PICKLE_NAME ||
	    id->items[2]->kind != PICKLE_TEXT ||
	    id->items[4]->kind != PICKLE_INT || id->items[4]->i < 0)
		return malformed(err);
	if (!storage_class(id->items[1], v))
		return refused(err, id->items[1]);
	v->text = id->items[2]->text;
	v->i = id->items[4]->i;
	*ret = v;
	return 0;
}

/* The tuple's numbers, made once however many tensors have that shape; NULL:
 * it has others. */
static uint64_t *sizes(struct arena *arena, struct pickle *tuple)
{
	uint64_t *made;

	if (tuple->sizes)
		return tuple->sizes;
	made = arena_alloc(arena, (tuple->n + 1) * sizeof *made);
	for (size_t i = 0; i < tuple->n; i++) {
		if (tuple->items[i]->kind != PICKLE_INT ||
		    tuple->items[i]->i < 0)
			return NULL;
		made[i] = (uint64_t)tuple->items[i]->i;
	}
	tuple->sizes = made;
	return made;
}

/* (storage, first element, shape, stride, ...), and the dtype where the storage
 * has none. */
static int rebuild_tensor(struct arena *arena, const struct pickle *args,
			  const struct pickle *dtype, struct pickle **ret,
			  struct err *err)
{
	struct pickle *v = pickle__new(arena, PICKLE_TENSOR);

	if (args->n < 4 || args->items[0]->kind != PICKLE_STORAGE ||
	    args->items[1]->kind != PICKLE_INT || args->items[1]->i < 0 ||
	    args->items[2]->kind != PICKLE_TUPLE ||
	    args->items[3]->kind != PICKLE_TUPLE ||
	    args->items[2]->n != args->items[3]->n ||
	    args->items[2]->n > WEIGHTS_MAX_DIMS)
		return malformed(err);
	v->shape = sizes(arena, args->items[2]);
	v->stride = sizes(arena, args->items[3]);
	if (!v->shape || !v->stride)
		return malformed(err);
	v->storage = args->items[0];
	v->first = (uint64_t)args->items[1]->i;
	v->n_dims = args->items[2]->n;
	v->dtype = v->storage->dtype;
	if (dtype && !torch_dtype(dtype, &v->dtype))
		return malformed(err);
	if (!dtype && !v->storage->typed)
		return malformed(err);
	*ret = v;
	return 0;
}

/* An empty one: torch.save() fills it by SETITEMS. */
static int ordered_dict(struct arena *arena, const struct pickle *args,
			struct pickle **ret, struct err *err)
{
	if (args->n)
		return malformed(err);
	*ret = pickle__new(arena, PICKLE_DICT);
	return 0;
}

/* The first of its arguments, which is of that kind. */
static int first_of(const struct pickle *args, enum pickle_kind kind,
		    struct pickle **ret, struct err *err)
{
	if (!args->n || args->items[0]->kind != kind)
		return malformed(err);
	*ret = args->items[0];
	return 0;
}

int pickle__call(struct arena *arena, const struct pickle *name,
		 const struct pickle *args, struct pickle **ret,
		 struct err *err)
{
	if (is_named(name, "torch._utils _rebuild_tensor_v2") ||
	    is_named(name, "torch._utils _rebuild_tensor"))
		return rebuild_tensor(arena, args, NULL, ret, err);
	if (is_named(name, "torch._utils _rebuild_tensor_v3"))
		return args->n < 7 ? malformed(err)
				   : rebuild_tensor(arena, args, args->items[6],
						    ret, err);
	if (is_named(name, "torch._utils _rebuild_parameter") ||
	    is_named(name, "torch._utils _rebuild_parameter_with_state"))
		return first_of(args, PICKLE_TENSOR, ret, err);
	if (is_named(name, "collections OrderedDict"))
		return ordered_dict(arena, args, ret, err);
	if (is_named(name, "torch Size"))
		return first_of(args, PICKLE_TUPLE, ret, err);
	return refused(err, name);
}
