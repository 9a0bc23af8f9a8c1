/* worker.h: the replica process of a Python predictor: what its files share.
 *
 * Threads. The *looper* is a C thread that never touches Python. The *slots*
 * are Python threads that run predict; slot 0 is the main thread. One thread
 * at a time *leads*: it waits for sockets and handles what comes. With more
 * slots than one the looper always leads. With one slot the main thread leads
 * itself, so that a request is read, predicted and answered without a change
 * of threads; the looper ticks beside it and takes the lead when a predict
 * overruns (poll.c). Beside them run hooks: `def`s on threads of a pool
 * (hooks.c), what is `async def` on the process's one asyncio loop, which has a
 * thread of its own (tasks.c).
 *
 * Locks. `worker.lock` guards every field but those that say otherwise. A
 * thread that holds it neither blocks nor waits for the GIL; a thread that
 * holds the GIL may take it.
 *
 * Free-threaded Pythons have a build of their own, without the stable ABI.
 * There "the GIL is held" means that the thread may use Python, beside others
 * that do: slots predict at the same time. What only the GIL guards is marked
 * UNLESS_GIL or is in a critical section.
 */
#ifndef WORKER_H
#define WORKER_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#ifdef Py_GIL_DISABLED
#define UNLESS_GIL(words) words
#else
#define UNLESS_GIL(words)
#endif
#ifndef Py_BEGIN_CRITICAL_SECTION /* of 3.13, and not of the stable ABI */
#define Py_BEGIN_CRITICAL_SECTION(object) {
#define Py_END_CRITICAL_SECTION() }
#endif

#include <llhttp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/types.h>

#include "core/buf.h"
#include "core/list.h"
#include "core/mem.h"
#include "core/str.h"
#include "loop/frame.h"

/* All maxima. */
enum {
	/* More than the most that settings make the daemon let in (17 MiB,
	 * 10000), with what it adds. */
	HEAD_MAX = 20 << 20,
	HEADERS_MAX = 11000,
	AHEAD_MAX =
		64 * 1024, /* bytes read while a request is being answered */
	READ_SIZE = 64 * 1024,
	SMALL_BODY = 4096,   /* of an answer: sent in one piece with its head */
	BODY_STEP = 1 << 20, /* a big body is read in pieces of this */
	SPARE_MAX = 64,	     /* requests kept for the next ones */
	SPARE_HEAD_MAX = 4096,
	SPARE_HEADERS_MAX = 64,
	ID_MAX = 128, /* of a request id */
	EVENTS_MAX = 64,
	JSON_DEPTH_MAX = 1024,
	LINE_MAX_BYTES = 64 * 1024, /* a longer line of output is cut in two */
	SLOTS_MAX = 1024,
	HOOKS_DEFAULT = 64, /* max_hooks: threads that run hooks */
	HOOKS_MAX = 1024,
	POSTS_FOR_A_HOOK = 4, /* so many posts for each of max_hooks, and slots
				 take nothing new until there are fewer */
	POST_TASKS_FOR_A_HOOK = 64, /* the same of those that are tasks, which
				       take no thread */
	STOP_GRACE_MS = 30000,	    /* when SIGTERM asks: it names none */
	ATEXIT_MS = 5000,	    /* what atexit handlers may take */
};

struct slot;
struct conn;
struct stream;

/* --- requests (request.c) ------------------------------------------------- */

/* A Python call by the names of its parameters. */
enum call_arg {
	ARG_PAYLOAD,
	ARG_QUERY_PARAMS,
	ARG_HEADERS,
	ARG_BATCH_ID,
	ARG_RESPONSE,
	N_ARGS,
};

/* What the user's methods got and gave for a request. Touched by the thread
 * that handles the request, with the GIL. */
struct call {
	PyObject *args[N_ARGS]; /* owned; NULL: not made yet */
	PyObject *after;  /* owned: a callable to run after the answer, or NULL
			   */
	bool after_async; /* calling it makes a coroutine */
	PyObject *hold;	  /* owned: what the reply's views point into */
	PyObject *chunks; /* owned: the iterator that makes the body, or NULL */
};

enum request_state {
	REQUEST_READING, /* belongs to its conn */
	REQUEST_PRE,	 /* waits for pre_predict; belongs to that once begun */
	REQUEST_QUEUED,	 /* in worker.queue too; belongs to that once begun */
	REQUEST_RUNNING, /* belongs to its slot */
	REQUEST_OVER,	 /* answered, or nobody's; belongs to the hooks */
};

