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
#include "fetch/hf.h"
#include "fetch/parts.h"
#include "fetch/ranges.h"
#include "fetch/source.h"
#include "fetch/url.h"
#include "fetch/xml.h"
#include "loop/file.h"
#include "tmpdir.h"

/* ---- ranges ---- */

static void ranges_become_one(void **state)
{
	struct ranges r = {0};
	struct range gap;

	(void)state;
	assert_int_equal(ranges_front(&r), 0);
	ranges_add(&r, 10, 20);
	ranges_add(&r, 30, 40);
	ranges_add(&r, 5, 5);
	assert_int_equal(r.n, 2);
	assert_int_equal(ranges_front(&r), 0);
	gap = ranges_gap(&r, 0, 50);
	assert_true(gap.from == 0 && gap.to == 10);
	gap = ranges_gap(&r, 15, 50);
	assert_true(gap.from == 20 && gap.to == 30);
	gap = ranges_gap(&r, 33, 50);
	assert_true(gap.from == 40 && gap.to == 50);
	gap = ranges_gap(&r, 30, 40);
	assert_true(gap.from == gap.to);
	ranges_add(&r, 0, 10);
	assert_int_equal(ranges_front(&r), 20);
	ranges_add(&r, 20, 30);
	assert_int_equal(r.n, 1);
	assert_int_equal(ranges_front(&r), 40);
	ranges_fini(&r);
}

/* Beside a plain array of what is there. */
static void ranges_are_right_at_random(void **state)
{
	enum { SIZE = 200 };
	unsigned seed = 1;

	(void)state;
	for (int round = 0; round < 300; round++) {
		bool there[SIZE + 1] = {false};
		struct ranges r = {0};

		for (int i = 0; i < 25; i++) {
			uint64_t a = (uint64_t)rand_r(&seed) % SIZE;
			uint64_t b = a + (uint64_t)rand_r(&seed) % 20;
			uint64_t from = (uint64_t)rand_r(&seed) % SIZE, total;
			struct range gap;

			b = MIN(b, (uint64_t)SIZE);
			ranges_add(&r, a, b);
			for (uint64_t k = a; k < b; k++)
				there[k] = true;
			total = 0;
			for (int k = 0; k < SIZE; k++)
				total += there[k];
			assert_int_equal(ranges_total(&r), total);
			gap = ranges_gap(&r, from, SIZE);
			while (from < SIZE && there[from])
				from++;
			assert_int_equal(gap.from, from);
			while (from < SIZE && !there[from])
				from++;
			assert_int_equal(gap.to, from);
			for (size_t k = 1; k < r.n; k++)
				assert_true(r.at[k - 1].to < r.at[k].from);
		}
		ranges_fini(&r);
	}
}

/* ---- URLs ---- */

static void check_shown(const char *url, const char *expected)
{
	cleanup_free char *shown = url_shown(url);

	assert_string_equal(shown, expected);
}

static void secrets_are_not_shown(void **state)
{
	(void)state;
	check_shown("https://user:pass@host:1/a/b?sig=SECRET#x",
		    "https://host:1/a/b");
	check_shown("https://u:p@ss@host/a", "https://host/a");
	check_shown("https://host?sig=a@b", "https://host");
	check_shown("hf://org/name@main", "hf://org/name@main");
	check_shown("nonsense", "nonsense");
}

static void hosts_are_compared(void **state)
{
	(void)state;
	assert_true(url_same_host("https://h/a", "https://H:443/b?c"));
	assert_false(url_same_host("https://h/a", "http://h/a"));
	assert_false(url_same_host("https://h/a", "https://h:8443/a"));
	assert_false(url_same_host("https://h/a", "https://h.evil/a"));
	assert_false(url_same_host("https://h/a", "https://evil@x/h"));
	assert_false(url_same_host("", ""));
}

static void escapes(void **state)
{
	cleanup_free char *escaped = url_escape(STR("a b/\xc3\xa4~+"), true);
	cleanup_free char *all = url_escape(STR("a/b"), false);
	cleanup_free char *back = url_unescape(str_of(escaped), true);
	cleanup_free char *plus = url_unescape(STR("a+b"), true);

	(void)state;
	assert_string_equal(escaped, "a%20b/%C3%A4~%2B");
	assert_string_equal(all, "a%2Fb");
	assert_string_equal(back, "a b/\xc3\xa4~+");
	assert_string_equal(plus, "a b");
	assert_null(url_unescape(STR("a%00b"), false));
	assert_null(url_unescape(STR("a%4"), false));
	assert_null(url_unescape(STR("a%zz"), false));
}

