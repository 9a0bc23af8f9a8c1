/* test_spec_warmup.c: requests that a new replica answers first. */
#include "test_spec_kit.h"

#define WARM(items) IRIS "warmup: [" items "]\n"
#define WARM_CMD(items)                                                        \
	"name: web\npredictor: {command: serve}\nwarmup: [" items "]\n"

static void normal_form(void **state)
{
	static const char yaml[] = IRIS
		"warmup:\n"
		"  - body: {x: [1, 2.5], y: yes, z: null}\n"
		"    headers: {X-A: b, X-N: 5}\n"
		"    times: 3\n"
		"    expect: {status: 201, body: {sum: 6.0}, tolerance: "
		"1e-3, within: 2s}\n"
		"  - {}\n"
		"  - {body_file: ./model.bin, path: '/?a=1', method: PUT}\n"
		"  - {body: hello, expect: {body: ok}}\n";
	static const char want[] =
		"{\"requests\":[{\"path\":\"/\",\"body\":{\"x\":[1,2.5],\"y\":"
		"true,\"z\":null},\"method\":\"POST\",\"headers\":{\"X-A\":"
		"\"b\","
		"\"X-N\":\"5\"},\"times\":3,\"status\":201,\"expect\":{\"sum\":"
		"6.0},\"tolerance\":0.001,\"within_ms\":2000},{\"path\":\"/\","
		"\"method\":\"GET\"},{\"path\":\"/?a=1\",\"body_file\":"
		"\"model.bin\",\"content_type\":\"application/octet-stream\","
		"\"method\":\"PUT\"},{\"path\":\"/\",\"body\":\"hello\","
		"\"method\":\"POST\",\"expect\":\"ok\",\"tolerance\":0.000001}]"
		"}";
	cleanup_free char *json = NULL, *again = NULL;
	struct spec_set set, copy;
	struct err err;

	(void)state;
	assert_int_equal(parse(&set, yaml), 0);
	assert_int_equal(set.n_problems, 0);
	assert_string_equal(set.specs[0].warmup_json, want);
	json = spec_to_json(&set.specs[0]);
	assert_int_equal(spec_from_json(&copy, json, strlen(json), &err), 0);
	assert_string_equal(copy.specs[0].warmup_json, want);
	again = spec_to_json(&copy.specs[0]);
	assert_string_equal(again, json);
	spec_set_fini(&copy);
	spec_set_fini(&set);
}

static void none(void **state)
{
	static const char *const yaml[] = {IRIS, IRIS "warmup: []\n",
					   IRIS "warmup: null\n"};
	struct spec_set set;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(yaml); i++) {
		assert_int_equal(parse(&set, yaml[i]), 0);
		assert_int_equal(set.n_problems, 0);
		assert_null(set.specs[0].warmup_json);
		spec_set_fini(&set);
	}
}

static void bodies(void **state)
{
	CHECK({WARM("{body: 1, body_file: model.bin}"),
	       AT "3:31: iris: warmup[].body_file: there is body, too: a "
		  "request has one of them\n"},
	      {WARM("{body: 1, content_type: a/b}"),
	       AT "3:34: iris: warmup[].content_type: only beside body_file: "
		  "body is sent as application/json\n"},
	      {WARM("{body_file: model.bin, content_type: \"a\\r\\nX: y\"}"),
	       AT "3:47: iris: warmup[].content_type: expected a media type, "
		  "such as image/png, found 'a\\x0d\\nX: y'\n"},
	      {WARM("{content_type: a/b}"),
	       AT "3:25: iris: warmup[].content_type: only beside body_file: "
		  "there is no body\n"},
	      {WARM("{body_file: nope.bin}"),
	       AT "3:22: iris: warmup[].body_file: project has no file "
		  "'nope.bin' (looked beside soma.yaml)\n"},
	      {WARM("{body_file: src}"),
	       AT "3:22: iris: warmup[].body_file: 'src' is a directory; "
		  "expected a file\n"},
	      {WARM("{body_file: /etc/passwd}"),
	       AT "3:22: iris: warmup[].body_file: expected a path inside the "
		  "project, relative to soma.yaml and without '..', found "
		  "'/etc/passwd'\n"},
	      {WARM("{body: {x: 010}}"),
	       AT "3:21: iris: warmup[].body.x: '010' may be read as octal or "
		  "decimal: quote it, or write it without the leading "
		  "zero\n"});
}

