/* zygote.h: the process of a revision that its replicas are forked from: loaded
 * once, as far as a fork is safe, and waiting. */
#ifndef SERVE_ZYGOTE_H
#define SERVE_ZYGOTE_H

#include <stdbool.h>
#include <stdint.h>
#include "core/json.h"

#include "serve/cold.h"
#include "serve/local.h"
#include "spec/spec.h"

struct revision;
struct serve;

/* Of the machine's memory, where nothing else is said: a quarter. */
enum { WARM_SHARE = 4 };

/*
 *            zygote_step           READY
 *   NONE ------------> LOADING ------------> READY
 *    ^                  |   | UNSAFE: the level above, at once
 *    | again_at         |   v
 *   RESTING <-- exit ---+-- exit: as it was asked to, NONE
 *
 * It is a help and no more: while there is none, replicas are started from
 * their program. */
enum zygote_state {
	ZYGOTE_IS_NONE,
	ZYGOTE_IS_LOADING,
	ZYGOTE_IS_READY,
	ZYGOTE_IS_RESTING,
};

/* In a revision, zeroed. */
struct zygote {
	struct revision *rev; /* borrowed: holds us */
	enum zygote_state state;
	enum zygote_level level; /* the deepest that may be safe; ZYGOTE_AUTO:
				    what the spec says */
	char *why;		 /* owned: why it is no deeper, or NULL */
	struct process *process; /* or NULL */
	uint64_t since;		 /* uv_now: it is in this state */
	uint64_t again_at;	 /* uv_now: RESTING ends */
	unsigned failures;	 /* in a row, for the back-off */
	char *failed;		 /* owned: what its FAILED said, or NULL */
	bool proved; /* what is forked at this level answers as it should */
	/* zygote_budget.c */
	uint64_t bytes;	    /* that it takes, last time; 0: not known */
	uint64_t counted;   /* of serve.zygote_bytes */
	uint64_t used_at;   /* uv_now: a replica was started; 0: none was */
	uint64_t gap_ms;    /* from the start before to that one */
	uint64_t admit_at;  /* uv_now: no room was left, not asked before */
	bool no_memory;	    /* that is why: replicas need it */
	uint64_t resident;  /* when it was ready */
	unsigned uses;	    /* since that was compared */
	unsigned bad_forks; /* that ended in their first request, in a row
			     */
};

/* Starts it, if the revision is to have one and has none. */
void zygote_step(struct zygote *z);
/* Once a second: what takes too long, what has rested. */
void zygote_tick(struct zygote *z);
/* Whether it is as it is until something tells: zygote_tick has nothing to do.
 */
static inline bool zygote_is_settled(const struct zygote *z)
{
	return z->state == ZYGOTE_IS_NONE || z->state == ZYGOTE_IS_READY;
}
/* Takes one from before the daemon's restart; false: it is not wanted. */
bool zygote_adopt(struct zygote *z, struct process *p, yyjson_val *meta);
/* A replica of the revision is started, from it or without. */
void zygote__used(struct zygote *z);
/* Whether the revision may have one now or later. */
bool zygote_may_be(const struct zygote *z);
/* What replicas can be forked from now, or NULL. */
struct process *zygote_process(const struct zygote *z);
/* Of a replica that is forked from it now. */
enum cold_tier zygote_tier(const struct zygote *z);
/* What that does first, as LOADING would say, which it does not; NULL: nothing
 * is left to do; free() it. */
char *zygote_next_word(const struct zygote *z);
/* A replica that it forked did not become ready: so far is too far. Or it ended
 * in its first request, which may be that request's doing: twice in a row, and
 * it is the same. */
void zygote_blame(struct zygote *z, const char *why, bool was_ready);
/* A secret that the revision names has another value, or is gone: who was
 * started with the old one is forked no more. */
void zygote_on_secret(struct zygote *z, const char *name);
/* The limit is another, or what they take: those that are worth least go until
 * the others fit. */
void zygote_enforce(struct serve *s);
/* Ends the one that is worth least, of all apis: of those that are `auto`, then
 * of those that are asked for by their level, and of each only as the last the
 * one of the revision that has no room. False: there is none. */
bool zygote_give_way(struct serve *s, const struct revision *to);
/* No more of it; frees what it holds. */
void zygote_leave(struct zygote *z);
/* "init", "imports", "worker"; "none" */
const char *zygote_level_word(enum zygote_level level);
/* Adds what there is to know of it to an api's JSON: an object, or null. */
void zygote_put(const struct zygote *z, yyjson_mut_doc *doc,
		yyjson_mut_val *obj, const char *key);

/* zygote_budget.c: whether there is room for one more, which others may have to
 * make. Counts what a process of it takes, from its start to its end; looks at
 * that on the pool. */
bool zygote__admit(struct zygote *z);
/* Why there is none, for people. */
const char *zygote__no_room(const struct zygote *z);
void zygote__count_bytes(struct zygote *z);
void zygote__forget_bytes(struct zygote *z);
void zygote__measure(struct zygote *z);
/* Whether its forks have left it so much larger that another one is better; for
 * people, free() it, or NULL. */
char *zygote__grown(struct zygote *z);
/* zygote.c: its process goes; another one comes when it is wanted again. */
void zygote__end(struct zygote *z);

#endif
