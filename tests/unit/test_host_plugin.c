/* Opens examples/engine-tiny.c, whose path is the first argument, as the host
 * does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/mem.h"
#include "host/plugin.h"

static const char *tiny;
static unsigned logged;

static void on_log(void *host, enum soma_log_level level, const char *text)
{
	(void)host;
	(void)level;
	(void)text;
	logged++;
}

static void on_progress(void *host, const char *text)
{
	(void)host;
	(void)text;
}

static int open_it(struct plugin *p, const char *engine, const char *options,
		   struct err *err)
{
	cleanup_free char *json =
		mem_printf("{\"api\":\"a\",\"engine\":\"%s\",\"threads\":2,"
			   "\"engine_options\":%s}",
			   engine, options);
	struct config c;
	int rc;

	*err = (struct err){0};
	*p = (struct plugin){.log = on_log, .progress = on_progress};
	assert_int_equal(config_read(&c, json, strlen(json), err), 0);
	rc = plugin_open(p, &c, err);
	config_fini(&c);
	return rc;
}

static void tiny_multiplies(void **state)
{
	static const float x[] = {1, 2.5f};
	struct soma_tensor in = {.name = "x",
				 .dtype = SOMA_FLOAT32,
				 .rank = 1,
				 .shape = {2},
				 .count = 2,
				 .data = x};
	struct soma_request request = {.inputs = &in, .n_inputs = 1};
	struct soma_response out = {0};
	struct soma_error why;
	struct plugin p;
	struct err err;

	(void)state;
	assert_int_equal(open_it(&p, tiny, "{\"factor\":10}", &err), 0);
	assert_int_equal(logged, 1);
	assert_string_equal(p.ports->inputs[0].name, "x");
	assert_int_equal(p.engine.run(p.model, 1, &request, &out, &why), 0);
	assert_true(((const float *)out.outputs[0].data)[1] == 25.0f);
	p.engine.release(p.model, 1, &out);
	plugin_close(&p);
}

static void fails(const char *engine, const char *options, int code,
		  const char *words)
{
	struct plugin p;
	struct err err;

	assert_int_equal(open_it(&p, engine, options, &err), code);
	if (!strstr(err.msg, words))
		fail_msg("%s\ndoes not say\n%s", err.msg, words);
	plugin_close(&p);
}

static void what_is_wrong_is_told(void **state)
{
	(void)state;
	fails(tiny, "{\"factr\":10}", E_INVALID,
	      "engine_options: the engine tiny knows no 'factr'; did you mean "
	      "'factor'?; it has: factor");
	fails(tiny, "{\"factor\":\"many\"}", E_INVALID,
	      "factor: 'many' is not a number");
	fails("nothing", "{}", E_NOTFOUND, "there is no engine 'nothing' in ");
	fails("nothing.so", "{}", E_NOTFOUND,
	      "the engine 'nothing.so' cannot be read: ");
	fails("/dev/null.so", "{}", E_NOTFOUND, "cannot be read: ");
	fails("/etc/passwd", "{}", E_INVALID, "cannot be opened: ");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tiny_multiplies),
		cmocka_unit_test(what_is_wrong_is_told),
	};

	if (argc != 2)
		return 2;
	tiny = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
