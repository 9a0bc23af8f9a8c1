/* stream.h: answers that a generator makes, chunk by chunk.
 *
 * A stream begins in the slot whose predict returned the generator and holds
 * it, since the generator's code is inference. It asks for a chunk only when
 * the client has taken most of those before: what waits for a slow client is
 * bounded, and so is the generator. When the generator yields
 * soma.release_slot(), the stream goes on in a thread of its own.
 *
 * The client's leaving is told by conn.c (stream_wake): a wait for it ends, an
 * async generator's step is cancelled, and the generator is closed at its next
 * chunk.
 */
#ifndef STREAM_H
#define STREAM_H

#include "call.h"

/* A stream that waits for a client does so behind this many bytes. */
enum { STREAM_AHEAD_MAX = 64 * 1024 };

struct stream {
	struct request *request; /* owned once released, else the slot's */
	struct slot *slot;	 /* NULL: released */
	struct reply reply;	 /* status, type and headers of the answer */
	PyObject *chunks;	 /* owned: an iterator */
	struct buf bytes;	 /* the chunk as the client will see it */
	struct buf out;		 /* the same with what frames it */
	int wake; /* eventfd, blocking: the slot's, or our own once released */
	bool begun;   /* the head has left; under worker.lock */
	bool chunked; /* else until the connection closes */
	bool waits;   /* for the client; under worker.lock */
	enum {
		STREAM_RAW,    /* chunks go as they are */
		STREAM_LINES,  /* one line of JSON each */
		STREAM_EVENTS, /* one server-sent event each */
	} form;
	bool is_sse; /* the content type says so, whoever frames it */
};

/* Whether a result is to be streamed: a generator, any other iterator, or an
 * async one. */
bool stream_wanted(PyObject *result);
/* Sets call->chunks to the iterator over it. 0, or -1 with an exception. */
int stream_prepare(PyObject *result, struct call *call);

/* Answers r with r->call.chunks, under the head that `reply` describes. The GIL
 * is held, the lock is not. True: released, r is the stream's from here on.
 * False: it is answered, and r stays the caller's. */
bool stream_run(struct slot *s, struct request *r, const struct reply *reply);
/* Goes on with a released stream in this thread, to its end. */
void stream_go_on(struct stream *st);

/* Of stream_chunk.c, with the GIL. By the first chunk: the form, and
 * reply.type where the response has none. */
void stream__choose(struct stream *st, PyObject *first);
/* Puts a chunk into `bytes`, in the stream's form. 0, or -1 with an exception.
 */
int stream__put(struct stream *st, PyObject *chunk);
/* Puts an error of the stream into b, if its form has words for one. The GIL is
 * not needed. */
void stream__put_error(const struct stream *st, struct str json, struct buf *b);

/* The eventfd of this thread's stream; -1: it has none. */
int stream_wake_fd(void);
/* Whether nobody waits for the answer that this thread makes. */
bool stream_cancelled(void);

#endif
