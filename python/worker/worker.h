/* worker.h: the replica process of a Python predictor: its state, and who may
 * touch what.
 *
 * Threads. The *poller* waits for sockets, reads and parses requests, answers
 * PING, keeps the time. *Slots* are Python threads that run predict. With one
 * slot its thread is also the poller, as long as no predict overruns: then the
 * watchdog, a C thread that never takes the GIL, polls until that predict
 * ends. With more slots the watchdog is the poller for good.
 *
 * Everything in struct worker is under `lock`, but for what says otherwise.
 * The GIL is never waited for with the lock held: lock after GIL, never GIL
 * after lock.
 */
#ifndef WORKER_H
#define WORKER_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <llhttp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/list.h"

enum {
	SLOTS_MAX = 1024,
	HEAD_MAX = 128 * 1024,	/* request line and headers */
	ANSWER_MAX = INT32_MAX, /* bytes of an answer */
	OVERRUN_US = 1000,	/* a predict this long is watched */
	DOZE_TICKS = 50,	/* quiet ticks before the watchdog sleeps */
	JSON_DEPTH = 1000,
};

struct conn;

struct header {
	size_t name, name_len, value, value_len; /* offsets into text */
};

/* One request. Belongs to its connection while that lives; a slot that runs
 * it holds it, and finds `conn` NULL if the client went away. */
struct request {
	struct list link; /* in worker.queue while it waits */
	struct conn *conn;
	uint8_t method;
	bool keep_alive;
	bool answered; /* its 504 is out: what predict returns is dropped */
	bool running;
	struct buf text; /* url, then header names and values */
	size_t url_len;
	struct header *headers; /* owned */
	size_t n_headers, cap_headers;
	struct buf body;
	size_t id, id_len; /* X-Request-Id's value, offset into text */
};

struct conn {
	struct list link; /* in worker.conns */
	int fd;
	llhttp_t parser;
	struct request *req; /* being read, waiting or running; or NULL */
	bool parsing;	     /* req is not whole yet */
	bool in_value;	     /* the parser's last header event was a value */
	struct buf in;	     /* pipelined bytes behind a whole request */
	struct buf out;	     /* what the socket has not taken */
	size_t sent;
	uint32_t events;  /* what epoll watches */
	bool close_after; /* out, then close */
};

struct slot {
	struct request *req; /* running; or NULL */
	int64_t since_ns;    /* when predict began */
};

struct worker {
	pthread_mutex_t lock;
	pthread_cond_t work; /* a request was queued, or the end came */
	pthread_cond_t turn; /* the poller's role changed hands */
	pthread_cond_t wake; /* for the dozing watchdog */
	pthread_t watchdog;

	int listen_fd, control_fd, epoll_fd;
	int kick_fd; /* eventfd: the poller should look up */
	int stop_fd; /* eventfd: SIGTERM */

	struct list conns, queue;
	struct list dead; /* closed, freed when no event can name them */
	size_t n_conns, n_queued;
	struct slot slots[SLOTS_MAX];
	unsigned n_slots, n_running;
	bool own_poll; /* one slot, which polls while it has nothing to run */
	bool watchdog_has; /* the watchdog is polling */
	bool wants_role;   /* the slot wants it back */
	bool dozing;
	atomic_bool busy; /* the one slot is not polling; read without lock */
	atomic_llong busy_since_ns;

	bool ready, stopping, fenced, ended;
	int64_t stop_by_ns;
	uint32_t predict_timeout_ms;
	uint64_t max_body;  /* 0: no limit */
	char *last_loading; /* owned */
	char *ready_facts;  /* owned */
};

extern struct worker worker; /* the process has one */

int64_t now_ns(void);

/* poll.c */
void poll_init(void);
void poll_once(int timeout_ms); /* without lock, without GIL needed */
void poll_kick(void);
void watch_listen(void); /* under lock */
void *watchdog_main(void *arg);

/* control.c: under lock */
int control_receive_config(char **ret_json); /* blocks; before threads */
void control_send(uint8_t type, uint32_t arg, const char *payload);
void control_readable(void);

/* conn.c: under lock */
void conn_accept_all(void);
void conn_event(struct conn *c, uint32_t events);
void conn_answer(struct conn *c, const char *head, size_t head_len,
		 const char *body, size_t body_len, bool keep_alive);
void conn_close(struct conn *c);
void conn_close_waiting(void); /* those whose request does not run */
void conn_close_idle(void);
void conn_reap(void);		/* after a burst of events */
void conn_next(struct conn *c); /* its request is over */

/* request.c: under lock */
struct request *request_new(struct conn *c);
void request_free(struct request *r);
void request_answer(struct request *r, unsigned status, const char *type,
		    const char *extra, const char *body, size_t len);
void request_error(struct request *r, unsigned status, const char *code,
		   const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* A whole request: answered here when it is none for predict, else queued. */
void request_arrived(struct request *r);
/* Adds "HTTP/1.1 200 OK" ... up to the empty line. */
void request_head(struct buf *b, const struct request *r, unsigned status,
		  const char *type, const char *extra, size_t body_len);

/* slot.c: with the GIL */
int slots_setup(PyObject *hooks);
int slot_run(unsigned index);
const char *slot_current_id(size_t *ret_len);

/* json_in.c, json_out.c: with the GIL */
/* New reference; NULL with `why` set (an error of the text), or with a Python
 * error. */
PyObject *json_in(const char *text, size_t len, char *why, size_t why_size);
/* 0, or -1 with a Python error. */
int json_out(struct buf *b, PyObject *value);

#endif
