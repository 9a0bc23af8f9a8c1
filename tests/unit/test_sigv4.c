/* The worked examples of AWS's documentation: "Signature Calculations for the
 * Authorization Header" of S3, and "Deriving the signing key". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "core/arena.h"
#include "core/mem.h"
#include "core/str.h"
#include "fetch/s3.h"
#include "loop/file.h"
#include "tmpdir.h"

static const struct s3_keys keys = {"AKIAIOSFODNN7EXAMPLE",
				    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
				    NULL};

static void check(const char *url, const char *range, const char *signature)
{
	const struct s3_header with_range[] = {
		{"host", "examplebucket.s3.amazonaws.com"},
		{"range", range},
		{"x-amz-content-sha256", S3_NOTHING},
		{"x-amz-date", "20130524T000000Z"}};
	const struct s3_header without[] = {with_range[0], with_range[2],
					    with_range[3]};
	struct s3_request q = {
		.method = "GET",
		.url = url,
		.region = "us-east-1",
		.service = "s3",
		.date = "20130524T000000Z",
		.headers = range ? with_range : without,
		.n_headers = range ? 4 : 3,
	};
	cleanup_free char *value = s3_authorization(&q, &keys);
	cleanup_free char *expected = mem_printf(
		"AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/"
		"us-east-1/s3/aws4_request,SignedHeaders=host;%s"
		"x-amz-content-sha256;x-amz-date,Signature=%s",
		range ? "range;" : "", signature);

	assert_string_equal(value, expected);
}

static void an_object(void **state)
{
	(void)state;
	check("https://examplebucket.s3.amazonaws.com/test.txt", "bytes=0-9",
	      "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb4"
	      "1");
}

static void a_parameter_without_a_value(void **state)
{
	(void)state;
	check("https://examplebucket.s3.amazonaws.com/?lifecycle", NULL,
	      "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a013678354"
	      "3");
}

static void a_list(void **state)
{
	(void)state;
	check("https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J",
	      NULL,
	      "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f"
	      "7");
	/* In whatever order they are. */
	check("https://examplebucket.s3.amazonaws.com/?prefix=J&max-keys=2",
	      NULL,
	      "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f"
	      "7");
}

static void the_signing_key(void **state)
{
	const struct s3_keys others = {
		"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
		NULL};
	unsigned char key[SHA256_BYTES];
	char hex[SHA256_HEX];

	(void)state;
	s3_signing_key(&others, "20150830T000000Z", "us-east-1", "iam", key);
	str_hex(key, sizeof key, hex);
	assert_string_equal(hex, "c4afb1cc5771d871763a393e44b703571b55cc28424d"
				 "1a5e86da6ed3c154a4b9");
}

