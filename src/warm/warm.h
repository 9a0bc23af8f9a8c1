/* warm.h: the files of models and the page cache: how much of them is there,
 * and reading ahead what is not. All of it blocks: for the pool, and for `soma
 * warm`, which the daemon starts beside a replica.
 *
 * A file that is mapped is read where it is touched, one place at a time, which
 * a disk answers at a part of its speed. Read ahead at several places at once
 * it comes as fast as the disk can, while the replica still starts; and who
 * has read it is charged for its pages, so that no replica is. */
#ifndef WARM_WARM_H
#define WARM_WARM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct warm_file {
	char *path; /* owned */
	uint64_t size;
};

/* The files of models that are worth it, each model's by their names. */
struct warm_files {
	struct warm_file *items; /* owned */
	size_t n;
	uint64_t bytes;
	bool whole; /* all were found: there are not too many, none is hidden
		       or too deep, and nobody said stop */
};

/* paths: NULL-ended, of files and of folders. They may be links; a link below
 * counts where it leads to a file, and leads into no folder. Other file systems
 * are not entered. What is in the forms of other libraries beside
 * safetensors of the same folder is left out. stop, which may be NULL, ends it
 * from another thread.
 */
void warm_files_find(struct warm_files *f, const char *const *paths,
		     const atomic_bool *stop);
void warm_files_fini(struct warm_files *f);

struct warm_look {
	uint64_t bytes;	  /* that all files have */
	uint64_t missing; /* of them, not in the page cache: an estimate */
};

/* most: of models that have more it is not looked what is there. The kernel
 * tells of files that are ours, or that we may write; the others seem to be
 * there. stop: as above. */
struct warm_look warm_look(const char *const *paths, uint64_t most,
			   const atomic_bool *stop);

/* Reads all that is not there. Bytes of all files that could be opened. */
uint64_t warm_read(const struct warm_files *f);

/* argv[0] is "warm": soma warm PATH... Prints {"bytes":N,"ms":N}. The exit
 * code: 0, 1 nothing could be read, 2 wrong arguments. */
int warm_main(int argc, char **argv);

#endif
