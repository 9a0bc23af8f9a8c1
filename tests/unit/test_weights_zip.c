#include "test_weights_zip.h"

static const struct view two = {"ByteStorage", "0", 64, 0, 1, {2}, {1}};

/* An archive but for its end: data.pkl and, as told, data/0. */
static struct archive begun(const struct odd *o)
{
	struct buf pickle = pickle_of(&two);
	char bytes[64] = {0};
	struct archive a;

	archive_init(&a);
	add(&a, "m/data.pkl", pickle.data, pickle.len);
	add_odd(&a, "m/data/0", bytes, sizeof bytes, o);
	buf_fini(&pickle);
	return a;
}

static void refused_odd(struct odd o, const char *words)
{
	struct archive a = begun(&o);

	refused(archive_end(&a), words);
}

static void archives_with_large_numbers(void **state)
{
	const struct odd wide = {.zip64 = true}, usual = {.flags = 0};
	struct archive a = begun(&wide);
	struct weights w;

	(void)state;
	accepted(archive_end(&a), &w);
	assert_int_equal(w.tensors[0].bytes, 2);
	weights_fini(&w);
	a = begun(&wide);
	a.zip64 = true;
	accepted(archive_end(&a), &w);
	assert_int_equal(w.n, 1);
	weights_fini(&w);
	a = begun(&usual);
	a.comment = "with a comment, and PK\5\6 in it";
	accepted(archive_end(&a), &w);
	weights_fini(&w);
	a = begun(&wide);
	a.zip64 = true;
	refused_at_every_cut(archive_end(&a));
}

static void entries_that_are_packed(void **state)
{
	(void)state;
	refused_odd((struct odd){.method = 8, .local_method = 8},
		    "its zip archive is compressed, and so cannot be mapped");
	refused_odd((struct odd){.packed_more = 1}, "is compressed");
	refused_odd((struct odd){.flags = 1, .local_flags = 1},
		    "its zip archive is encrypted");
	refused_odd((struct odd){.local_method = 8},
		    "packed in one place and not in another");
	refused_odd((struct odd){.local_flags = 1},
		    "packed in one place and not in another");
}

static void entries_that_are_elsewhere(void **state)
{
	static const uint64_t far[] = {1, 100, UINT32_MAX - 1};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(far); i++)
		refused_odd((struct odd){.at_more = far[i]},
			    "has an entry that is not where it says");
	refused_odd((struct odd){.zip64 = true, .at_more = UINT64_C(1) << 40},
		    "has an entry that is not where it says");
	refused_odd((struct odd){.size_more = 1, .packed_more = 1},
		    "has an entry that ends behind it");
	refused_odd((struct odd){.zip64 = true,
				 .size_more = UINT64_MAX - 64,
				 .packed_more = UINT64_MAX - 64},
		    "has an entry that ends behind it");
	refused_odd((struct odd){.local_name = "m/data/1"},
		    "has an entry with two names");
	refused_odd((struct odd){.local_name = "m/data/00"},
		    "has an entry with two names");
}

static void entries_over_others(void **state)
{
	const struct odd usual = {.flags = 0};
	struct archive inside = begun(&usual), a;

	(void)state;
	archive_init(&a);
	add(&a, "m/x", inside.out.data, inside.out.len);
	/* Its data.pkl, from where that lies: in the bytes of m/x. */
	buf_adds(&a.directory, "PK\1\2");
	add_le(&a.directory, 0, 16);
	add_le(&a.directory, 10, 4);
	add_le(&a.directory, 10, 4);
	add_le(&a.directory, strlen("m/data.pkl"), 2);
	add_le(&a.directory, 0, 12);
	add_le(&a.directory, 30 + strlen("m/x") + 3, 4);
	buf_adds(&a.directory, "m/data.pkl");
	a.n++;
	buf_fini(&inside.out);
	buf_fini(&inside.directory);
	refused(archive_end(&a), "has an entry over another");
}

