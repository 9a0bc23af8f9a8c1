/* shelf_fixture.h: a shelf in a folder of its own, and models for it. */
#ifndef TESTS_SHELF_FIXTURE_H
#define TESTS_SHELF_FIXTURE_H

#include <stdio.h>
#include <string.h>

#include "core/sha256.h"
#include "core/str.h"
#include "store/shelf.h"
#include "tmpdir.h"

struct fixture {
	char *dir;
	struct shelf s;
};

static inline int setup(void **state)
{
	struct fixture *f = mem_alloc(sizeof *f);
	cleanup_free char *inside = NULL;
	struct err err = {0};

	f->dir = tmpdir_make();
	inside = mem_printf("%s/models", f->dir);
	assert_int_equal(shelf_open(&f->s, inside, &err), 0);
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	shelf_close(&f->s);
	tmpdir_remove(f->dir);
	free(f);
	return 0;
}

static inline void hash_of(const char *text, char out[65])
{
	struct sha256 sum;

	sha256_init(&sum);
	sha256_add(&sum, text, strlen(text));
	sha256_hex(&sum, out);
}

/* A file with this text on the shelf. */
static inline int put(struct shelf *s, const char *text, char hash[65])
{
	cleanup_free char *path =
		mem_printf("%s/parts/test-%d", s->dir, (int)getpid());
	struct err err = {0};

	hash_of(text, hash);
	if (file_write(path, text, strlen(text), 0600, &err) != 0 ||
	    shelf_take(s, path, hash, &err) != 0)
		fprintf(stderr, "putting: %s\n", err.msg);
	return err.code;
}

/* A model of two files: config.json and weights/w.bin, which has `text`. */
static inline int publish(struct shelf *s, const char *url, const char *text,
			  char tree[65])
{
	char config[65], weights[65];
	struct err err = {0};
	int rc;

	if (put(s, "{}", config) != 0 || put(s, text, weights) != 0)
		return -1;
	rc = shelf_publish(
		s, url, "\"1\"",
		(struct shelf_file[]){{"weights/w.bin", weights, strlen(text)},
				      {"config.json", config, 2}},
		2, tree, &err);
	if (rc != 0)
		fprintf(stderr, "publishing: %s\n", err.msg);
	return rc;
}

static inline char *in_tree(struct shelf *s, const char *tree, const char *path)
{
	cleanup_free char *root = shelf_tree_path(s, tree);

	return mem_printf("%s/%s", root, path);
}

static inline void check_text(struct shelf *s, const char *tree,
			      const char *path, const char *text)
{
	cleanup_free char *at = in_tree(s, tree, path);
	cleanup_free char *data = NULL;
	size_t len;

	assert_int_equal(file_read(at, 1 << 20, &data, &len, NULL), 0);
	assert_string_equal(data, text);
}

static inline bool is_there(struct shelf *s, const char *url)
{
	struct shelf_ref ref;
	struct err err = {0};
	int rc = shelf_find(s, url, &ref, &err);

	if (rc != 0) {
		assert_int_equal(rc, E_NOTFOUND);
		return false;
	}
	shelf_ref_fini(&ref);
	return true;
}

static inline bool has_text(struct shelf *s, const char *text)
{
	char hash[65];

	hash_of(text, hash);
	return shelf_has(s, hash, strlen(text));
}

static inline size_t count(const char *dir)
{
	cleanup_free char *command =
		mem_printf("find '%s' -mindepth 1 -name '.tmp-*' | wc -l", dir);
	FILE *pipe = popen(command, "re");
	char line[32];
	uint64_t n;

	assert_non_null(pipe);
	assert_non_null(fgets(line, sizeof line, pipe));
	pclose(pipe);
	line[strcspn(line, "\n")] = '\0';
	assert_true(str_u64(str_trim(str_of(line)), &n));
	return (size_t)n;
}

static inline void check_whole(struct shelf *s, const char *url,
			       const char *text)
{
	struct err err = {0};
	struct shelf_ref ref;
	char *bad = NULL;

	assert_int_equal(shelf_find(s, url, &ref, &err), 0);
	assert_true(shelf_whole(s, &ref));
	check_text(s, ref.tree, "weights/w.bin", text);
	shelf_ref_fini(&ref);
	assert_int_equal(shelf_verify(s, url, NULL, NULL, &bad, &err), 0);
	assert_null(bad);
}

#endif
