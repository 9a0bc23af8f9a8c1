#include "cli/usage.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "core/str.h"

static void add_item(struct usage *u, struct str item)
{
	size_t n = strlen(u->words);

	if (str_eq(item, STR("API")))
		u->apis = true;
	else if (str_eq(item, STR("FILE")))
		u->files = true;
	else if (str_eq(item, STR("DIR")))
		u->dirs = true;
	else if (str_eq(item, STR("COMMAND")))
		u->commands = true;
	else if (item.n > 0 && islower((unsigned char)item.p[0]))
		snprintf(u->words + n, sizeof u->words - n, "%s%.*s",
			 n ? " " : "", (int)item.n, item.p);
}

/* "[FILE|DIR]": each of its items. */
static void add_token(struct usage *u, struct str token)
{
	const char *p = token.p, *end = p + token.n;

	if (token.n > 0 && *p == '[')
		p++;
	if (end > p && end[-1] == ']')
		end--;
	while (p < end) {
		const char *bar = memchr(p, '|', (size_t)(end - p));
		const char *stop = bar ? bar : end;

		add_item(u, (struct str){p, (size_t)(stop - p)});
		p = stop + 1;
	}
}

bool usage_at(const char *text, size_t at, struct usage *ret)
{
	size_t place = 0;

	*ret = (struct usage){0};
	while (*text) {
		size_t n = strcspn(text, " ");

		if (n == 1 && *text == '|')
			place = 0; /* an alternative begins */
		else if (place++ == at)
			add_token(ret, (struct str){text, n});
		text += n;
		text += strspn(text, " ");
	}
	return ret->apis || ret->files || ret->dirs || ret->commands ||
	       *ret->words;
}
