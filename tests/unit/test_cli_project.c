#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "cli/project.h"
#include "core/mem.h"

static void check(const char *from, const char *name)
{
	cleanup_free char *made = project_name(from);

	assert_string_equal(made, name);
}

static void names_are_valid_whatever_they_are_made_of(void **state)
{
	(void)state;
	check("iris", "iris");
	check("My Model_2", "my-model-2");
	check("2nd.model", "nd-model");
	check("--a--", "a");
	check("", "model");
	check("123", "model");
	check("\xc3\xa9t\xc3\xa9", "t");
	check("aaaaaaaaaabbbbbbbbbbccccccccccddddddddddee-more",
	      "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddee");
	check("aaaaaaaaaabbbbbbbbbbccccccccccddddddddddd--more",
	      "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddd");
}

static void every_project_has_a_config_and_a_sample(void **state)
{
	const struct project_type *t;

	(void)state;
	for (size_t i = 0; (t = project_type_at(i)); i++) {
		bool config = false, sample = false;

		for (const struct project_part *p = t->parts; p->path; p++) {
			assert_true(!p->text != !p->make);
			config |= strcmp(p->path, "soma.yaml") == 0;
			sample |= strcmp(p->path, "sample.json") == 0;
		}
		assert_true(config && sample);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_valid_whatever_they_are_made_of),
		cmocka_unit_test(every_project_has_a_config_and_a_sample),
	};

	return cmocka_run_group_tests_name("cli project", tests, NULL, NULL);
}
