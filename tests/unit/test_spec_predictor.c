/* What people are told about what their api runs, word by word. */
#include "test_spec_kit.h"

static void types_of_predictor(void **state)
{
#define TF_WORDS                                                               \
	"type \"tensorflow\" is not served by this version of Soma; load the " \
	"model by tensorflow in a PythonPredictor, run its own server with "   \
	"'predictor: {type: command}' (for example tensorflow_model_server), " \
	"or convert it to ONNX for 'predictor: {type: onnx, model: "           \
	"FILE.onnx}'\n"
	CHECK({"name: a\n",
	       AT "1:1: a: predictor: required key is missing; for example "
		  "'predictor: {type: python, path: predictor.py}'\n"},
	      {"name: a\npredictor:\n",
	       AT "2:11: a: predictor: required key is missing; for example "
		  "'predictor: {type: python, path: predictor.py}'\n"},
	      {"name: a\npredictor: {}\n",
	       AT "2:12: a: predictor.type: required key is missing; expected "
		  "python, onnx, engine or command\n"},
	      {"name: a\npredictor: {path: predictor.py, command: x}\n",
	       AT "2:12: a: predictor.type: required where path and command "
		  "are both given: python, onnx, engine or command\n"},
	      {"name: a\npredictor: {type: python}\n",
	       AT "2:12: a: predictor.path: required key is missing; for "
		  "example 'path: predictor.py'\n"},
	      {"name: a\npredictor: {type: command}\n",
	       AT "2:12: a: predictor.command: required key is missing; for "
		  "example 'command: [uvicorn, main:app, --port, $PORT]'\n"},
	      {PY("type: pyton"), AT
	       "2:39: iris: predictor.type: expected python, command, engine "
	       "or onnx, found 'pyton'; did you mean 'python'?\n"},
	      {PY("type: tensorflow, models: {path: s3://m}"),
	       AT "2:39: iris: predictor.type: " TF_WORDS},
	      {PY("type: onnx"),
	       AT "2:12: iris: predictor.models: required key is missing; for "
		  "example 'models: {path: model.onnx}'\n"},
	      {PY("type: onnx, models: {path: model.onnx}"), NULL},
	      {CMD("threads_per_process: 2"),
	       AT "2:29: web: predictor.threads_per_process: only for type "
		  "python, onnx or engine, this one is command\n"},
	      {PY("readiness_path: /"),
	       AT "2:33: iris: predictor.readiness_path: only for type "
		  "command, this one is python\n"},
	      {"name: a\nhandler: {type: python, path: src/predictor.py}\n",
	       NULL},
	      {"name: a\nhandler: {path: predictor.py, readiness_path: /}\n",
	       AT "2:31: a: handler.readiness_path: unknown key\n"},
	      {"name: a\nhandler: {type: python}\n",
	       AT "2:10: a: handler.path: required key is missing; for "
		  "example 'path: handler.py'\n"},
	      {"name: a\nhandler: {type: tensorflow, path: predictor.py}\n",
	       AT "2:17: a: handler.type: " TF_WORDS},
	      {"name: a\nhandler: {path: predictor.py, protobuf_path: x}\n",
	       AT "2:31: a: handler.protobuf_path: gRPC is not served by this "
		  "version; take JSON in predict(), or serve HTTP with "
		  "'predictor: {type: command}'\n"},
	      {"name: a\nhandler: {path: predictor.py}\npredictor: {path: "
	       "predictor.py}\n",
	       AT "2:10: a: handler: there is predictor, too, and an api runs "
		  "one thing: remove one of them\n"});
}