static void names_of_entries(void **state)
{
	static const char *const names[] = {"../evil",	 "m/../../evil",
					    "/etc/evil", "m\\..\\evil",
					    "m/..",	 ".."};
	const struct odd usual = {.flags = 0};
	struct archive a;
	struct weights w;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		a = begun(&usual);
		add(&a, names[i], "x", 1);
		refused(archive_end(&a),
			"has an entry whose name leads out of it");
	}
	a = begun(&usual);
	add(&a, "m/data.pkl", "}.", 2);
	refused(archive_end(&a), "has two entries of one name");
	a = begun(&usual);
	add(&a, "m/...", "x", 1);
	add(&a, "m/data/", "", 0);
	accepted(archive_end(&a), &w);
	assert_int_equal(w.n, 1);
	weights_fini(&w);
}

static void ends_that_are_wrong(void **state)
{
	static const struct {
		uint64_t n, at, size;
		const char *words;
	} ends[] = {
		{1, 0, 0, "has a directory that ends too soon"},
		{UINT64_MAX, 0, 0, "has a directory of more than its entries"},
		{60000, 0, 0, "has a directory that ends too soon"},
		{0, 1, 0, "has a directory that is not within it"},
		{0, 0, 1, "has a directory that is not within it"},
		{0, 1000000, 0, "has a directory that is not within it"},
		{0, 0, (uint64_t)-1, "has a directory that ends too soon"},
	};
	const struct odd usual = {.flags = 0};
	struct archive a;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ends); i++)
		for (int zip64 = 0; zip64 < 2; zip64++) {
			a = begun(&usual);
			a.zip64 = zip64;
			a.n_more = ends[i].n;
			a.at_more = ends[i].at;
			a.size_more = ends[i].size;
			refused(archive_end(&a), ends[i].words);
		}
	a = begun(&usual);
	a.zip64 = true;
	a.n_more = UINT64_C(1) << 60;
	refused(archive_end(&a), "has more than a million entries");
	a = begun(&usual);
	a.zip64 = true;
	a.at_more = UINT64_MAX - 10;
	a.size_more = UINT64_MAX - 10;
	refused(archive_end(&a), "its zip archive has ");
}

static void archives_of_something_else(void **state)
{
	struct buf pickle = pickle_of(&two);
	struct archive a;

	(void)state;
	archive_init(&a);
	add(&a, "m/readme.txt", "x", 1);
	refused(archive_end(&a), "is a zip archive without a data.pkl");
	archive_init(&a);
	add(&a, "data.pkl", pickle.data, pickle.len);
	refused(archive_end(&a), "is a zip archive without a data.pkl");
	archive_init(&a);
	add(&a, "m/data.pkl", pickle.data, pickle.len);
	add(&a, "m/constants.pkl", pickle.data, pickle.len);
	refused(archive_end(&a), "is a TorchScript program, not weights");
	archive_init(&a);
	add(&a, "m/data.pkl", pickle.data, pickle.len);
	add(&a, "m/byteorder", "big", 3);
	refused(archive_end(&a), "the bytes of numbers the other way round");
	archive_init(&a);
	add(&a, "m/data.pkl", pickle.data, pickle.len);
	add(&a, "other/data/0", "xxxx", 4);
	refused(archive_end(&a), "is in a storage that is not there");
	buf_fini(&pickle);
}

static void the_old_format_is_named(void **state)
{
	struct buf b = made();

	(void)state;
	buf_adds(&b, "\x80\x02\x8a\nl\xfc\x9c\x46\xf9\x20\x6a\xa8P\x19.");
	refused(b, "was written by torch.save() of before PyTorch 1.6");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(archives_with_large_numbers),
		cmocka_unit_test(entries_that_are_packed),
		cmocka_unit_test(entries_that_are_elsewhere),
		cmocka_unit_test(entries_over_others),
		cmocka_unit_test(names_of_entries),
		cmocka_unit_test(ends_that_are_wrong),
		cmocka_unit_test(archives_of_something_else),
		cmocka_unit_test(the_old_format_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
