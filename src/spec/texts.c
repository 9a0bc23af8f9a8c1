/* Lists of texts, and what browsers and HTTP make of them. */
#include <ctype.h>
#include <string.h>

#include "core/mem.h"
#include "spec/value.h"

/* scheme://host[:port], as the Origin header has it. */
static bool is_origin(const char *s)
{
	const char *host = strstr(s, "://");

	if (!host || host == s || !isalpha((unsigned char)*s))
		return false;
	for (const char *p = s; p < host; p++)
		if (!islower((unsigned char)*p) &&
		    !isdigit((unsigned char)*p) && !strchr("+-.", *p))
			return false;
	host += 3;
	for (const char *p = host; *p; p++)
		if (!islower((unsigned char)*p) &&
		    !isdigit((unsigned char)*p) && !strchr(".-_:[]", *p))
			return false;
	return *host;
}

bool texts_is_token(const char *s)
{
	for (const char *p = s; *p; p++)
		if (!isalnum((unsigned char)*p) &&
		    !strchr("!#$%&'*+-.^_`|~", *p))
			return false;
	return *s;
}

static bool item_is_good(const struct key *k, const char *s)
{
	if (k->type == KEY_STRINGS || strcmp(s, "*") == 0)
		return true;
	return k->type == KEY_ORIGINS ? is_origin(s) : texts_is_token(s);
}

static const char *item_name(const struct key *k)
{
	if (k->type == KEY_ORIGINS)
		return "'*', or an origin as browsers send it, such as "
		       "https://app.example.com: no path, lower case";
	return k->type == KEY_TOKENS ? "'*', or a name without blanks"
				     : "a text";
}

static void report_item(struct reader *r, const struct key *k,
			struct node *item, uint32_t i)
{
	problem_error(
		r, item, arena_printf(&r->set->arena, "%s[%u]", k->path, i),
		"expected %s, found %s", item_name(k), node_shown(r, item));
}

static void store(struct spec *spec, const struct key *k,
		  struct spec_texts texts)
{
	if (k->size)
		memcpy((char *)spec + k->at, &texts, sizeof texts);
}

void texts_read(struct reader *r, const struct key *k, struct node *n,
		struct spec *spec)
{
	struct spec_texts texts = {0};

	if (n->type != NODE_LIST || !value_in_range(k, n->n)) {
		value_unexpected(
			r, k, n,
			n->type == NODE_LIST && n->n
				? arena_printf(
					  &r->set->arena, "a list%s texts",
					  value_range_text(&r->set->arena, k))
				: "a list of texts");
		return;
	}
	texts.items = arena_zalloc(&r->set->arena, n->n * sizeof *texts.items);
	for (uint32_t i = 0; i < n->n; i++) {
		struct node *item = n->items[i];

		if (item->bad)
			continue;
		if (item->type != NODE_SCALAR || node_is_null(item) ||
		    !item_is_good(k, item->text))
			report_item(r, k, item, i);
		else
			texts.items[texts.n++] = item->text;
	}
	store(spec, k, texts);
}

void texts_set_default(struct reader *r, const struct key *k, struct spec *spec)
{
	struct spec_texts texts = {
		.items = arena_alloc(&r->set->arena, sizeof *texts.items),
		.n = 1,
	};

	texts.items[0] = k->def;
	store(spec, k, texts);
}