/* What of the user's code comes next, or runs, beside predict. */
enum hook {
	HOOK_NONE,
	HOOK_PRE,   /* pre_predict */
	HOOK_AWAIT, /* a coroutine of predict's, whose thread waits */
	HOOK_POST,  /* post_predict */
	HOOK_AFTER, /* call.after */
};

struct awaiting;

struct header {
	uint32_t name, name_len; /* offsets into request.head */
	uint32_t value, value_len;
};

struct request {
	struct list link;
	enum request_state state;
	enum hook hook;
	bool begun; /* the user's code has seen it, and `call` has objects */
	struct conn *conn;     /* NULL: nobody waits for the answer any more */
	struct stream *stream; /* that answers it; NULL: none */
	struct buf head;       /* target, then names and values */
	struct buf body;
	struct header *headers; /* owned */
	uint32_t n_headers, headers_cap;
	uint32_t target_len;
	uint8_t method; /* of llhttp */
	bool keep_alive;
	bool encoded;  /* it has a Content-Encoding */
	bool in_value; /* of the parser: which of the two a span continues */
	int refuse;    /* HTTP status to refuse it with, 0: none */
	bool timed;    /* its answer is to say when it was where, which is: */
	bool batched;  /* its predict is a batch's */
	bool counted;  /* STAGES has its predict, or is not to */
	uint64_t pre_began_ns; /* by now_ns */
	uint64_t pre_ns;       /* what pre_predict took; 0: there was none */
	/* By now_ns, 0 before: it waits (only if timed or for a batch), has a
	 * slot, predict was called and has returned. */
	uint64_t queued_ns, taken_ns;
	_Atomic uint64_t called_ns, returned_ns; /* also without the lock */
	struct call call;
	struct list task_link;	   /* in the loop's list (tasks.c) */
	PyObject *task;		   /* owned: of the loop, while it runs */
	struct awaiting *awaiting; /* HOOK_AWAIT: who waits (tasks.c) */
	char id[ID_MAX + 1];
};

/* Starts one for c; its parser is in c. */
struct request *request_create(struct conn *c);
void request_destroy(struct request *r);
/* Lets go of its Python objects, too: it is over. The GIL is held; the lock is
 * on return. */
void request_end(struct request *r);
/* Its conn lets go of it, answered or not: what nobody else has is freed. NULL
 * is taken. */
void request_leave(struct request *r);
/* The client has gone: ends what can be ended. Before request_leave. */
void request_cancel(struct request *r);
void request_parser_init(struct conn *c);
/* Lower-case name. False when absent; the view lives as long as r. */
bool request_header(const struct request *r, struct str name, struct str *ret);
struct str request_target(const struct request *r);

struct err;
/* Unpacks the body of an encoded request, and its headers say so: no
 * content-encoding, the length that the body has now. Takes time; needs neither
 * GIL nor lock (unpack.c). */
int unpack_body(struct request *r, struct err *err);

/* --- connections (conn.c) ------------------------------------------------- */

enum conn_state {
	CONN_READING,	 /* idle, or a request is coming in */
	CONN_WAITING,	 /* its request is queued or runs */
	CONN_STREAMING,	 /* its answer is made and sent piece by piece */
	CONN_WRITING,	 /* an answer is on its way out */
	CONN_DISCARDING, /* answered for good: what still comes is dropped */
};

struct conn {
	int fd;
	uint32_t serial; /* tells stale epoll events */
	enum conn_state state;
	bool eof;	  /* no more requests; the answer may still be wanted */
	bool keep;	  /* goes on after the answer that is being written */
	bool discard;	  /* unread bytes of a refused request may come */
	uint32_t watched; /* the events that epoll knows */
	struct request *request; /* being read, waited for; NULL: idle */
	llhttp_t parser;
	struct buf ahead; /* read but not parsed: pipelined requests */
	struct buf out;	  /* what the socket did not take at once */
	size_t out_sent;  /* of it */
};

/* An answer. Views, borrowed for the call. */
struct reply {
	int status;
	const char *type;   /* content type, or NULL */
	struct str headers; /* more of them, each with its CRLF */
	struct str body;
	bool close; /* the connection ends after it */
};

