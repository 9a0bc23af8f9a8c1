/* shelf_fixture.h: a shelf in a folder of its own, and models for it. */
#ifndef TESTS_SHELF_FIXTURE_H
#define TESTS_SHELF_FIXTURE_H

#include <stdio.h>
#include <string.h>

#include "core/sha256.h"
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

#endif
