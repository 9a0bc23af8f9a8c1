#include "box/env.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/mem.h"

enum { ENV_MAX = 8 << 20 };

static void add(struct env *e, char *var)
{
	e->var = mem_grow(e->var, (e->n + 2) * sizeof *e->var);
	e->var[e->n++] = var;
	e->var[e->n] = NULL;
}

void env_copy(struct env *e, char *const *vars)
{
	e->var = mem_alloc(sizeof *e->var);
	for (; *vars; vars++)
		add(e, mem_strdup(*vars));
}

static int read_all(struct buf *text, int fd)
{
	/* Whoever wrote a file left its offset at the end. */
	lseek(fd, 0, SEEK_SET);
	for (;;) {
		char piece[4096];
		ssize_t n = read(fd, piece, sizeof piece);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		if (n == 0)
			return text->full ? E2BIG : 0;
		buf_add(text, piece, (size_t)n);
	}
}

int env_read(struct env *e, int fd)
{
	struct buf text;
	int sys;

	buf_init(&text, ENV_MAX);
	sys = read_all(&text, fd);
	if (!sys) {
		const char *p = buf_cstr(&text), *end = p + text.len;

		e->var = mem_alloc(sizeof *e->var);
		for (; p < end; p += strlen(p) + 1)
			if (strchr(p, '='))
				add(e, mem_strdup(p));
	}
	buf_fini(&text);
	return sys;
}

void env_fini(struct env *e)
{
	for (size_t i = 0; i < e->n; i++)
		free(e->var[i]);
	free(e->var);
	*e = (struct env){0};
}

static bool is_named(const char *var, const char *name)
{
	size_t n = strlen(name);

	return strncmp(var, name, n) == 0 && var[n] == '=';
}

const char *env_get(const struct env *e, const char *name)
{
	for (size_t i = 0; i < e->n; i++)
		if (is_named(e->var[i], name))
			return e->var[i] + strlen(name) + 1;
	return NULL;
}

void env_set(struct env *e, const char *name, const char *value, bool replace)
{
	if (!replace && env_get(e, name))
		return;
	env_unset(e, name);
	add(e, mem_printf("%s=%s", name, value));
}

/* All of that name: programs differ in which one they take. */
void env_unset(struct env *e, const char *name)
{
	size_t kept = 0;

	for (size_t i = 0; i < e->n; i++) {
		if (is_named(e->var[i], name))
			free(e->var[i]);
		else
			e->var[kept++] = e->var[i];
	}
	e->n = kept;
	if (e->var)
		e->var[kept] = NULL;
}
