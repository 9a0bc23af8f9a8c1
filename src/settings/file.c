/* The settings file: a map of scalars, in YAML. */
#include <string.h>

#include "core/mem.h"
#include "core/str.h"
#include "loop/file.h"
#include "settings/settings.h"
#include "spec/tree.h"

enum { FILE_MAX = 1 << 20 };

static void unknown_key(struct reader *r, struct node *key)
{
	const char *names[SETTING_COUNT];
	const char *near;
	size_t n = 0;

	for (size_t i = 0; i < SETTING_COUNT; i++)
		if (settings_table[i].when != SETTING_OPTION)
			names[n++] = settings_table[i].name;
	near = str_nearest(key->text, names, n);
	problem_error(r, key, NULL,
		      near ? "unknown setting %s; did you mean '%s'?"
			   : "unknown setting %s; 'soma serve --help' names "
			     "those there are",
		      problem_quote(r, key->text), near);
}

static void read_pair(struct reader *r, struct pair *pair, bool named,
		      struct settings *s)
{
	const struct setting *row = settings_find(pair->key->text);
	struct node *n = pair->value;
	struct err err = {0};

	if (pair->key->bad || n->bad)
		return;
	if (!row || strcmp(row->name, pair->key->text) != 0) {
		unknown_key(r, pair->key);
		return;
	}
	if (row->when == SETTING_OPTION) {
		problem_error(r, pair->key, NULL,
			      "%s cannot be set in the file: give it to 'soma "
			      "serve' as --%s",
			      row->name, row->name);
		return;
	}
	if (settings_id(row) == SETTING_DATA && !named) {
		problem_error(r, pair->key, NULL,
			      "data cannot be set in a file that lies in the "
			      "data directory: use --data, or a file elsewhere "
			      "with --config");
		return;
	}
	if (n->type != NODE_SCALAR) {
		problem_error(r, n, NULL, "%s wants one value, found %s",
			      row->name, node_shown(r, n));
		return;
	}
	if (!n->quoted && node_is_null(n)) {
		problem_error(r, pair->key, NULL,
			      "%s has no value: give one, or remove the line",
			      row->name);
		return;
	}
	if (settings_set(s, row, row->name, n->text, FROM_FILE, &err))
		problem_error(r, n, NULL, "%s", err.msg);
}

static void read_tree(struct reader *r, struct node *root, bool named,
		      struct settings *s)
{
	if (!root || (root->type == NODE_SCALAR && node_is_null(root)))
		return; /* nothing but comments */
	if (root->type != NODE_MAP) {
		problem_error(r, root, NULL,
			      "expected lines of 'setting: value', found %s",
			      node_shown(r, root));
		return;
	}
	for (uint32_t i = 0; i < root->n; i++)
		read_pair(r, &root->pairs[i], named, s);
}

unsigned settings_read_text(struct settings *s, const char *path, bool named,
			    const char *text, size_t len,
			    void (*say)(void *data, const char *line),
			    void *data)
{
	struct spec_set set = {0};
	struct reader r = {.set = &set, .file_name = path};
	struct settings read;
	unsigned n;

	arena_init(&set.arena);
	settings_copy_without_file(&read, s);
	read_tree(&r, tree_read(&r, text, len), named, &read);
	problem_finish(&r);
	n = set.n_problems;
	for (unsigned i = 0; i < n; i++)
		say(data, spec_problem_line(&set, path, &set.problems[i]));
	spec_set_fini(&set);
	if (n)
		settings_fini(&read);
	else
		settings_take(s, &read);
	return n;
}

char *settings_default_file(const char *data_dir)
{
	return mem_printf("%s/soma.conf", data_dir);
}

unsigned settings_read_file(struct settings *s, const char *path, bool named,
			    void (*say)(void *data, const char *line),
			    void *data)
{
	cleanup_free char *text = NULL;
	struct err err = {0};
	size_t len = 0;
	int rc = file_read(path, FILE_MAX, &text, &len, &err);

	if (rc && (rc != E_NOTFOUND || named)) {
		say(data, err.msg);
		return 1;
	}
	/* What a file said that is gone is not said any more. */
	return settings_read_text(s, path, named, text ? text : "", len, say,
				  data);
}
