/* transfer.h: brings all files of a listing onto the shelf: in parallel ranges,
 * hashed as they come, and going on where an earlier pull was ended. */
#ifndef FETCH_TRANSFER_H
#define FETCH_TRANSFER_H

#include "fetch/client.h"
#include "fetch/parts.h"
#include "fetch/report.h"
#include "fetch/source.h"
#include "store/shelf.h"

/* All borrowed. */
struct transfer_job {
	struct shelf *shelf;
	struct client *client;
	struct source *source;
	const struct listing *listing;
	struct parts *parts;
	struct report *report;
	uint64_t limit; /* bytes of all at most; 0: none */
};

/* A row for each file, in the listing's order; free() it, its paths are the
 * listing's and its hashes are behind the rows. On failure parts has what came.
 */
int transfer_run(const struct transfer_job *job, struct shelf_file **ret,
		 struct failure *why);

#endif
