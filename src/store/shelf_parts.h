/* shelf_parts.h: what the files of the shelf share. For shelf*.c. */
#ifndef STORE_SHELF_PARTS_H
#define STORE_SHELF_PARTS_H

#include <dirent.h>
#include <sys/stat.h>

#include "core/json.h"
#include "store/disk.h"
#include "store/shelf.h"

enum { SHELF_JSON_MAX = 256 << 20 };

/* Where root works on a shelf that is another user's, this thread has that
 * user's rights to files, and no others, while it does: what is planted there
 * leads to nothing that its owner could not have reached. Every function of
 * shelf.h that looks at the disk begins with
 *
 *	cleanup_guise struct shelf_guise g = shelf__worn(s);
 *
 * Within another it changes nothing. */
struct shelf_guise {
	bool worn, dumpable;
	int death_signal, n_groups;
	gid_t *groups; /* owned */
};
struct shelf_guise shelf__worn(const struct shelf *s);
/* False: the kernel does not let us; it is to be taken off all the same. */
bool shelf__wear(struct shelf_guise *g, const struct shelf *s);
void shelf__take_off(struct shelf_guise *g);
#define cleanup_guise __attribute__((cleanup(shelf__take_off), unused))

/* Takes a flock of the file NAME of the shelf; the lock is gone when *ret_fd is
 * closed. E_BUSY with LOCK_NB where somebody else has it. */
int shelf__lock(const struct shelf *s, const char *name, int how, int *ret_fd,
		struct err *err);
/* DIR/NAME with this content, whole or as it was: synced, renamed. */
int shelf__write(const struct shelf *s, const char *folder, const char *name,
		 const char *text, size_t len, mode_t mode, struct err *err);
/* Neither follows a link at the end of the path. shelf__read: a plain file, at
 * most max bytes; free() it. 0 or -1. */
DIR *shelf__opendir(const char *path);
int shelf__read(const char *path, size_t max, char **ret, size_t *ret_len);
char *shelf__file_path(const struct shelf *s, const char *sha256);
char *shelf__manifest_path(const struct shelf *s, const char *tree);
/* What a name's files are called by. */
void shelf__key(const char *name, char out[SHA256_HEX]);
/* As shelf_tree_path, for ourselves: it leads there whoever we are. */
char *shelf__tree_at(const struct shelf *s, const char *tree);
/* What shelf_verify finds bad it makes writable: that is the mark, and all
 * links to the file have it. Nothing else here is ever writable. */
static inline bool shelf__is_sound(const struct stat *st)
{
	return (st->st_mode & 0222) == 0;
}
/* A full disk or one that may not be written, in words. */
int shelf__fail(const struct shelf *s, int sys, const char *doing,
		struct err *err);

int shelf__write_ref(const struct shelf *s, const struct shelf_ref *r,
		     struct err *err);
/* The manifest's rows; false where it cannot be read. */
bool shelf__each_file(const struct shelf *s, const char *tree,
		      bool (*each)(void *data, const struct shelf_file *f),
		      void *data);

#endif
