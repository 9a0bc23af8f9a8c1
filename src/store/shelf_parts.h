/* shelf_parts.h: what the files of the shelf share. For shelf*.c. */
#ifndef STORE_SHELF_PARTS_H
#define STORE_SHELF_PARTS_H

#include <sys/stat.h>

#include "core/json.h"
#include "store/disk.h"
#include "store/shelf.h"

enum { SHELF_JSON_MAX = 256 << 20 };

/* Takes a flock of the file NAME of the shelf; the lock is gone when *ret_fd is
 * closed. E_BUSY with LOCK_NB where somebody else has it. */
int shelf__lock(const struct shelf *s, const char *name, int how, int *ret_fd,
		struct err *err);
/* DIR/NAME with this content, whole or as it was: synced, renamed. */
int shelf__write(const struct shelf *s, const char *folder, const char *name,
		 const char *text, size_t len, mode_t mode, struct err *err);
/* To the user whose folder the shelf is, where root has made it. */
void shelf__give(const struct shelf *s, int fd);
char *shelf__file_path(const struct shelf *s, const char *sha256);
char *shelf__manifest_path(const struct shelf *s, const char *tree);
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
/* hub/ has this tree as the commit that a revision of the hub is at. URLs that
 * are not hf:// are none of its business. */
int shelf__hub_put(const struct shelf *s, const char *url, const char *commit,
		   const char *tree, struct err *err);
/* Takes out of hub/ what leads nowhere. */
void shelf__hub_sweep(const struct shelf *s);

#endif
