/* A pickle machine that knows the opcodes which containers of tensors are made
 * of, and calls nothing: what a pickle names and calls is pickle_calls.c's to
 * know, and refused otherwise. pickletools.py says what each opcode means. */
#include <string.h>

#include "core/mem.h"
#include "weights/pickle_parts.h"

enum opcode {
	OP_MARK = '(',
	OP_STOP = '.',
	OP_POP = '0',
	OP_BINFLOAT = 'G',
	OP_BININT = 'J',
	OP_BININT1 = 'K',
	OP_BININT2 = 'M',
	OP_NONE = 'N',
	OP_BINPERSID = 'Q',
	OP_REDUCE = 'R',
	OP_BINUNICODE = 'X',
	OP_EMPTY_LIST = ']',
	OP_APPEND = 'a',
	OP_BUILD = 'b',
	OP_GLOBAL = 'c',
	OP_APPENDS = 'e',
	OP_BINGET = 'h',
	OP_LONG_BINGET = 'j',
	OP_BINPUT = 'q',
	OP_LONG_BINPUT = 'r',
	OP_SETITEM = 's',
	OP_TUPLE = 't',
	OP_SETITEMS = 'u',
	OP_EMPTY_DICT = '}',
	OP_EMPTY_TUPLE = ')',
	OP_PROTO = 0x80,
	OP_TUPLE1 = 0x85,
	OP_TUPLE2 = 0x86,
	OP_TUPLE3 = 0x87,
	OP_NEWTRUE = 0x88,
	OP_NEWFALSE = 0x89,
	OP_LONG1 = 0x8a,
	OP_SHORT_BINUNICODE = 0x8c,
	OP_STACK_GLOBAL = 0x93,
	OP_MEMOIZE = 0x94,
	OP_FRAME = 0x95,
};

struct pickle *pickle__new(struct arena *arena, enum pickle_kind kind)
{
	struct pickle *v = arena_zalloc(arena, sizeof *v);

	v->kind = kind;
	return v;
}

static void add(struct arena *arena, struct pickle *list, struct pickle *item)
{
	if (list->n == list->cap) {
		uint32_t cap = list->cap ? 2 * list->cap : 8;
		struct pickle **items =
			arena_alloc(arena, cap * sizeof(struct pickle *));

		if (list->n)
			memcpy(items, list->items, list->n * sizeof *items);
		list->items = items;
		list->cap = cap;
	}
	list->items[list->n++] = item;
}

/* ---- what stands for itself ---- */

static int push_text(struct machine *m, unsigned length_bytes)
{
	struct pickle *v = pickle__new(m->arena, PICKLE_TEXT);
	const uint8_t *p;
	uint64_t n;

	if (!machine__take_number(m, length_bytes, &n) ||
	    !machine__take(m, n, &p))
		return machine__broken(m, "ends within a text");
	v->text = (struct str){(const char *)p, (size_t)n};
	return machine__push(m, v);
}

static int push_int(struct machine *m, unsigned bytes, bool is_signed)
{
	uint64_t v;

	if (!machine__take_number(m, bytes, &v))
		return machine__broken(m, "ends within a number");
	if (is_signed && bytes < 8 && v >> (8 * bytes - 1))
		v -= UINT64_C(1) << (8 * bytes);
	return machine__push_new(m, PICKLE_INT, (int64_t)v);
}

static int push_long(struct machine *m)
{
	uint64_t bytes;

	if (!machine__take_number(m, 1, &bytes))
		return machine__broken(m, "ends within a number");
	if (bytes > 8)
		return machine__broken(m, "has a number of more than 64 bits");
	return bytes ? push_int(m, (unsigned)bytes, true)
		     : machine__push_new(m, PICKLE_INT, 0);
}

static int push_tuple(struct machine *m, size_t n)
{
	struct pickle *v = machine__pop_list(m, PICKLE_TUPLE, n);

	return v ? machine__push(m, v)
		 : machine__broken(m, "takes what is not there");
}

/* ---- what is made ---- */

/* "module name". Names are compared whole, so that nothing hides behind a NUL.
 */