static void files_of_the_project(void **state)
{
#define INSIDE                                                                 \
	"expected a path inside the project, relative to soma.yaml "           \
	"and without '..', found "
	CHECK({"name: a\npredictor: {path: nope.py}\n",
	       AT "2:19: a: predictor.path: project has no file 'nope.py' "
		  "(looked beside soma.yaml)\n"},
	      {"name: a\npredictor: {path: /predictor.py}\n",
	       AT "2:19: a: predictor.path: " INSIDE "'/predictor.py'\n"},
	      {"name: a\npredictor: {path: src/../../predictor.py}\n", AT
	       "2:19: a: predictor.path: " INSIDE "'src/../../predictor.py'\n"},
	      {"name: a\npredictor: {path: requirements.txt}\n",
	       AT "2:19: a: predictor.path: expected a Python file, with a "
		  "name that ends in .py, found 'requirements.txt'\n"},
	      {PY("python_path: lib"),
	       AT "2:46: iris: predictor.python_path: project has no "
		  "directory 'lib' (looked beside soma.yaml)\n"},
	      {PY("python_path: predictor.py"),
	       AT "2:46: iris: predictor.python_path: 'predictor.py' is a "
		  "file; expected a directory\n"},
	      {PY("python_path: ."), NULL},
	      {PY("dependencies: {pip: gpu.txt, shell: pip}"),
	       AT "2:53: iris: predictor.dependencies.pip: project has no "
		  "file 'gpu.txt' (looked beside soma.yaml)\n" AT
		  "2:69: iris: predictor.dependencies.shell: 'pip' is a "
		  "directory; expected a file\n"},
	      {PY("python: ~/venv"),
	       AT "2:41: iris: predictor.python: '~' is not filled in: write "
		  "the whole path\n"},
	      {PY("python: ../venv"),
	       AT "2:41: iris: predictor.python: expected an absolute path, "
		  "or one inside the project, found '../venv'\n"},
	      {PY("python: /opt/venv/bin/python"), NULL});
}

static void files_may_go_unchecked(void **state)
{
	static const char yaml[] = "name: a\r\n"
				   "predictor: {path: any.py}\r\n";
	struct spec_set set;

	(void)state;
	assert_int_equal(
		spec_parse(&set, "soma.yaml", yaml, strlen(yaml), NULL), 0);
	assert_string_equal(set.specs->predictor.path, "any.py");
	spec_set_fini(&set);
}

static void conda_is_never_ignored_in_silence(void **state)
{
	struct spec_files has_conda = {.kind_of = kind_of,
				       .data = "conda-packages.txt"};
	cleanup_free char *lines = NULL;
	struct spec_set set;

	CHECK({PY("dependencies: {conda: conda-packages.txt}"),
	       AT "2:48: iris: predictor.dependencies.conda: conda packages "
		  "are not installed by this version; list the packages in "
		  "requirements.txt, or point predictor.python to a conda "
		  "environment\n"},
	      {PY("dependencies: {conda: ~}"), NULL});
	assert_int_equal(
		spec_parse(&set, "soma.yaml", IRIS, strlen(IRIS), &has_conda),
		0);
	lines = lines_of(&set);
	assert_string_equal(
		lines,
		"warning " AT "2:12: iris: predictor.dependencies.conda: the "
		"project's conda-packages.txt is not acted on yet: list "
		"the packages in requirements.txt, or point "
		"predictor.python to a conda environment\n");
	spec_set_fini(&set);
}

static void environment(void **state)
{
	CHECK({PY("env: [A]"), AT "2:38: iris: predictor.env: expected a map "
				  "of names and texts, found a list\n"},
	      {PY("env: {CORTEX_A: 1, SOMA_B: 2}"),
	       AT "2:39: iris: predictor.env.CORTEX_A: names that begin with "
		  "CORTEX_ or SOMA_ are reserved\n" AT
		  "2:52: iris: predictor.env.SOMA_B: names that begin with "
		  "CORTEX_ or SOMA_ are reserved\n"},
	      {PY("env: {A: , B: [1], 2C: x, 'D=E': y}"),
	       AT "2:42: iris: predictor.env.A: expected a text, found "
		  "nothing: write '' for an empty one\n" AT
		  "2:47: iris: predictor.env.B: expected a text, or "
		  "{from_secret: NAME}, found a list\n" AT
		  "2:52: iris: predictor.env.2C: expected a variable's name: "
		  "letters, digits and '_', not beginning with a digit\n" AT
		  "2:59: iris: predictor.env.D=E: expected a variable's name: "
		  "letters, digits and '_', not beginning with a digit\n"},
	      {PY("env: {A: {from_secret: Bad Name}, B: {secret: x}, C: {}}"),
	       AT "2:56: iris: predictor.env.A: from_secret: expected a "
		  "secret's name, 1 to 64 of a-z, 0-9, '-' and '_', found "
		  "'Bad Name'\n" AT
		  "2:71: iris: predictor.env.B: unknown key 'secret'; expected "
		  "a text, or {from_secret: NAME}\n" AT
		  "2:86: iris: predictor.env.C: expected a text, or "
		  "{from_secret: NAME}\n"},
	      {PY("env: {PORT: 1}"), NULL},
	      {CMD("env: {PORT: 1}"),
	       AT "2:35: web: predictor.env.PORT: PORT is chosen by Soma: "
		  "listen on it, and remove the key\n"});
}

