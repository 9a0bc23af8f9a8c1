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
 * takes it, and in `done` until a leader ends it. */
#ifndef HOST_SLOTS_H
#define HOST_SLOTS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "core/list.h"

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
	unsigned slot;			 /* that runs it */
	uint64_t since_ms;		 /* it began to run */
	bool late;			 /* on_late was called */
	bool unlimited;			 /* no time limit */
	void (*run)(struct work *w);	 /* by a slot, without the lead */
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
	void *data;

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
	uint64_t serial;   /* counts beginnings and ends of runs */
	uint64_t usual_ns; /* what a run takes, about */
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
/* By the leader: takes it back if it has not begun. */
bool slots_take_back(struct slots *s, struct work *w);
/* By the leader: takes back the oldest that has not begun, or NULL. */
struct work *slots_take_oldest(struct slots *s);
/* By the leader: calls fn if the work is running, and keeps it running
 * meanwhile. fn must not block. */
void slots_if_running(struct slots *s, struct work *w,
		      void (*fn)(struct work *w));
bool slots_are_idle(struct slots *s);
bool slots_are_stuck(struct slots *s);
/* From any thread: the leader returns from its wait. */
void slots_wake(struct slots *s);

#endif