/* RFC 4231's cases 1, 2, 3 and 6. */
static void hmac(void **state)
{
	static const struct {
		int key, key_len;
		const char *key_text, *data;
		int data_byte, data_len;
		const char *mac;
	} cases[] = {
		{0x0b, 20, NULL, "Hi There", 0, 8,
		 "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32"
		 "cff7"},
		{0, 4, "Jefe", "what do ya want for nothing?", 0, 28,
		 "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec"
		 "3843"},
		{0xaa, 20, NULL, NULL, 0xdd, 50,
		 "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced5"
		 "65fe"},
		{0xaa, 131, NULL,
		 "Test Using Larger Than Block-Size Key - Hash Key First", 0,
		 54,
		 "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee3"
		 "7f54"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char key[200], data[200], hex[SHA256_HEX];
		unsigned char mac[SHA256_BYTES];

		memset(key, cases[i].key, sizeof key);
		memset(data, cases[i].data_byte, sizeof data);
		if (cases[i].key_text)
			memcpy(key, cases[i].key_text,
			       (size_t)cases[i].key_len);
		if (cases[i].data)
			memcpy(data, cases[i].data, (size_t)cases[i].data_len);
		sha256_hmac(key, (size_t)cases[i].key_len, data,
			    (size_t)cases[i].data_len, mac);
		str_hex(mac, sizeof mac, hex);
		assert_string_equal(hex, cases[i].mac);
	}
}

/* ---- where keys are found ---- */

static void clear_environment(void)
{
	static const char *const names[] = {
		"AWS_ACCESS_KEY_ID",  "AWS_SECRET_ACCESS_KEY",
		"AWS_SESSION_TOKEN",  "AWS_PROFILE",
		"AWS_REGION",	      "AWS_DEFAULT_REGION",
		"AWS_CONFIG_FILE",    "AWS_SHARED_CREDENTIALS_FILE",
		"AWS_ENDPOINT_URL_S3"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		unsetenv(names[i]);
}

static void write_text(const char *dir, const char *name, const char *text)
{
	cleanup_free char *path = mem_printf("%s/%s", dir, name);

	assert_int_equal(file_write(path, text, strlen(text), 0600, NULL), 0);
}

static void credentials(void **state)
{
	char *home = tmpdir_make();
	cleanup_free char *folder = mem_printf("%s/.aws", home);
	const char *region;
	struct s3_keys found;
	struct arena arena;

	(void)state;
	arena_init(&arena);
	clear_environment();
	setenv("HOME", home, 1);
	s3__credentials(&arena, &found, &region);
	assert_null(found.id);
	assert_null(region);

	assert_int_equal(file_mkdirs(folder, 0700, NULL), 0);
	write_text(folder, "credentials",
		   "# mine\n[default]\naws_access_key_id = D\r\n"
		   "aws_secret_access_key=DS\n\n[ work ]\n"
		   "aws_access_key_id=W\naws_secret_access_key=W=S\n"
		   "aws_session_token = WT\ns3 =\n  region = no\n"
		   "[half]\naws_access_key_id=H\n");
	write_text(folder, "config",
		   "[default]\nregion = eu-west-1\n[profile work]\n"
		   "region=eu-north-1\n");
	s3__credentials(&arena, &found, &region);
	assert_string_equal(found.id, "D");
	assert_string_equal(found.secret, "DS");
	assert_null(found.token);
	assert_string_equal(region, "eu-west-1");

	setenv("AWS_PROFILE", "work", 1);
	s3__credentials(&arena, &found, &region);
	assert_string_equal(found.id, "W");
	assert_string_equal(found.secret, "W=S");
	assert_string_equal(found.token, "WT");
	assert_string_equal(region, "eu-north-1");

	setenv("AWS_PROFILE", "half", 1);
	s3__credentials(&arena, &found, &region);
	assert_null(found.id);

	setenv("AWS_ACCESS_KEY_ID", "E", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "ES", 1);
	setenv("AWS_DEFAULT_REGION", "us-west-2", 1);
	s3__credentials(&arena, &found, &region);
	assert_string_equal(found.id, "E");
	assert_string_equal(found.secret, "ES");
	assert_string_equal(region, "us-west-2");
	arena_fini(&arena);
	tmpdir_remove(home);
}

static void addresses(void **state)
{
	struct s3 own = {.bucket = "b", .region = "eu-west-1"};
	struct arena arena;

	(void)state;
	arena_init(&arena);
	assert_string_equal(s3__url(&own, &arena, "a b/c+d.bin", ""),
			    "https://b.s3.eu-west-1.amazonaws.com/a%20b/"
			    "c%2Bd.bin");
	assert_string_equal(s3__url(&own, &arena, "", "list-type=2"),
			    "https://b.s3.eu-west-1.amazonaws.com/"
			    "?list-type=2");
	own.bucket = "b.with.dots";
	assert_string_equal(s3__url(&own, &arena, "k", ""),
			    "https://s3.eu-west-1.amazonaws.com/b.with.dots/"
			    "k");
	own.endpoint = "http://127.0.0.1:9000";
	assert_string_equal(s3__url(&own, &arena, "k", ""),
			    "http://127.0.0.1:9000/b.with.dots/k");
	arena_fini(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_object),
		cmocka_unit_test(a_parameter_without_a_value),
		cmocka_unit_test(a_list),
		cmocka_unit_test(the_signing_key),
		cmocka_unit_test(hmac),
		cmocka_unit_test(credentials),
		cmocka_unit_test(addresses),
	};

	return cmocka_run_group_tests_name("sigv4", tests, NULL, NULL);
}