static void commands_that_need_a_shell(void **state)
{
#define RUN(text) "name: web\npredictor: {command: " text "}\n"
	CHECK({RUN("[]"),
	       AT "2:22: web: predictor.command: expected a command such as "
		  "[uvicorn, main:app, --port, $PORT], found an empty list\n"},
	      {RUN("''"), AT "2:22: web: predictor.command: there is no "
			     "program in it\n"},
	      {RUN("[a, [b], ~]"),
	       AT "2:26: web: predictor.command[1]: expected a text, found a "
		  "list\n" AT
		  "2:31: web: predictor.command[2]: expected a text, found "
		  "nothing\n"},
	      {RUN("make && ./serve"),
	       AT "2:22: web: predictor.command: no shell runs the command, "
		  "so '&&' would only be an argument; write [sh, -c, '...'] if "
		  "you need a shell\n"},
	      {RUN("cd x; ./serve"),
	       AT "2:22: web: predictor.command: no shell runs the command, "
		  "so 'x;' would only be an argument; write [sh, -c, '...'] if "
		  "you need a shell\n"},
	      {RUN("A=1 ./serve"),
	       AT "2:22: web: predictor.command: no shell runs the command, "
		  "so 'A=1' would be the program; set the variable in "
		  "predictor.env\n"},
	      {RUN("./serve \"it's"),
	       AT "2:22: web: predictor.command: quote is not closed in "
		  "'./serve \"it's'\n"},
	      {RUN("[sh, -c, 'a && b']"), NULL},
	      {RUN("echo '&&' \\; a\\|"), NULL});
}

