/* shelf.h: models that were fetched: DATA/models, and the only code that knows
 * how it is laid out. All calls block: for the fetch program and the pool. */
#ifndef STORE_SHELF_H
#define STORE_SHELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/err.h"
#include "core/sha256.h"

/*
 *   files/ab/cdef...   0444: a file's bytes, by their SHA-256
 *   trees/ID/          0755: what a URL was at one time: links into files/
 *   trees/ID.json      its manifest: {"files":[{"path","size","sha256"}]}
 *   refs/KEY.json      {"url","via","tree","etag","checked_at","used_at",
 *                      "bytes","files"}; KEY is the SHA-256 of the name. In
 *                      0700, for a URL may have a signature in it
 *   refs/KEY.etags     {"tree","etags":[...]}: what the source knew each of the
 *                      tree's files by, in the manifest's order; null: nothing
 *   parts/KEY/         a pull under way, 0700; its `lock` is held meanwhile
 *   pins/              not of the shelf: what the daemon has given out
 *   .lock, refs/.lock  flock: who publishes shares the first, gc has it alone
 *   .tmp-* anywhere    half done; gone at the next open that finds nobody
 *                      publishing
 *
 * ID is the SHA-256 of lines "SHA256 SIZE PATH\n", sorted by path. A model is
 * seen whole or not at all: files first, then the tree by one rename, its
 * manifest, and the ref last. Trees are removed by shelf_gc alone. */
struct shelf {
	char *dir;     /* owned; absolute: for words, and for others */
	char *at;      /* private, owned: the same folder, for ourselves */
	uid_t uid;     /* private: whose it is; 0: that of who opened it */
	int fd;	       /* private, owned: the folder, where uid is not 0 */
	bool dumpable; /* private: so were we before we took others' rights */
};

struct shelf_file {
	const char *path; /* as project_path_ok wants it */
	const char *sha256;
	uint64_t size;
};

/* What a model is known by here: its URL, and where that leads elsewhere than
 * for all, by an endpoint or a proxy, `via`: 64 hex digits that stand for
 * those. So nobody gets under a URL what another's endpoint calls that. via ""
 * or NULL: as for all; then the name is the URL. mem_printf. */
char *shelf_name(const char *url, const char *via);

struct shelf_etag {
	const char *path, *etag; /* a strong one, or NULL */
};

struct shelf_ref {
	char *url, *etag; /* owned; etag "" where the source told none */
	char via[SHA256_HEX];
	char tree[SHA256_HEX];
	int64_t checked_at, used_at; /* Unix s */
	uint64_t bytes;
	uint32_t files;
};

/* Makes what is missing, but not the folder above dir. What exists can be
 * opened on a file system that is read-only. */
int shelf_open(struct shelf *s, const char *dir, struct err *err);
/* By root, for the user who fetches: dir is root's, all folders in it are that
 * user's, as is what another user had there. What is done to it from then on is
 * done with that user's rights, so that no link in it leads root astray. uid 0:
 * as shelf_open. */
int shelf_open_as(struct shelf *s, const char *dir, uid_t uid, struct err *err);
void shelf_close(struct shelf *s);

bool shelf_has(const struct shelf *s, const char *sha256, uint64_t size);
/* Takes over the file at `from` (on the same file system), whose content has
 * this hash: synced, read-only, renamed. If it fails the file stays. */
int shelf_take(struct shelf *s, const char *from, const char *sha256,
	       struct err *err);
/* All files must be on the shelf. Makes tree and ref. etag may be NULL. */
int shelf_publish(struct shelf *s, const char *name, const char *etag,
		  const struct shelf_file *files, size_t n,
		  char ret_tree[SHA256_HEX], struct err *err);

/* E_NOTFOUND: nothing of this name is there. */
int shelf_find(const struct shelf *s, const char *name, struct shelf_ref *ret,
	       struct err *err);
void shelf_ref_fini(struct shelf_ref *r);
char *shelf_ref_name(const struct shelf_ref *r); /* mem_printf */
/* Are all files of its tree there, as they were linked? False after
 * shelf_verify has found a bad one. Reads no content. */
bool shelf_whole(const struct shelf *s, const struct shelf_ref *r);
/* Every ref, until `each` returns other than 0, which is returned. */
int shelf_each(const struct shelf *s,
	       int (*each)(void *data, const struct shelf_ref *r), void *data,
	       struct err *err);
/* By what the source knew each file of what is now the name's tree. */
int shelf_put_etags(struct shelf *s, const char *name, const char *tree,
		    const struct shelf_etag *files, size_t n, struct err *err);
/* The files of the tree that this name is, each with its ETag or NULL, until
 * `each` returns false. None where those are not known. */
void shelf_each_etag(const struct shelf *s, const char *name,
		     bool (*each)(void *data, const struct shelf_file *f,
				  const char *etag),
		     void *data);
char *shelf_tree_path(const struct shelf *s, const char *tree); /* mem_printf */
/* The text of trees/ID.json, free() it; NULL: it cannot be read. */
char *shelf_manifest(const struct shelf *s, const char *tree, size_t *ret_len);
/* Where a pull of this name keeps what it has so far; not made here. The
 * folder's *.json name in "done" the files that it relies on, which gc then
 * leaves. mem_printf. */
char *shelf_parts_path(const struct shelf *s, const char *name);

/* used_at, or checked_at, is now. */
int shelf_used(struct shelf *s, const char *name, struct err *err);
int shelf_checked(struct shelf *s, const char *name, struct err *err);
/* The ref; gc does the rest. E_NOTFOUND. */
int shelf_remove(struct shelf *s, const char *name, struct err *err);

struct shelf_gc {
	uint64_t freed, left; /* bytes */
	uint32_t trees, refs; /* removed */
};
/* Removes trees without ref and not in use, files of no tree, pulls that nobody
 * has gone on with for a day; then, while all is above `budget` (0: none), the
 * refs used longest ago whose tree is not in use. ret may be NULL. */
int shelf_gc(struct shelf *s, uint64_t budget, const char *const *trees_in_use,
	     size_t n, struct shelf_gc *ret, struct err *err);

/* Reads all again. *ret_bad: the path of the first file that is not what it was
 * (free() it), or NULL. A bad one is marked: it is never linked again, and the
 * next pull of a URL that has it fetches it anew. progress may be NULL; what it
 * answers false to ends: E_CANCELED. */
int shelf_verify(const struct shelf *s, const char *name,
		 bool (*progress)(void *data, uint64_t done, uint64_t total),
		 void *data, char **ret_bad, struct err *err);

#endif
