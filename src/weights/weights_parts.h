/* weights_parts.h: what the files of this folder share. */
#ifndef WEIGHTS_WEIGHTS_PARTS_H
#define WEIGHTS_WEIGHTS_PARTS_H

#include "core/str.h"
#include "weights/weights.h"

int safetensors__parse(struct weights *w, const uint8_t *data, uint64_t size,
		       struct err *err);
int torch__parse(struct weights *w, const uint8_t *data, uint64_t size,
		 struct err *err);

/* A new one at the end, all zero. */
struct weights_tensor *weights__add(struct weights *w);
/* Elements of a shape; false: more than there can be, 2^63. */
bool weights__count(const uint64_t *shape, uint32_t n_dims, uint64_t *ret);
/* By the name that safetensors has for it; false: none has it. */
bool weights__dtype(struct str name, enum weights_dtype *ret);

/* E_UNPROCESSABLE with "tensor 'NAME' ...". */
int weights__wrong(struct err *err, const char *name, const char *what);

/* A file of an archive, stored and not packed. */
struct zip_entry {
	struct str name;       /* whole, with folders; no NUL */
	uint64_t at;	       /* its header in the archive */
	uint64_t offset, size; /* its bytes */
};

struct zip {
	struct zip_entry *entries; /* [n], by name; the arena's */
	size_t n;
};

/* The entries of a zip archive: each within it, none over another, no two of
 * one name. */
int zip__read(struct zip *z, const uint8_t *data, uint64_t size,
	      struct arena *arena, struct err *err);
/* The entry whose name is these three after one another, or NULL. */
const struct zip_entry *zip__find(const struct zip *z, struct str folder,
				  const char *inner, struct str name);

/* What a pickle was found to be made of. */
enum pickle_kind {
	PICKLE_NONE,
	PICKLE_BOOL,
	PICKLE_INT,
	PICKLE_FLOAT,
	PICKLE_TEXT,
	PICKLE_TUPLE,
	PICKLE_LIST,
	PICKLE_DICT,
	PICKLE_NAME, /* "module name" of something importable */
	PICKLE_STORAGE,
	PICKLE_TENSOR,
};

/* Small, since a file may make millions of them. */
struct pickle {
	enum pickle_kind kind;
	bool seen;		  /* of a DICT; the caller's */
	bool typed;		  /* of a STORAGE: it says its dtype */
	enum weights_dtype dtype; /* of a STORAGE that is typed, a TENSOR */
	uint32_t n_dims;	  /* of a TENSOR */
	union {
		struct {
			struct str text; /* TEXT, NAME; the key of a STORAGE */
			int64_t i; /* BOOL, INT; what a STORAGE has: elements,
				      or bytes if it is not typed */
		};
		/* TUPLE and LIST: items; DICT: keys and values by turns */
		struct {
			struct pickle **items;
			uint32_t n, cap;
			uint64_t *sizes; /* of a TUPLE, as numbers, or NULL */
		};
		/* TENSOR */
		struct {
			const struct pickle *storage;
			uint64_t first; /* element of the storage */
			const uint64_t *shape, *stride;
		};
	};
};

/* What torch.save() has pickled; all of it is the arena's. */
int pickle__read(const uint8_t *data, uint64_t size, struct arena *arena,
		 struct pickle **ret, struct err *err);
/* The value of a call or a persistent id that tensors are made of. */
int pickle__call(struct arena *arena, const struct pickle *name,
		 const struct pickle *args, struct pickle **ret,
		 struct err *err);
int pickle__persistent(struct arena *arena, const struct pickle *id,
		       struct pickle **ret, struct err *err);
struct pickle *pickle__new(struct arena *arena, enum pickle_kind kind);

#endif
