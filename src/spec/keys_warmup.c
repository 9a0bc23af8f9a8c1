/* The keys of warmup: what a new replica answers before it takes requests. */
#include "spec/keys_rows.h"

#define W "warmup[]."

const struct key keys_warmup[] = {
	{"warmup", KEY_LIST, WORKS, "soma", RT, 0, RANGE(0, 100),
	 .unit = "requests", .example = "warmup: [{body: {x: 1}}]",
	 .text = "Requests that each new replica answers, one behind the "
		 "other, "
		 "before it takes any of a user's; one that does not answer "
		 "them as expected is ended."},
	{W "body", KEY_ANY, WORKS, "soma", RT, 0,
	 .text = "Its body: any value, sent as JSON."},
	{W "body_file", KEY_FILE, WORKS, "soma", RT, 0,
	 .example = "body_file: sample.bin",
	 .text = "A file that is its body, 16 MiB at most."},
	{W "content_type", KEY_STRING, WORKS, "soma", RT, 0, RANGE(1, 1000),
	 .unit = "characters", .def_shown = "application/octet-stream",
	 .example = "content_type: image/png", .text = "What body_file holds."},
	{W "path", KEY_URL_PATH, WORKS, "soma", RT, 0, .def = "/",
	 .text = "Its path as the replica sees it, without the endpoint; of "
		 "all "
		 "types but command / alone, and what may follow behind a ?."},
	{W "method", KEY_WORD, WORKS, "soma", RT, 0,
	 .words = "GET POST PUT PATCH DELETE",
	 .def_shown = "POST with a body, else GET", .text = "Its method."},
	{W "headers", KEY_HEADERS, WORKS, "soma", RT, 0,
	 .example = "headers: {X-Tenant: test}",
	 .text = "Headers that it has; X-Soma-Warmup: 1 and what HTTP needs "
		 "are "
		 "added."},
	{W "times", KEY_INT, WORKS, "soma", RT, 0, .def = "1", RANGE(1, 1000),
	 .text = "How often it is sent: for what compiles itself with use."},
	{W "expect", KEY_MAP, WORKS, "soma", RT, 0,
	 .text = "What its answer must be."},
	{W "expect.status", KEY_INT, WORKS, "soma", RT, 0, RANGE(200, 599),
	 .def_shown = "200 to 299", .example = "status: 200",
	 .text = "Its status."},
	{W "expect.body", KEY_ANY, WORKS, "soma", RT, 0,
	 .text = "Its body, compared as JSON: all members in any order, "
		 "numbers "
		 "by tolerance. A text is also what an answer of just these "
		 "bytes is."},
	{W "expect.tolerance", KEY_FLOAT, WORKS, "soma", RT, 0, .def = "1e-6",
	 RANGE(0, 1),
	 .text = "Relative difference of two numbers up to which they are the "
		 "same."},
	{W "expect.within", KEY_DURATION, WORKS, "soma", RT, 0, RANGE(1, HOURS),
	 .example = "within: 2s",
	 .text = "The longest that it may take, each time that it is sent."},
};
const size_t keys_warmup_n = ARRAY_LEN(keys_warmup);
