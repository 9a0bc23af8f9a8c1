/* Every byte at every place that is looked at together with others. */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/mem.h"
#include "http/message.h"

enum { PLACES = 40 }; /* more than twice as many as are looked at at once */

/* 0: a head, or the status of its refusal. */
static unsigned judge(const char *text, size_t n)
{
	const struct head_max max = {1000, 1000, 10};
	struct arena mem;
	struct message m;
	size_t used;
	unsigned status;

	arena_init(&mem);
	message_init(&m, MESSAGE_REQUEST);
	assert_int_not_equal(message_head(&m, &mem, &max, text, n, &used),
			     MESSAGE_MORE);
	status = m.refuse;
	message_fini(&m);
	arena_fini(&mem);
	return status;
}

/* Puts each byte at each of PLACES between the two, where letters are else; it
 * is right where `is_right` says so. */
static void try_all(const char *before, const char *after,
		    bool (*is_right)(unsigned char c))
{
	size_t n = strlen(before);
	char text[256];

	for (unsigned c = 0; c < 256; c++) {
		for (size_t k = 0; k < PLACES; k++) {
			memcpy(text, before, n);
			memset(text + n, 'a' + (int)k % 26, PLACES);
			text[n + k] = (char)c;
			memcpy(text + n + PLACES, after, strlen(after));
			if (!judge(text, n + PLACES + strlen(after)) !=
			    is_right((unsigned char)c))
				fail_msg("byte %u at %zu of '%s'", c, k,
					 before);
		}
	}
}

static bool is_of(unsigned char c, const char *others)
{
	return c && ((c < 0x80 && isalnum(c)) || strchr(others, c));
}

/* What is behind a colon is a value, which these letters are, too. */
static bool is_token_or_colon(unsigned char c)
{
	return is_of(c, "!#$%&'*+-.^_`|~:");
}

static bool is_host(unsigned char c)
{
	return is_of(c, "-._~%!$&'()*+;=:[]");
}

static bool is_text(unsigned char c)
{
	return c == '\t' || (c >= 0x20 && c != 0x7f);
}

static void test_each_byte_of_a_name(void **state)
{
	(void)state;
	try_all("GET / HTTP/1.1\r\nHost: x\r\nA", "z: b\r\n\r\n",
		is_token_or_colon);
}

static void test_each_byte_of_a_value(void **state)
{
	(void)state;
	try_all("GET / HTTP/1.1\r\nHost: x\r\nA: b", "c\r\n\r\n", is_text);
}

static void test_each_byte_of_a_host(void **state)
{
	(void)state;
	try_all("GET / HTTP/1.1\r\nHost: x", "y\r\n\r\n", is_host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_byte_of_a_name),
		cmocka_unit_test(test_each_byte_of_a_value),
		cmocka_unit_test(test_each_byte_of_a_host),
	};

	return cmocka_run_group_tests_name("http_head", tests, NULL, NULL);
}
