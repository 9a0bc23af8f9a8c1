/* memory.h: what replicas take of this machine's memory, and whether one more
 * fits: by what is reserved (compute.mem, else what was measured), and by what
 * is observed to be free. */
#ifndef SERVE_MEMORY_H
#define SERVE_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"
#include "spec/spec.h"

struct revision;
struct serve;

/* What replicas of a revision take, in bytes. */
struct memory_need {
	uint64_t own;	 /* each for itself; 0: not known */
	uint64_t shared; /* files that they map: once, however many there are */
	const char *from; /* "compute.mem", "as measured", "since one ran out of
			     memory"; NULL: nothing is known */
};
struct memory_need memory_need(const struct revision *rev);

/* Of the machine, of what our control group may have of it, or of the setting
 * `memory`, whichever is least. */
uint64_t memory_total(const struct serve *s);
/* That is free now, as the kernel sees it: of the machine, and of what our
 * control group may have. A little is left for others. */
uint64_t memory_observed(const struct serve *s);
/* What nobody has reserved; those that give way to others are not counted. */
uint64_t memory_unreserved(const struct serve *s);
/* What frozen replicas and zygotes have that end for those that start. */
uint64_t memory_giving_way(const struct serve *s);
/* Its replicas that have memory reserved: one in back-off has no process, and
 * others may have its memory meanwhile, unless it is kept (swap_kept). */
unsigned memory_places(const struct revision *rev);
/* What its replicas that are wanted have reserved, with so many of them. */
uint64_t memory_of(const struct revision *rev, unsigned places);
/* What those that are to end still hold. */
uint64_t memory_leaving(const struct revision *rev);
/* Of its places that load, all of their processes together, whether these are
 * ready or not: what they have taken so far, and have still to take. Those in
 * back-off do not load. */
struct memory_loading {
	uint64_t taken, left;
};
struct memory_loading memory_loading(const struct revision *rev);

/* Fails when not even min_replicas of it would fit, were they alone. */
int memory_check(const struct serve *s, const struct spec *spec,
		 struct err *err);
/* Replicas, beside those that it has, for which memory is left. UINT_MAX: what
 * one takes is not known. */
struct memory_room {
	unsigned now;
	unsigned soon;	  /* when what leaves, or gives way, has ended */
	unsigned instead; /* if nothing of its api's other revisions were there
			   */
};
struct memory_room memory_room(const struct revision *rev);
/* Whether there is still room for all that it has: for one that has died and is
 * to be started again, and may be taken to need more by now. */
bool memory_fits_again(const struct revision *rev);
/* Why no more do: mem_printf'ed. */
char *memory_text(const struct revision *rev);
/* Why none of it has room beside that one: mem_printf'ed. */
char *memory_beside_text(const struct revision *rev,
			 const struct revision *other);

#endif