static void requests(void **state)
{
	CHECK({WARM("{path: /predict}"),
	       AT "3:17: iris: warmup[].path: an api of type python has one "
		  "path: write /, or leave path out\n"},
	      {WARM("{path: predict}"),
	       AT "3:17: iris: warmup[].path: expected a path that begins with "
		  "'/', such as /health, found 'predict'\n"},
	      {WARM_CMD("{path: '/predict?x=1'}"), NULL},
	      {WARM("{method: post}"),
	       AT "3:19: iris: warmup[].method: expected GET, POST, PUT, PATCH "
		  "or DELETE, found 'post'; did you mean 'POST'?\n"},
	      {WARM("{times: 0}"),
	       AT "3:18: iris: warmup[].times: expected an integer from 1 to "
		  "1000, found '0'\n"},
	      {WARM("{url: /}"), AT "3:11: iris: warmup[].url: unknown key\n"},
	      {WARM("1"), AT "3:10: iris: warmup[]: expected a map, found "
			     "'1'\n"},
	      {IRIS "warmup: {body: 1}\n",
	       AT "3:9: iris: warmup: expected a list of maps, found a map\n"});
}

static void headers(void **state)
{
	CHECK({WARM("{headers: {Host: x}}"),
	       AT "3:21: iris: warmup[].headers.Host: is Soma's to say: remove "
		  "it\n"},
	      {WARM("{headers: {content-type: x}}"),
	       AT "3:21: iris: warmup[].headers.content-type: is said by "
		  "content_type, or is application/json\n"},
	      {WARM("{headers: {'a b': x}}"),
	       AT "3:21: iris: warmup[].headers.a b: expected the name of a "
		  "header, such as X-Tenant\n"},
	      {WARM("{headers: {A: \"x\\ny\"}}"),
	       AT "3:24: iris: warmup[].headers.A: expected a text of "
		  "printable ASCII, found 'x\\ny'\n"},
	      {WARM("{headers: [A]}"),
	       AT "3:20: iris: warmup[].headers: expected a map of names and "
		  "texts, found a list\n"});
}

static void answers(void **state)
{
	CHECK({WARM("{expect: {status: 99}}"),
	       AT "3:28: iris: warmup[].expect.status: expected an integer "
		  "from 200 to 599, found '99'\n"},
	      {WARM("{expect: {tolerance: 0.1}}"),
	       "warning " AT "3:31: iris: warmup[].expect.tolerance: has an "
	       "effect only beside body, whose numbers it is "
	       "for\n"},
	      {WARM("{expect: {body: 1, tolerance: 2}}"),
	       AT "3:40: iris: warmup[].expect.tolerance: expected a number "
		  "from 0 to 1, found '2'\n"},
	      {WARM("{expect: {within: 0s}}"),
	       AT "3:28: iris: warmup[].expect.within: expected a duration "
		  "from 1ms to 1h, found '0s'\n"},
	      {WARM("{status: 200}"),
	       AT "3:11: iris: warmup[].status: unknown key here; did you mean "
		  "'warmup[].expect.status'?\n"});
}

static void kinds(void **state)
{
	CHECK({"name: s\nkind: TrafficSplitter\n"
	       "apis: [{name: a, weight: 100}]\nwarmup: [{body: 1}]\n",
	       AT "4:1: s: warmup: only for kind RealtimeAPI, this one is "
		  "TrafficSplitter\n"},
	      {"name: m\npredictor: {model: model.onnx}\n"
	       "warmup: [{body: {x: [1]}}]\n",
	       NULL},
	      {WARM_CMD("{}"), NULL});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(normal_form), cmocka_unit_test(none),
		cmocka_unit_test(bodies),      cmocka_unit_test(requests),
		cmocka_unit_test(headers),     cmocka_unit_test(answers),
		cmocka_unit_test(kinds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
