/* pickle_parts.h: the machine that reads a pickle: its bytes, stack and memo.
 */
#ifndef WEIGHTS_PICKLE_PARTS_H
#define WEIGHTS_PICKLE_PARTS_H

#include "weights/weights_parts.h"

/* What takes more is no state dict: a hundred thousand tensors take less. What
 * a step makes is of a bounded size, so memory is bounded with them. */
enum {
	STACK_MAX = 1 << 22,
	MEMO_MAX = 1 << 22,
	STEPS_MAX = 1 << 22,
	NAME_MAX_BYTES = 128, /* of a module, and of what it has */
};

struct machine {
	const uint8_t *p, *end;
	struct arena *arena;
	struct pickle **stack; /* owned; a NULL is a mark */
	size_t n, cap;
	struct pickle **memo; /* owned */
	size_t n_memo;	      /* places */
	size_t n_put;	      /* of them that have something */
	struct err *err;
};

/* Whatever fails says why in m->err. */
int machine__broken(struct machine *m, const char *what);

/* ---- bytes; false: there are fewer ---- */

bool machine__take(struct machine *m, uint64_t n, const uint8_t **ret);
/* Little-endian. */
bool machine__take_number(struct machine *m, unsigned bytes, uint64_t *ret);
/* Without its newline. */
bool machine__take_line(struct machine *m, struct str *ret);

/* ---- the stack ---- */

int machine__push(struct machine *m, struct pickle *v);
int machine__push_new(struct machine *m, enum pickle_kind kind, int64_t i);
/* NULL: there is none, or a mark. */
struct pickle *machine__top(const struct machine *m);
struct pickle *machine__pop(struct machine *m);
/* The last n, or those above the last mark, which goes with them, as a list of
 * `kind`; NULL: there is no such thing. */
struct pickle *machine__pop_list(struct machine *m, enum pickle_kind kind,
				 size_t n);
struct pickle *machine__pop_marked(struct machine *m, enum pickle_kind kind);

/* ---- the memo ---- */

int machine__memo_put(struct machine *m, unsigned bytes);
int machine__memo_get(struct machine *m, unsigned bytes);
/* Protocol 4 puts by turns: into the next place behind those that are there. */
int machine__memoize(struct machine *m);

#endif