/* What a 503 says of a request that no slot will take. */
#define NOT_BEGUN                                                              \
	"the process is being replaced; this request has not begun in it"
/* Of one whose pre_predict has run. */
#define NOT_PREDICTED                                                          \
	"the process is being replaced; pre_predict ran, predict did not"

void conn_accept(void);
void conn_event(struct conn *c, uint32_t events);
/* Writes the answer of the request c waits for, then reads on. c may be gone
 * afterwards. */
void conn_reply(struct conn *c, const struct reply *reply);
/* As conn_reply with {"error":{code,message,request_id}}; the status goes with
 * the code unless given. */
void conn_refuse(struct conn *c, int status, const char *code, const char *fmt,
		 ...) __attribute__((format(printf, 4, 5)));
void conn_close(struct conn *c);
/* {"error":{code,message,request_id}} */
void error_text(struct buf *b, const char *code, struct str message,
		const char *id);
/* An answer in pieces (conn_stream.c), for a request that runs. Begins it: puts
 * the head into ret_head, to be pushed with what follows. Returns whether the
 * pieces go in HTTP's chunks; else the end of the connection is theirs. */
bool conn_stream_begin(struct conn *c, const struct reply *a,
		       struct buf *ret_head);
/* c may be gone afterwards. */
void conn_stream_push(struct conn *c, struct str bytes);
/* Reads on, or closes what is not `whole`. c may be gone afterwards. */
void conn_stream_end(struct conn *c, bool whole);
/* What the client has not taken. */
size_t conn_pending(const struct conn *c);

/* Between conn.c and conn_stream.c. Status line and headers with the empty
 * line; the answer has left; takes up what was read ahead; tells epoll. */
void conn__head(const struct conn *c, const struct reply *a, bool bare,
		struct buf *b);
void conn__written(struct conn *c);
void conn__go_on(struct conn *c);
void conn__watch(struct conn *c);

/* Stopping: closes what carries no request that has begun. */
void conn_drain(struct conn *c);

/* --- polling (poll.c) ----------------------------------------------------- */

enum worker_state {
	WORKER_LOADING,	 /* the predictor is imported and made */
	WORKER_SERVING,	 /* READY was said */
	WORKER_STOPPING, /* no new requests; what is here is finished */
	WORKER_DRAINED,	 /* the main thread says goodbye */
};

enum lead { LEAD_LOOPER, LEAD_MAIN };

struct worker {
	pthread_mutex_t lock;
	/* Set once at the start. */
	int epoll, listener, control;
	int wake; /* eventfd in epoll: ends the main thread's wait */
	int prod; /* eventfd: ends the looper's wait */
	/* A pipe that Python writes to when a signal comes (set_wakeup_fd), in
	 * epoll: one that comes just before a wait must end it, too. */
	int signals[2];
	unsigned n_slots, max_hooks;
	uint64_t predict_timeout_ms; /* 0: none */
	size_t max_body;
	bool batches; /* predict takes lists (batch.h) */
	/* Before READY, and then constant: what GET is answered where no
	 * method takes it, NULL: 405; and the methods for a 405 to name. */
	char *summary; /* owned */
	char allow[96];

	enum worker_state state;
	enum lead lead;
	bool main_idle; /* the main thread waits in epoll */
	uint64_t polls; /* of the main thread: stands still in a predict */
	pthread_cond_t tick;
	bool dozing; /* the looper waits on `tick` without a time */

	struct list queue; /* of requests */
	bool held;	   /* what is in it waits for others, to go with them */
	struct list spare; /* of requests that are over */
	unsigned n_spare;
	struct list idle;   /* of slots, newest first */
	struct slot *slots; /* owned */
	unsigned n_busy, n_stuck;
	unsigned n_posts;      /* requests answered whose hooks are not over */
	unsigned n_post_tasks; /* of these, in a hook that is a task */
	unsigned n_released;   /* streams that run without a slot */

	struct conn **conns; /* owned; by descriptor */
	size_t conns_cap, n_conns;
	uint32_t serial;
	/* Out of descriptors: the listener is not watched until then. 0: it
	 * is. */
	uint64_t deaf_until_ms;

	struct buf head; /* of the answer that is being written */

	uint64_t exit_at_ms; /* stopping: patience ends; 0: none */
	char loading[256];   /* the last LOADING */
	char *facts;	     /* owned: what READY says, JSON; NULL: nothing */

