/* replica_parts.h: what the files of a replica share: its life (replica.c), its
 * start (launch.c), its probes (probe.c), being frozen (freeze.c), and how it
 * leaves (replica_leave.c). What it answers first is warming.c's. */
#ifndef SERVE_REPLICA_PARTS_H
#define SERVE_REPLICA_PARTS_H

#include "serve/replica.h"
#include "serve/serve.h"

static inline struct serve *replica__serve(const struct replica *r)
{
	return r->rev->api->serve;
}

static inline uint64_t replica__now(const struct replica *r)
{
	return uv_now(replica__serve(r)->loop);
}

/* Whether it runs a program of Soma's, worker or host: that inherits its socket
 * and speaks on a control channel. Others are told a port and probed. */
static inline bool replica__is_ours(const struct replica *r)
{
	return r->rev->spec->predictor.type != PREDICTOR_COMMAND;
}

/* replica_leave.c: it comes in place of one that was let go for want of memory,
 * if there was one. */
void replica__inherit(struct replica *r);

/* replica.c */
extern const struct process_ops replica__process_ops;
/* STARTING to READY. */
void replica__ready(struct replica *r);
/* What to do about a program that is on another port, or on none. */
#define REPLICA_LISTEN "Remedy: make the program listen on 127.0.0.1:$PORT"
/* Its start has taken longer than start_timeout: ends it. */
void replica__too_slow(struct replica *r);
void replica__close_upstream(struct replica *r);
/* Its process has ended, or never was, and it is in nobody's way: it ends. */
void replica__gone(struct replica *r);
/* Called by every part that ends; the last one frees. */
void replica__maybe_free(struct replica *r);

/* freeze.c: whatever is to be done with it, it runs. */
void replica__run_on(struct replica *r);

/* room.c: how many requests it is sent, at first and once it has said what is
 * in its stages. */
void replica__room_init(struct replica *r);
void replica__room_learn(struct replica *r, struct str stages);
void replica__room_batching(struct replica *r, struct str batching);

/* launch.c: starts its process and opens the way to it. On error r->process may
 * be there all the same, and is then to be killed. */
int replica__launch(struct replica *r, struct err *err);
int replica__open_upstream(struct replica *r, struct err *err);

/* A process of the revision that runs a program of ours. Of the spec name,
 * meta, listen, control and config are the caller's to set. */
int launch__ours(struct process **ret, struct revision *rev,
		 struct process_spec *spec, const struct process_ops *ops,
		 void *data, struct err *err);

/* When the newest of the secrets that its env names was set, ms; 0: it names
 * none; -1: one is not there. */
int64_t launch__secrets_ms(const struct revision *rev);

/* launch_config.c: what CONFIG says to one of ours; free() it. */
char *replica__config(const struct replica *r);
/* zygote: how far it is to load and to wait then, or NULL. */
char *launch__config(const struct revision *rev, const char *id, uint32_t slots,
		     const char *zygote);

/* proof.c: has the answer of one that was started, for those that are forked.
 */
void replica__proof_learn(struct replica *r);
/* It has said READY: whether it is to show first that it answers alike. */
bool replica__proof_waits(struct replica *r);

/* warming.c. It would be ready: whether it has to answer warm-up requests
 * first; those begin then. */
bool replica__warmup_waits(struct replica *r);
/* The request that it is at: "warm-up request 1 (POST /)"; NULL: it is at none;
 * free() it. */
char *replica__warmup_at(const struct replica *r);
/* It has ended while it was at one, by its own doing. */
void replica__warmup_blame(struct replica *r, const char *cause);
/* It has ended. */
void replica__warmup_end(struct replica *r);

/* probe.c: asks a command, ever less often, until it is ready or too slow. */
void replica__probe_first(struct replica *r);
void replica__probe_again(struct replica *r);
void replica__probe_stop(struct replica *r);

#endif
