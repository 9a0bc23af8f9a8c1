#include <string.h>

#include "core/mem.h"
#include "weights/pickle_parts.h"

int machine__broken(struct machine *m, const char *what)
{
	return err_set(m->err, E_UNPROCESSABLE,
		       "its data.pkl %s: it was cut off, or not written by "
		       "torch.save()",
		       what);
}

/* ---- bytes ---- */

bool machine__take(struct machine *m, uint64_t n, const uint8_t **ret)
{
	if ((uint64_t)(m->end - m->p) < n)
		return false;
	*ret = m->p;
	m->p += n;
	return true;
}

bool machine__take_number(struct machine *m, unsigned bytes, uint64_t *ret)
{
	const uint8_t *p;

	if (!machine__take(m, bytes, &p))
		return false;
	*ret = 0;
	while (bytes-- > 0)
		*ret = *ret << 8 | p[bytes];
	return true;
}

bool machine__take_line(struct machine *m, struct str *ret)
{
	/* A longer one is no name: thousands of opcodes are not to look
	 * through all that follows, each of them. */
	size_t n = MIN((size_t)(m->end - m->p), (size_t)NAME_MAX_BYTES + 1);
	const uint8_t *end = memchr(m->p, '\n', n);

	if (!end)
		return false;
	*ret = (struct str){(const char *)m->p, (size_t)(end - m->p)};
	m->p = end + 1;
	return true;
}

/* ---- the stack ---- */

int machine__push(struct machine *m, struct pickle *v)
{
	if (m->n == STACK_MAX)
		return machine__broken(m, "holds too much at once");
	if (m->n == m->cap) {
		m->cap = m->cap ? 2 * m->cap : 256;
		m->stack = mem_grow(m->stack, m->cap * sizeof *m->stack);
	}
	m->stack[m->n++] = v;
	return 0;
}

int machine__push_new(struct machine *m, enum pickle_kind kind, int64_t i)
{
	struct pickle *v = pickle__new(m->arena, kind);

	v->i = i;
	return machine__push(m, v);
}

struct pickle *machine__top(const struct machine *m)
{
	return m->n ? m->stack[m->n - 1] : NULL;
}

struct pickle *machine__pop(struct machine *m)
{
	struct pickle *v = machine__top(m);

	if (v)
		m->n--;
	return v;
}

struct pickle *machine__pop_list(struct machine *m, enum pickle_kind kind,
				 size_t n)
{
	struct pickle *list;

	if (m->n < n)
		return NULL;
	for (size_t i = m->n - n; i < m->n; i++)
		if (!m->stack[i])
			return NULL;
	list = pickle__new(m->arena, kind);
	m->n -= n;
	if (!n)
		return list;
	list->items = arena_alloc(m->arena, n * sizeof *list->items);
	memcpy(list->items, m->stack + m->n, n * sizeof *list->items);
	list->n = list->cap = (uint32_t)n;
	return list;
}

struct pickle *machine__pop_marked(struct machine *m, enum pickle_kind kind)
{
	size_t at = m->n;
	struct pickle *list;

	while (at && m->stack[at - 1])
		at--;
	if (!at)
		return NULL;
	list = machine__pop_list(m, kind, m->n - at);
	m->n--; /* the mark */
	return list;
}

/* ---- the memo ---- */

static int memo_set(struct machine *m, uint64_t at)
{
	if (!machine__top(m))
		return machine__broken(m, "takes what is not there");
	if (at >= MEMO_MAX)
		return machine__broken(m, "remembers too much");
	if (at >= m->n_memo) {
		size_t n = MAX(2 * m->n_memo, (size_t)at + 64);

		m->memo = mem_grow(m->memo, n * sizeof *m->memo);
		memset(m->memo + m->n_memo, 0,
		       (n - m->n_memo) * sizeof *m->memo);
		m->n_memo = n;
	}
	m->n_put += !m->memo[at];
	m->memo[at] = machine__top(m);
	return 0;
}

int machine__memo_put(struct machine *m, unsigned bytes)
{
	uint64_t at;

	return machine__take_number(m, bytes, &at)
		       ? memo_set(m, at)
		       : machine__broken(m, "ends within a number");
}

int machine__memo_get(struct machine *m, unsigned bytes)
{
	uint64_t at;

	if (!machine__take_number(m, bytes, &at))
		return machine__broken(m, "ends within a number");
	if (at >= m->n_memo || !m->memo[at])
		return machine__broken(m, "recalls what it never had");
	return machine__push(m, m->memo[at]);
}

int machine__memoize(struct machine *m)
{
	return memo_set(m, m->n_put);
}
