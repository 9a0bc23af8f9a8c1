/* call.h: what the files around the user's methods share: call.c enters them,
 * args.c makes what they are given, result.c answers with what they gave. All
 * of it runs with the GIL. */
#ifndef CALL_H
#define CALL_H

#include "worker.h"

/* Python's side (module.c names them), all owned. */
struct python {
	PyObject *query_params; /* (text) */
	PyObject *headers;	/* ([(bytes, bytes)]) */
	PyObject *form;		/* (content type, body) */
	PyObject *response;	/* (response-like): an answer */
	PyObject *chunks;	/* (async iterator): an iterator */
	PyObject *release;	/* yielded, it gives the slot up */
	PyObject *go_on; /* ((stream,)): goes on with it in a new thread */
	PyObject *stream_error; /* as error: the JSON to end a stream with */
	PyObject *error;	/* (exception, request id, method): an answer */
	PyObject *late_error;	/* the same, of what runs after the answer */
	PyObject *is_async;	/* (callable): whether it is for the loop, which
				   runs from then on */
	PyObject *begin_task;	/* (coroutine, handle, request id): its task */
};

extern struct python python;

/* What comes after the answer, from now on; None: nothing. 0, or -1 with an
 * exception. */
int call_set_after(struct call *call, PyObject *after);

/* A new reference; NULL with err set (for the client) or an exception. */
PyObject *arg_make(struct request *r, enum call_arg arg, struct err *err);

/* The answer with what a method returned, in `out` or in what `call` holds. 0,
 * or -1 with an exception. */
int reply_of_result(PyObject *result, struct call *call, struct buf *out,
		    struct reply *reply);
/* The answer to the exception that is set, and clears it. */
void reply_of_exception(struct request *r, const char *method,
			struct call *call, struct buf *out,
			struct reply *reply);
/* An error of the request's. */
void reply_failed(struct request *r, struct buf *out, struct reply *reply,
		  int status, const char *code, const char *message);
/* The exception that is set, normalised and with its traceback; cleared. */
PyObject *take_exception(void);

#endif