static int push_name(struct machine *m, struct str module, struct str name)
{
	struct pickle *v = pickle__new(m->arena, PICKLE_NAME);
	char *text;

	if (module.n > NAME_MAX_BYTES || name.n > NAME_MAX_BYTES)
		return machine__broken(m, "names something of more than 128 "
					  "bytes");
	text = arena_alloc(m->arena, module.n + 1 + name.n);
	memcpy(text, module.p, module.n);
	text[module.n] = ' ';
	memcpy(text + module.n + 1, name.p, name.n);
	v->text = (struct str){text, module.n + 1 + name.n};
	return machine__push(m, v);
}

static int global(struct machine *m)
{
	struct str module, name;

	if (!machine__take_line(m, &module) || !machine__take_line(m, &name))
		return machine__broken(m, "ends within a name");
	return push_name(m, module, name);
}

static int stack_global(struct machine *m)
{
	const struct pickle *name = machine__pop(m), *module = machine__pop(m);

	if (!name || !module || name->kind != PICKLE_TEXT ||
	    module->kind != PICKLE_TEXT)
		return machine__broken(m, "names something without a name");
	return push_name(m, module->text, name->text);
}

static int reduce(struct machine *m)
{
	const struct pickle *args = machine__pop(m), *name = machine__pop(m);
	struct pickle *v;

	if (!args || !name || args->kind != PICKLE_TUPLE ||
	    name->kind != PICKLE_NAME)
		return machine__broken(m, "calls what cannot be called");
	if (pickle__call(m->arena, name, args, &v, m->err))
		return m->err->code;
	return machine__push(m, v);
}

static int persistent(struct machine *m)
{
	const struct pickle *id = machine__pop(m);
	struct pickle *v;

	if (!id)
		return machine__broken(m, "takes what is not there");
	if (pickle__persistent(m->arena, id, &v, m->err))
		return m->err->code;
	return machine__push(m, v);
}

/* The attributes of an OrderedDict (versions of modules) are of no use here. */
static int build(struct machine *m)
{
	const struct pickle *state = machine__pop(m), *of = machine__top(m);

	if (!state || !of)
		return machine__broken(m, "takes what is not there");
	if (of->kind != PICKLE_DICT)
		return err_set(m->err, E_UNPROCESSABLE,
			       "its data.pkl sets the state of an object, "
			       "which is no tensor: save model.state_dict(), "
			       "or safetensors");
	return 0;
}

static int append(struct machine *m, struct pickle *const *items, size_t n)
{
	struct pickle *list = machine__top(m);

	if (!list || list->kind != PICKLE_LIST)
		return machine__broken(m, "appends to what is no list");
	for (size_t i = 0; i < n; i++)
		add(m->arena, list, items[i]);
	return 0;
}

static int append_one(struct machine *m)
{
	struct pickle *item = machine__pop(m);

	return item ? append(m, &item, 1)
		    : machine__broken(m, "takes what is not there");
}

static int append_marked(struct machine *m)
{
	struct pickle *v = machine__pop_marked(m, PICKLE_TUPLE);

	return v ? append(m, v->items, v->n)
		 : machine__broken(m, "has no mark");
}

static int set_items(struct machine *m, struct pickle *const *items, size_t n)
{
	struct pickle *dict = machine__top(m);

	if (!dict || dict->kind != PICKLE_DICT || n % 2)
		return machine__broken(m, "sets items of what is no dict");
	for (size_t i = 0; i < n; i++)
		add(m->arena, dict, items[i]);
	return 0;
}

static int set_item(struct machine *m)
{
	struct pickle *value = machine__pop(m), *key = machine__pop(m);
	struct pickle *const both[] = {key, value};

	return key && value ? set_items(m, both, ARRAY_LEN(both))
			    : machine__broken(m, "takes what is not there");
}

static int set_marked(struct machine *m)
{
	struct pickle *v = machine__pop_marked(m, PICKLE_TUPLE);

	return v ? set_items(m, v->items, v->n)
		 : machine__broken(m, "has no mark");
}

static int push_marked(struct machine *m, enum pickle_kind kind)
{
	struct pickle *v = machine__pop_marked(m, kind);

	return v ? machine__push(m, v) : machine__broken(m, "has no mark");
}

/* How much follows, which is read on all the same. */
static int frame(struct machine *m)
{
	uint64_t n;

	if (!machine__take_number(m, 8, &n) || n > (uint64_t)(m->end - m->p))
		return machine__broken(m, "has a frame that ends behind it");
	return 0;
}