	atomic_bool term; /* SIGTERM came */
	bool forked;	  /* this is a child of the user's code */
};

extern struct worker worker;

uint64_t now_ms(void);
uint64_t now_ns(void);
void worker_lock(void);
void worker_unlock(void);
/* Starts the looper. */
int poll_start(void);
/* Waits as the main thread, which has one slot and holds neither lock nor GIL.
 * Below 0: without end. */
void poll_as_main(int64_t timeout_ns);
/* Takes the lead back from the looper. */
void poll_lead(void);
/* Something happened that the looper looks at, which may doze. The lock is
 * held. */
void poll_rouse(void);
/* The main thread, which leads, is about to wait for something else. */
void poll_hand_over(void);
/* No descriptor is left for the next client: stops accepting for a while. A
 * descriptor was closed: accepts again. */
void poll_deafen(void);
void poll_hear(void);
/* Accepts from now on. */
void poll_listen(void);
int poll_watch(int fd, uint32_t serial, uint32_t events, bool known);
/* From signal handlers too. */
void poll_wake(int eventfd);
/* No new requests; everything ends within grace_ms. */
void poll_stop(uint64_t grace_ms);

/* --- slots (slot.c) ------------------------------------------------------- */

struct slot {
	struct list link; /* in worker.idle */
	unsigned index;
	int wake;		 /* eventfd, blocking */
	struct request *request; /* running, of a batch the oldest; NULL: none
				  */
	struct list batch;	 /* of the requests in a batch that runs */
	bool busy;		 /* runs a predict */
	bool stuck;	   /* its predict passed the timeout: it gets no more */
	bool paused;	   /* its stream waits for the client: no time passes */
	uint64_t since_ms; /* the predict's begin, or its last chunk */
	uint64_t taken_ns; /* `request` is in it since then */
	struct buf out;	   /* of its own: an answer being made */
};

void slots_init(void);
/* Queues a complete request. */
void slot_queue(struct request *r);
/* Whether a slot has something to take; if so since now, one is to look. */
bool slots_have_work(void);
void slot_wake(void);
/* Who was waited for does not come: what is held back may be due. */
void slot_look_again(void);
/* Answers predicts that ran too long; returns the ms until the next may be. */
int slots_check(void);
/* Runs until the process drains; the GIL is held. 0, or -1 with an exception
 * from a signal handler. */
int slot_run(unsigned index);
/* The request that this thread handles, or NULL. */
struct request *slot_current(void);
void slot_set_current(struct request *r);
/* What ends this thread's waits, if it is a slot's, else -1. */
int slot_wake_fd(void);

struct reply;
/* Of a slot's thread, for batch.c. A predict for r begins, which is off the
 * queue; the lock is held. Answers it, unless the client is gone, and lets what
 * comes after the answer run; the lock is held on return only. The predict and
 * its answers are over; the lock is held. */
void slot_begin(struct slot *s, struct request *r);
void slot_answer(struct slot *s, struct request *r, const struct reply *reply);
void slot_end(struct slot *s);

/* --- streams (stream.h) ----------------------------------------------------
 */

/* The client has gone; it has taken some, with so much left. */
void stream_wake(struct stream *st);
void stream_taken(struct stream *st, size_t pending);
/* Ends it with what its client can be told: a chunk took longer than
 * predict_timeout. */
void stream_give_up(struct stream *st, const char *message);

/* --- hooks (hooks.c) ------------------------------------------------------ */

void hooks_init(void);
/* A complete request goes through pre_predict, and on to the slots. The lock is
 * held. False: there is no thread for it, and it stays the caller's. */
bool hooks_pre(struct request *r);
/* A request is answered: what comes after its answer goes to the hooks, or, if
 * there is nothing, it is over. The GIL is held; the lock is on return. */
void hooks_after(struct request *r);
/* r->hook has ended in this thread, with `result`, which is taken. NULL: an
 * exception is set, or `reply`, whose views point into `out`, is the answer.
 * The request goes on to what comes next. The GIL is held, the lock is not. */
void hooks_end(struct request *r, PyObject *result, struct buf *out,
	       struct reply *reply);
/* So many posts wait that slots are to take nothing new. */
bool hooks_pile_up(void);

/* --- the asyncio loop (tasks.c) --------------------------------------------
 */