static void commands_are_split_as_a_shell_would(void **state)
{
	static const struct {
		const char *yaml, *words;
	} cases[] = {
		{"serve  --port $PORT", "serve|--port|$PORT"},
		{"serve --port=${PORT} $(CORTEX_PORT)",
		 "serve|--port=${PORT}|$(CORTEX_PORT)"},
		{"|\n    serve\n      --a\n    --b", "serve|--a|--b"},
		{">-\n    'it''s' \"two words\"", "its|two words"},
		{"a \"b\\\"c\\d\\\\\" 'e\\f' g\\ h", "a|b\"c\\d\\|e\\f|g h"},
		{"a '' \"\" x''y", "a|||xy"},
		{"['a b', 3, yes, '$PORT']", "a b|3|yes|$PORT"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		cleanup_free char *yaml = mem_printf(
			"- name: web\n  predictor:\n   command: %s\n",
			cases[i].yaml);
		struct spec_set set;
		struct buf b;

		assert_int_equal(parse(&set, yaml), 0);
		buf_init(&b, 4096);
		for (uint32_t w = 0; w < set.specs->predictor.n_command; w++)
			buf_addf(&b, "%s%s", w ? "|" : "",
				 set.specs->predictor.command[w]);
		assert_string_equal(buf_cstr(&b), cases[i].words);
		buf_fini(&b);
		spec_set_fini(&set);
	}
}

static void config_becomes_json(void **state)
{
	static const struct {
		const char *yaml, *json;
	} cases[] = {
		{"{}", "{}"},
		{"", "{}"},
		{"{a: 1, b: -2, c: 0x1f, d: 0o17, e: +3}",
		 "{\"a\":1,\"b\":-2,\"c\":31,\"d\":15,\"e\":3}"},
		{"{a: 1.5, b: 1e3, c: .5, d: 1.}",
		 "{\"a\":1.5,\"b\":1000.0,\"c\":0.5,\"d\":1.0}"},
		{"{a: yes, b: Off, c: true, d: y, e: 'no'}",
		 "{\"a\":true,\"b\":false,\"c\":true,\"d\":\"y\","
		 "\"e\":\"no\"}"},
		{"{a: ~, b: , c: null, d: 'null'}",
		 "{\"a\":null,\"b\":null,\"c\":null,\"d\":\"null\"}"},
		{"{a: '5', b: !!str 5, c: !!int \"5\", d: 2020-01-02}",
		 "{\"a\":\"5\",\"b\":\"5\",\"c\":5,\"d\":\"2020-01-02\"}"},
		{"{1: a, true: b, ? x : y}",
		 "{\"1\":\"a\",\"true\":\"b\",\"x\":\"y\"}"},
		{"{a: &x [1, 2], b: *x, c: {<<: {p: 1, q: 2}, q: 3}}",
		 "{\"a\":[1,2],\"b\":[1,2],\"c\":{\"q\":3,\"p\":1}}"},
		{"{a: 18446744073709551615, b: -9223372036854775807}",
		 "{\"a\":18446744073709551615,\"b\":-9223372036854775807}"},
		{"{a: \"\\u00e9\\n\", b: 'h\xc3\xa9'}",
		 "{\"a\":\"\xc3\xa9\\n\",\"b\":\"h\xc3\xa9\"}"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		cleanup_free char *yaml = mem_printf(
			"name: iris\npredictor:\n  path: predictor.py\n"
			"  config: %s\n",
			cases[i].yaml);
		struct spec_set set;

		assert_int_equal(parse(&set, yaml), 0);
		assert_string_equal(set.specs->predictor.config_json,
				    cases[i].json);
		spec_set_fini(&set);
	}
}

static void config_that_is_no_json(void **state)
{
	CHECK({PY("config: [1]"),
	       AT "2:41: iris: predictor.config: expected a map, found a "
		  "list\n"},
	      {PY("config: {a: 010, b: [.inf], c: {d: -.NaN}}"),
	       AT "2:45: iris: predictor.config.a: '010' may be read as octal "
		  "or decimal: quote it, or write it without the leading "
		  "zero\n" AT
		  "2:54: iris: predictor.config.b[0]: JSON has no '.inf': "
		  "quote it, and convert it in your code\n" AT
		  "2:68: iris: predictor.config.c.d: JSON has no '-.NaN': "
		  "quote it, and convert it in your code\n"},
	      {PY("config: {a: 18446744073709551616}"),
	       AT "2:45: iris: predictor.config.a: integer "
		  "'18446744073709551616' does not fit into 64 bits: quote "
		  "it, and convert it in your code\n"},
	      {PY("config: {a: 1, a: 2}"),
	       AT "2:48: iris: key 'a' is given twice: first at line 2\n"},
	      {PY("config: {? [a] : 2}"),
	       AT "2:44: iris: a key must be a text, found a list\n"});
}

static void cortex_files_get_what_its_images_had(void **state)
{
	static const struct {
		const char *file, *yaml;
		enum base_packages want;
	} cases[] = {
		{"cortex.yaml", IRIS, BASE_PACKAGES_CORTEX},
		{"dir/api.yaml", IRIS, BASE_PACKAGES_CORTEX},
		{"soma.yaml", IRIS, BASE_PACKAGES_NONE},
		{"dir/soma.yml", IRIS, BASE_PACKAGES_NONE},
		{"soma.yaml", PY("base_packages: cortex"),
		 BASE_PACKAGES_CORTEX},
		{"cortex.yaml", PY("base_packages: none"), BASE_PACKAGES_NONE},
		{"cortex.yaml", PY("python: .venv"), BASE_PACKAGES_NONE},
		{"cortex.yaml", CMD("max_concurrency: 1"), BASE_PACKAGES_NONE},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct spec_set set;

		assert_int_equal(spec_parse(&set, cases[i].file, cases[i].yaml,
					    strlen(cases[i].yaml), &project),
				 0);
		assert_int_equal(set.specs->predictor.base_packages,
				 cases[i].want);
		spec_set_fini(&set);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(types_of_predictor),
		cmocka_unit_test(files_of_the_project),
		cmocka_unit_test(files_may_go_unchecked),
		cmocka_unit_test(conda_is_never_ignored_in_silence),
		cmocka_unit_test(environment),
		cmocka_unit_test(cortex_files_get_what_its_images_had),
		cmocka_unit_test(commands_that_need_a_shell),
		cmocka_unit_test(commands_are_split_as_a_shell_would),
		cmocka_unit_test(config_becomes_json),
		cmocka_unit_test(config_that_is_no_json),
	};

	return cmocka_run_group_tests_name("spec_predictor", tests, NULL, NULL);
}