/* ---- XML ---- */

static void check_xml(const char *text, const char *expected)
{
	static const char marks[] = "(),";
	struct arena arena;
	enum xml_kind kind;
	struct str word;
	struct buf told;
	struct xml x;

	buf_init(&told, 4096);
	arena_init(&arena);
	xml_init(&x, text, strlen(text), &arena);
	while ((kind = xml_next(&x, &word)) != XML_END && kind != XML_BAD) {
		buf_addc(&told, marks[kind]);
		buf_add(&told, word.p, word.n);
	}
	if (kind == XML_BAD)
		buf_adds(&told, "!");
	assert_string_equal(buf_cstr(&told), expected);
	arena_fini(&arena);
	buf_fini(&told);
}

static void xml(void **state)
{
	(void)state;
	check_xml("<?xml version=\"1.0\"?>\n<A x='>'><b:B>t</b:B> <C/></A>",
		  "(A(B,t)B(C)C)A");
	check_xml("<K>a&amp;b&#x41;&#228;&lt;</K>", "(K,a&bA\xc3\xa4<)K");
	check_xml("<K><!-- <no> -->t</K>", "(K,t)K");
	check_xml("<K>&#0;</K>", "(K!");
	check_xml("<K>&own;</K>", "(K!");
	check_xml("<K>&amp</K>", "(K!");
	check_xml("<!DOCTYPE K><K/>", "!");
	check_xml("<K><![CDATA[x]]></K>", "(K!");
	check_xml("<K", "!");
	check_xml("", "");
}

/* ---- what a listing takes ---- */

static void evil_paths_are_refused(void **state)
{
	static const char *const bad[] = {"../x", "/etc/passwd", "a/../../x",
					  "a//b", "a/",		 "",
					  ".",	  "./a"};
	struct failure why = {0};
	struct listing l;
	char longest[300];

	(void)state;
	listing_init(&l);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_null(listing_add(&l, str_of(bad[i]), &why));
		assert_int_equal(why.code, FAIL_BROKEN);
	}
	assert_null(listing_add(&l, (struct str){"a\0b", 3}, &why));
	memset(longest, 'n', sizeof longest);
	assert_null(listing_add(&l, (struct str){longest, 256}, &why));
	assert_non_null(listing_add(&l, (struct str){longest, 255}, &why));
	assert_int_equal(l.n, 1);
	listing_fini(&l);
}

static void paths_that_collide_are_refused(void **state)
{
	static const char *const pairs[][2] = {
		{"a", "a"}, {"a", "a/b"}, {"x/y/z", "x/y"}};
	struct failure why = {0};
	struct listing l;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
		listing_init(&l);
		/* Between them when sorted by bytes. */
		listing_add(&l, STR("a-b"), &why);
		listing_add(&l, str_of(pairs[i][0]), &why);
		listing_add(&l, str_of(pairs[i][1]), &why);
		assert_int_equal(listing_check(&l, "s3://b/", &why), -1);
		assert_int_equal(why.code, FAIL_BROKEN);
		listing_fini(&l);
	}
	listing_init(&l);
	assert_int_equal(listing_check(&l, "s3://b/", &why), -1);
	assert_int_equal(why.code, FAIL_NOT_FOUND);
	listing_add(&l, STR("a/b"), &why);
	listing_add(&l, STR("a/c"), &why);
	assert_int_equal(listing_check(&l, "s3://b/", &why), 0);
	listing_fini(&l);
}

static void check_choice(const char *const *has, const char *expected)
{
	struct failure why;
	struct listing l;
	struct buf kept;

	listing_init(&l);
	buf_init(&kept, 4096);
	for (; *has; has++)
		listing_add(&l, str_of(*has), &why);
	hf__choose(&l);
	for (size_t i = 0; i < l.n; i++)
		buf_addf(&kept, "%s%s", i > 0 ? " " : "", l.files[i].path);
	assert_string_equal(buf_cstr(&kept), expected);
	buf_fini(&kept);
	listing_fini(&l);
}

