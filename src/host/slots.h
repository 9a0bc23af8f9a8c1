/* slots.h: the threads that run inference, and which of them waits for the
 * network.
 *
 * One thread at a time *leads*: it runs the event loop, and everything that
 * belongs to the loop (connections, requests, the control channel) is its own
 * for so long. Slots are threads that run work without the lead.
 *
 * Handing a request to another thread and its result back costs two wake-ups,
 * often more than a small model. So a free slot leads: it reads a request, lets
 * go of the lead, runs the request itself, takes the lead again and answers.
 * What then needs looking after while it runs, a second thread looks after:
 *
 * - with runs that take longer than a wake-up, a free slot is woken to lead
 *   before a run begins;
 * - a *watchdog* looks every few milliseconds; where a run goes on and nobody
 *   leads, it has a free slot lead, or leads itself until one is free. So PING,
 *   new connections and time limits never wait for a model.
 *
 *   slot 0   ══lead══╗run╔══lead══╗run ........... ╔═lead═
 *   watchdog          tick         tick tick══lead══╝
 *
 * `lock` guards all that two threads touch. Work waits in `queue` until a slot
 * takes it, and in `done` until a leader ends it.
 *
 * With batches a slot takes several works that fit to each other and runs them
 * in one go; policy/batch.h says when. What else is coming is known once the
 * loop has been asked: so where nobody led during a run, a slot leads for one
 * turn before it takes what waits. And where the policy waits for more, it is
 * the leader that waits, in the loop: for what is being read, and for callers
 * who have just been answered, if they are of those that ask again at once. */
#ifndef HOST_SLOTS_H
#define HOST_SLOTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "core/buf.h"
#include "core/list.h"
#include "core/tally.h"
#include "policy/batch.h"
#include "policy/curve.h"

enum work_state {
	WORK_IDLE,
	WORK_QUEUED,
	WORK_RUNNING,
	WORK_DONE, /* waits for a leader */
};

/* One thing to run. Its memory is the owner's, from slots_add to on_done. */
struct work {
	struct list link;
	enum work_state state;
	unsigned slot;	     /* that runs it */
	uint64_t since_ms;   /* it began to run */
	uint64_t queued_ns;  /* if timed, or with batches: when it was added */
	uint64_t began_ns;   /* to run */
	uint64_t ran_ns;     /* how long, once it has */
	bool late;	     /* on_late was called */
	bool unlimited;	     /* no time limit */
	bool alone;	     /* joins no batch; set before slots_add */
	bool timed;	     /* set before slots_add, too */
	bool uncounted;	     /* likewise: the tally does not have it */
	bool again;	     /* set by run: it is to run once more, alone */
	bool unwanted;	     /* nobody waits for it: it does not run again */
	struct work *first;  /* of those that run in one go */
	struct work *behind; /* the next of them, or NULL */
	/* By a slot, without the lead: the first of those that run in one go,
	 * for all of them. */
	void (*run)(struct work *w);
	void (*on_done)(struct work *w); /* by the leader */
	/* By the leader, once: it has run for longer than the limit. */
	void (*on_late)(struct work *w, uint64_t ran_ms);
	/* By the leader, once: it was late and did not end in the grace. Its
	 * slot gets no more work. */
	void (*on_stuck)(struct work *w, uint64_t ran_ms);
};

struct slot {
	struct slots *slots;
	unsigned index;
	pthread_t thread;
	pthread_cond_t go;
	struct list link; /* in slots->idle */
	struct work *work;
	bool stuck;
};

struct slots {
	uv_loop_t *loop; /* borrowed */
	unsigned n;
	uint64_t limit_ms; /* of a run; 0: none */
	uint64_t grace_ms; /* from late to stuck */
	/* All work is stuck: by the leader, once. */
	void (*on_all_stuck)(void *data);
	/* What waits and runs, and has, without what has no time limit: by the
	 * leader, when that has changed, and not too often. May be NULL. */
	void (*on_tell)(void *data, const struct tally *t);
	void *data;
	/* Works that run in one go, at most; below 2: no batches. */
	uint32_t batch_max;
	uint64_t batch_interval_ns;
	/* Not 0: the size, up to that most, and how long to wait for others are
	 * learned (policy/curve.h), and there is no interval. */
	uint64_t batch_target_ns;
	/* By the leader, with `data`: there is news for slots_write_curve. */
	void (*on_learned)(void *data);
	/* By any thread: whether the two may be in one batch. NULL without
	 * batches. Must not block. */
	bool (*fit)(const struct work *oldest, const struct work *other);

	/* private */
	pthread_mutex_t lock;
	pthread_cond_t tick;
	uv_async_t wake;   /* ends the leader's wait */
	uv_timer_t timer;  /* the same, when a limit is reached */
	struct slot *slot; /* owned */
	struct list queue, done, idle;
	unsigned n_busy, n_stuck;
	int leader; /* index of a slot, n: the watchdog, -1: nobody */
	bool dozing;
	bool ended;
	bool asked; /* the loop, since the last run without a leader */
	atomic_uint n_coming; /* see slots_coming */
	struct batch_callers callers;
	uint64_t serial;    /* counts beginnings and ends of runs */
	uint64_t usual_ns;  /* what a run takes, about */
	struct curve curve; /* with a target; so the next two */
	struct curve_told told;
	bool news;
	/* stages.c: */
	struct tally done_so_far, said;
	bool changed;	     /* since it was said */
	uint64_t tell_at_ms; /* not before */
	pthread_t watchdog;
};

/* Fills the fields above "private" first. */
void slots_init(struct slots *s);
/* Runs them, the calling thread as slot 0, until slots_end was called; then all
 * threads have ended. An error number if they could not all be made: then none
 * has run anything. */
int slots_run(struct slots *s);
/* By the leader, when nothing runs. */
void slots_end(struct slots *s);
/* After slots_run. Its handles close with the loop's next turn. */
void slots_fini(struct slots *s);

/* By the leader: runs it as soon as a slot is free. */
void slots_add(struct slots *s, struct work *w);
/* By the leader: n more, or fewer, works are on their way to slots_add. */
void slots_coming(struct slots *s, int n);
/* From any thread: no more batches. */
void slots_no_batches(struct slots *s);
/* From any thread: what is learned, as JSON; nothing where nothing is. */
void slots_write_curve(struct slots *s, struct buf *out);
/* By the leader: takes back the oldest that has not begun, or NULL. */
struct work *slots_take_oldest(struct slots *s);
/* By the leader: nobody waits for it any more. True if it had not begun, and is
 * taken back. Otherwise it ends in on_done; when it runs, and nobody waits for
 * any that run with it, `stop` is called with the first of them, and the run
 * does not end meanwhile. It may be NULL, and must not block. */
bool slots_give_up(struct slots *s, struct work *w,
		   void (*stop)(struct work *first));
bool slots_are_idle(struct slots *s);
/* By the leader, who alone finds them stuck. */
bool slots_are_stuck(const struct slots *s);
/* From any thread: the leader returns from its wait. */
void slots_wake(struct slots *s);

#endif