static int skip(struct machine *m, uint64_t n)
{
	const uint8_t *p;

	return machine__take(m, n, &p)
		       ? 0
		       : machine__broken(m, "ends within an opcode");
}

/* Whole numbers and texts, and what else stands for itself. */
static int constant(struct machine *m, uint8_t op)
{
	switch (op) {
	case OP_NONE:
		return machine__push_new(m, PICKLE_NONE, 0);
	case OP_NEWTRUE:
		return machine__push_new(m, PICKLE_BOOL, 1);
	case OP_NEWFALSE:
		return machine__push_new(m, PICKLE_BOOL, 0);
	case OP_BININT:
		return push_int(m, 4, true);
	case OP_BININT1:
		return push_int(m, 1, false);
	case OP_BININT2:
		return push_int(m, 2, false);
	case OP_LONG1:
		return push_long(m);
	case OP_BINFLOAT:
		return skip(m, 8) ? m->err->code
				  : machine__push_new(m, PICKLE_FLOAT, 0);
	case OP_SHORT_BINUNICODE:
		return push_text(m, 1);
	case OP_BINUNICODE:
		return push_text(m, 4);
	default:
		return err_set(m->err, E_UNPROCESSABLE,
			       "its data.pkl has the opcode 0x%02x, which no "
			       "tensor is made of and which Soma does not "
			       "run: save model.state_dict(), or safetensors",
			       op);
	}
}

static int container(struct machine *m, uint8_t op)
{
	switch (op) {
	case OP_EMPTY_LIST:
		return machine__push_new(m, PICKLE_LIST, 0);
	case OP_EMPTY_DICT:
		return machine__push_new(m, PICKLE_DICT, 0);
	case OP_EMPTY_TUPLE:
		return machine__push_new(m, PICKLE_TUPLE, 0);
	case OP_TUPLE:
		return push_marked(m, PICKLE_TUPLE);
	case OP_TUPLE1:
		return push_tuple(m, 1);
	case OP_TUPLE2:
		return push_tuple(m, 2);
	case OP_TUPLE3:
		return push_tuple(m, 3);
	case OP_APPEND:
		return append_one(m);
	case OP_APPENDS:
		return append_marked(m);
	case OP_SETITEM:
		return set_item(m);
	case OP_SETITEMS:
		return set_marked(m);
	default:
		return constant(m, op);
	}
}

static int step(struct machine *m, uint8_t op)
{
	switch (op) {
	case OP_PROTO:
		return skip(m, 1);
	case OP_FRAME:
		return frame(m);
	case OP_MARK:
		return machine__push(m, NULL);
	case OP_POP:
		return machine__pop(m)
			       ? 0
			       : machine__broken(m, "takes what is not there");
	case OP_BINPUT:
		return machine__memo_put(m, 1);
	case OP_LONG_BINPUT:
		return machine__memo_put(m, 4);
	case OP_MEMOIZE:
		return machine__memoize(m);
	case OP_BINGET:
		return machine__memo_get(m, 1);
	case OP_LONG_BINGET:
		return machine__memo_get(m, 4);
	case OP_GLOBAL:
		return global(m);
	case OP_STACK_GLOBAL:
		return stack_global(m);
	case OP_REDUCE:
		return reduce(m);
	case OP_BINPERSID:
		return persistent(m);
	case OP_BUILD:
		return build(m);
	default:
		return container(m, op);
	}
}

int pickle__read(const uint8_t *data, uint64_t size, struct arena *arena,
		 struct pickle **ret, struct err *err)
{
	struct err here = {0};
	struct machine m = {.p = data,
			    .end = data + size,
			    .arena = arena,
			    .err = err ? err : &here};
	unsigned steps = 0;
	int rc = 0;

	*ret = NULL;
	while (!rc && !*ret) {
		uint8_t op;

		if (m.p == m.end) {
			rc = machine__broken(&m, "has no end");
		} else if (++steps > STEPS_MAX) {
			rc = machine__broken(&m, "is made of too much");
		} else if ((op = *m.p++) != OP_STOP) {
			rc = step(&m, op);
		} else {
			*ret = machine__pop(&m);
			rc = *ret ? 0 : machine__broken(&m, "is nothing");
		}
	}
	free(m.stack);
	free(m.memo);
	return rc;
}
