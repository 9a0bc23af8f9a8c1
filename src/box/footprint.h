/* footprint.h: what a process takes. */
#ifndef BOX_FOOTPRINT_H
#define BOX_FOOTPRINT_H

#include <stdint.h>
#include <sys/types.h>

/* Bytes of a process and of what is below it, each page that several processes
 * share counted by its part (PSS). */
struct footprint {
	uint64_t all;	/* 0: it cannot be read */
	uint64_t own;	/* not of files: what it has written */
	uint64_t files; /* of files that it maps */
	uint64_t more;	/* that it once had beside what it has now */
};

/* Walks all their pages: not for the loop's thread, and not often. */
struct footprint footprint_of(pid_t pid);
/* Bytes of pid alone that are in memory, shared ones too; 0: it cannot be read.
 * One small read. */
uint64_t resident_of(pid_t pid);
/* Processor time of all threads of pid so far, ns; 0: it is gone. */
uint64_t cpu_time_ns(pid_t pid);

#endif
