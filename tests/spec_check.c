/*
 * The parser for tests in Python: reads config files from standard input, each
 * ended by a NUL byte, and answers each by one line of JSON: {"errors": [...],
 * "warnings": [...]}. No file of a project is looked for. With --keys it
 * prints the table of keys instead.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/mem.h"
#include "spec/keys.h"
#include "spec/spec.h"

static void print_doc(yyjson_mut_doc *doc)
{
	cleanup_free char *text = json_write(doc, NULL);

	puts(text);
}

static void add_text(yyjson_mut_doc *doc, yyjson_mut_val *obj, const char *name,
		     const char *text)
{
	if (text)
		yyjson_mut_obj_add_str(doc, obj, name, text);
}

static void print_keys(void)
{
	static const char *const acts[] = {
		[WORKS] = "works", [WARNS] = "warns", [REFUSED] = "refused"};
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *list = yyjson_mut_arr(doc);
	const struct key *k;

	yyjson_mut_doc_set_root(doc, list);
	for (size_t i = 0; (k = key_at(i)); i++) {
		yyjson_mut_val *obj = yyjson_mut_arr_add_obj(doc, list);

		yyjson_mut_obj_add_str(doc, obj, "path", k->path);
		yyjson_mut_obj_add_str(doc, obj, "versions", k->versions);
		yyjson_mut_obj_add_str(doc, obj, "acts", acts[k->acts]);
		yyjson_mut_obj_add_int(doc, obj, "kinds", k->kinds);
		yyjson_mut_obj_add_int(doc, obj, "predictors", k->predictors);
		yyjson_mut_obj_add_bool(doc, obj, "required", k->required);
		add_text(doc, obj, "why", k->why);
		add_text(doc, obj, "def", k->def);
		add_text(doc, obj, "example", k->example);
		add_text(doc, obj, "text", k->text);
	}
	print_doc(doc);
}

static void check(const char *yaml, size_t len)
{
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc), *lists[2];
	struct spec_set set;

	yyjson_mut_doc_set_root(doc, root);
	lists[PROBLEM_ERROR] = yyjson_mut_obj_add_arr(doc, root, "errors");
	lists[PROBLEM_WARNING] = yyjson_mut_obj_add_arr(doc, root, "warnings");
	spec_parse(&set, "soma.yaml", yaml, len, NULL);
	for (uint32_t i = 0; i < set.n_problems; i++) {
		const struct problem *p = &set.problems[i];

		yyjson_mut_arr_add_strcpy(
			doc, lists[p->level],
			spec_problem_line(&set, "soma.yaml", p));
	}
	spec_set_fini(&set);
	print_doc(doc);
}

int main(int argc, char **argv)
{
	cleanup_free char *yaml = NULL;
	size_t room = 0;
	ssize_t n;

	if (argc > 1 && strcmp(argv[1], "--keys") == 0) {
		print_keys();
		return 0;
	}
	while ((n = getdelim(&yaml, &room, 0, stdin)) > 0) {
		check(yaml, (size_t)n - (yaml[n - 1] == 0));
		fflush(stdout);
	}
	return 0;
}