static void weights_are_chosen(void **state)
{
	(void)state;
	check_choice((const char *const[]){".gitattributes", "config.json",
					   "model.safetensors",
					   "pytorch_model.bin", "tf_model.h5",
					   "flax_model.msgpack",
					   "rust_model.ot", "onnx/model.onnx",
					   "onnx/config.json", NULL},
		     "config.json model.safetensors");
	check_choice((const char *const[]){"config.json", "pytorch_model.bin",
					   "tf_model.h5", NULL},
		     "config.json pytorch_model.bin");
	check_choice((const char *const[]){"config.json", "model.onnx",
					   "model.onnx_data", NULL},
		     "config.json model.onnx model.onnx_data");
	check_choice((const char *const[]){"unet/w.safetensors", "unet/w.bin",
					   "text/w.bin", NULL},
		     "unet/w.safetensors text/w.bin");
	check_choice((const char *const[]){".gitattributes", NULL},
		     ".gitattributes");
}

/* ---- parts ---- */

static void parts_are_gone_on_with(void **state)
{
	char *dir = tmpdir_make();
	cleanup_free char *inside = mem_printf("%s/models", dir);
	struct source_file f = {.path = "w.bin",
				.url = "http://h/w.bin",
				.size = 100,
				.etag = "\"1\""};
	cleanup_free char *part = NULL;
	struct part_note note;
	struct failure why;
	struct parts p;
	struct shelf s;
	struct ranges have = {0};
	char bytes[100] = {0};

	(void)state;
	assert_int_equal(shelf_open(&s, inside, NULL), 0);
	assert_int_equal(parts_open(&p, &s, "http://h/w.bin", &why), 0);
	parts_read(&p, 0, &f, &note);
	assert_int_equal(note.have.n, 0);
	part = parts_path(&p, 0);
	assert_int_equal(file_write(part, bytes, 50, 0600, NULL), 0);
	ranges_add(&have, 0, 20);
	ranges_add(&have, 40, 50);
	ranges_add(&have, 60, 80); /* more than the part has */
	assert_int_equal(parts_write(&p, 0, &f, &have, "", &why), 0);
	parts_read(&p, 0, &f, &note);
	assert_int_equal(ranges_total(&note.have), 30);
	assert_string_equal(note.done, "");
	ranges_fini(&note.have);

	/* After another boot, only where a sum vouches for it. */
	snprintf(p.boot, sizeof p.boot, "another");
	f.sha256[0] = '\0';
	parts_read(&p, 0, &f, &note);
	assert_int_equal(note.have.n, 0);
	assert_int_equal(access(part, F_OK), -1);
	assert_int_equal(file_write(part, bytes, 50, 0600, NULL), 0);
	memset(f.sha256, 'a', 64);
	assert_int_equal(parts_write(&p, 0, &f, &have, "", &why), 0);
	snprintf(p.boot, sizeof p.boot, "a third");
	parts_read(&p, 0, &f, &note);
	assert_int_equal(ranges_total(&note.have), 30);
	ranges_fini(&note.have);

	/* Of another file it is nothing. */
	f.etag = "\"2\"";
	parts_read(&p, 0, &f, &note);
	assert_int_equal(note.have.n, 0);
	assert_int_equal(access(part, F_OK), -1);
	ranges_fini(&have);
	parts_clear(&p);
	assert_int_equal(access(p.dir, F_OK), -1);
	parts_close(&p);
	shelf_close(&s);
	tmpdir_remove(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges_become_one),
		cmocka_unit_test(ranges_are_right_at_random),
		cmocka_unit_test(secrets_are_not_shown),
		cmocka_unit_test(hosts_are_compared),
		cmocka_unit_test(escapes),
		cmocka_unit_test(xml),
		cmocka_unit_test(evil_paths_are_refused),
		cmocka_unit_test(paths_that_collide_are_refused),
		cmocka_unit_test(weights_are_chosen),
		cmocka_unit_test(parts_are_gone_on_with),
	};

	return cmocka_run_group_tests_name("fetch_parts", tests, NULL, NULL);
}