/* 0, or -1 with an exception. */
int tasks_init(void);
/* r->hook is `async def`: the loop begins it. The lock is held. */
void task_queue(struct request *r);
/* Nobody wants its result any more. The lock is held. */
void task_cancel(struct request *r);
/* Runs a coroutine, which is taken, for the request that this thread handles,
 * and waits for it without the GIL. It is cancelled when the client goes,
 * unless it is to run to the end. Its result, or NULL with an exception. */
PyObject *task_await(PyObject *coroutine, bool to_the_end);
/* The eventfd that tells the loop to call task_take_all; that and task_done are
 * called in its thread: `task` of `handle` is over. */
int task_fd(void);
void task_take_all(void);
void task_done(struct request *handle, PyObject *task);

/* --- the user's code (call.c) --------------------------------------------- */

/* Takes what worker_main.py gives (module.c has the list) and sets
 * worker.methods and what is answered without Python. */
int call_init(PyObject *args);
/* Whether a method of the user's takes requests of this method of llhttp. */
bool call_serves(uint8_t method);
/* The name of that method: "predict". */
const char *call_name(const struct request *r);
/* Runs it for r and writes the answer into `out`: the views of reply point into
 * it or into what r->call holds. With r->call.chunks the body is still to be
 * made (stream.h). Never leaves an exception. */
void call_run(struct request *r, struct buf *out, struct reply *reply);
/* The same in steps. Makes what the method is given; false: it is answered. */
bool call_prepare(struct request *r, struct buf *out, struct reply *reply);
/* Calls the method of the first of n requests with lists: of what each has.
 * Returns what it did. */
PyObject *call_together(struct request *const *all, size_t n);
/* The answer with what the method returned, which is taken; NULL: to the
 * exception that is set. */
void call_answer(struct request *r, PyObject *result, struct buf *out,
		 struct reply *reply);
/* Whether the class has a pre_predict. */
bool call_has_pre(void);
/* Sets r->hook to what comes next after the answer, if the method gave a
 * result: post_predict, then a callable of its own. False: nothing does. */
bool call_next(struct request *r);
/* Whether r->hook is for the loop. */
bool call_is_async(const struct request *r);
/* Calls r->hook: what it returned, of an `async def` its coroutine. NULL: an
 * exception is set, or the answer is made. */
PyObject *call_hook(struct request *r, struct buf *out, struct reply *reply);
/* Takes what pre_predict gave in the end; NULL as above. False: the request is
 * over, with `reply`. */
bool call_pre_end(struct request *r, PyObject *result, struct buf *out,
		  struct reply *reply);
/* Likewise what comes after the answer: what fails is told in the log. */
void call_post_end(struct request *r, PyObject *result);
/* Lets go of all objects. */
void call_fini(struct call *call);

/* --- JSON ------------------------------------------------------------------
 */

/* Python objects from text; `text` is spoiled. On failure NULL, with why in
 * err for the client, or with a Python exception when err->code is 0. */
PyObject *json_in(struct buf *text, struct err *err);
/* Text from Python objects; 0, or -1 with an exception that names the place. */
int json_out(struct buf *b, PyObject *value);

/* --- control channel (control.c) ------------------------------------------ */

/* The CONFIG frame as text, waited for; the caller's. */
char *control_config(size_t *ret_len);
void control_event(void);
/* Says READY. With the lock. */
void control_ready(void);
/* Waits up to some seconds when the channel is full and `wait`. False: it was
 * full. */
bool control_send(enum frame_type type, uint32_t arg, const char *text,
		  size_t len, bool wait);

/* --- zygotes (zygote.c) --------------------------------------------------- */

/* Says READY with this JSON and forks whenever it is asked to. Returns in each
 * replica that this makes, whose listener and control channel are set then; the
 * GIL is held. */
void zygote_run(const char *ready, size_t len);

/* --- process (process.c), output (output.c) ------------------------------- */

int process_init(void);
/* Ends the process as it stands: no goodbyes of Python's or C's. */
void process_exit(int code) __attribute__((noreturn));

/* Text from Python: each line of it goes out in one piece, with the mark of
 * the request that the thread handles, else of `id` unless that is NULL. */
int output_write(int fd, const char *text, size_t len, const char *id);
/* Ends the open lines of this thread: a request is over, or `flush` outside
 * of one. */
void output_end_lines(void);
void output_flush(int fd);

#endif
