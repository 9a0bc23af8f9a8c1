/* swap.h: memory that cannot hold all: policy is told what is so, on a clock
 * while anybody lacks memory, and what it says is done. */
#ifndef SERVE_SWAP_H
#define SERVE_SWAP_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "core/json.h"
#include "policy/swap.h"

struct api;
struct revision;
struct serve;

/* In a serve, zeroed. */
struct swap {
	unsigned starving; /* revisions that lack memory */
	bool yielding;	   /* private: some may be sent nothing new */
	uv_timer_t timer;  /* private */
	bool open;	   /* private */
};

void swap_open(struct serve *s);
void swap_close(struct serve *s);

/* Something has happened that may let another one in. O(1). */
void swap_wake(struct serve *s);
/* Of the places for which a revision finds memory, how many it may take: those
 * who have waited longer come first. */
unsigned swap_allows(struct revision *rev);
/* Whether it gets its memory without waiting for requests of others. */
bool swap_helps(struct revision *rev);
/* Replicas of it that stay, whoever waits and however long. */
unsigned swap_kept(const struct revision *rev);
/* Whether one of it whose back-off is over may be started again where it is:
 * nobody has waited for the memory for longer. Else it gives way, and claims
 * some like any other. */
bool swap_allows_again(struct revision *rev);
/* Memory that it can have at most, whoever else goes. */
uint64_t swap_ever(struct revision *rev);

/* swap_words.c: each is mem_printf'ed, or NULL: there is nothing to say. */
/* What it waits for. */
char *swap_text(struct revision *rev);
/* Why it is there, or what would let it go. */
char *swap_stay_text(struct revision *rev);
/* What a replica takes. */
char *swap_need_text(const struct revision *rev);
/* "memory" of admin-api.md's API object. */
void swap_put(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct api *a);

#endif
