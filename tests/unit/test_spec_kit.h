/* test_spec_kit.h: a project, and checks of what is told about its config file.
 */
#ifndef TEST_SPEC_KIT_H
#define TEST_SPEC_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/mem.h"
#include "spec/spec.h"

/* The project of all tests. */
static int kind_of(void *data, const char *path)
{
	static const char *const files[] = {
		"predictor.py", "src/predictor.py", "requirements.txt",
		"pip/gpu.txt",	"model.onnx",	    "model.bin",
		"engine.so",	"models/a.onnx",    "setup.sh"};

	if (data && strcmp(path, data) == 0)
		return 1;
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		if (strcmp(files[i], path) == 0)
			return 1;
	return strcmp(path, "src") == 0 || strcmp(path, "pip") == 0 ||
			       strcmp(path, "models") == 0
		       ? 2
		       : 0;
}

static const struct spec_files project = {.kind_of = kind_of};

struct told {
	const char *yaml;
	const char *lines; /* NULL: nothing is wrong */
};

static int parse(struct spec_set *set, const char *yaml)
{
	return spec_parse(set, "soma.yaml", yaml, strlen(yaml), &project);
}

/* All problem lines; a warning's with "warning " before it. */
static char *lines_of(struct spec_set *set)
{
	struct buf b;

	buf_init(&b, 1 << 20);
	for (uint32_t i = 0; i < set->n_problems; i++) {
		const struct problem *p = &set->problems[i];

		buf_addf(&b, "%s%s\n",
			 p->level == PROBLEM_WARNING ? "warning " : "",
			 spec_problem_line(set, "soma.yaml", p));
	}
	return buf_take(&b, NULL);
}

static void check(const struct told *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *want = cases[i].lines ? cases[i].lines : "";
		cleanup_free char *got = NULL;
		struct spec_set set;
		uint32_t errors = 0;
		int rc = parse(&set, cases[i].yaml);

		got = lines_of(&set);
		if (strcmp(got, want) != 0)
			fail_msg("\n%s\ntells:\n%s\nbut should tell:\n%s",
				 cases[i].yaml, got, want);
		for (uint32_t p = 0; p < set.n_problems; p++)
			errors += set.problems[p].level == PROBLEM_ERROR;
		assert_int_equal(errors, set.n_errors);
		assert_int_equal(rc, errors ? E_UNPROCESSABLE : 0);
		spec_set_fini(&set);
	}
}

#define CHECK(...)                                                             \
	do {                                                                   \
		static const struct told cases[] = {__VA_ARGS__};              \
		(void)state;                                                   \
		check(cases, ARRAY_LEN(cases));                                \
	} while (0)

/* An api that is right, to be gone on with from line 3. */
#define IRIS "name: iris\npredictor: {path: predictor.py}\n"
/* A predictor with one more key, which begins at column 33 of line 2. */
#define PY(key) "name: iris\npredictor: {path: predictor.py, " key "}\n"
#define CMD(key) "name: web\npredictor: {command: serve, " key "}\n"
#define AT "soma.yaml:"

#endif
