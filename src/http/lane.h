/* lane.h: everything connections of one loop thread share; no locks, no
 * globals. */
#ifndef HTTP_LANE_H
#define HTTP_LANE_H

#include <uv.h>

#include "core/list.h"

enum { LANE_READ_SIZE = 64 * 1024 };

/* One per loop thread; there is one today. Connections, requests and pooled
 * upstream connections belong to exactly one lane and never leave it. */
struct lane {
	uv_loop_t *loop; /* borrowed: outlives us */
	char *read_buf;	 /* owned: LANE_READ_SIZE bytes, used inside one read
			    callback only */
	struct list free_conns; /* private: free lists, bounded */
	struct list free_reqs;
	struct list free_links;
	unsigned n_free_conns, n_free_reqs, n_free_links;
	struct list servers; /* private: for the timeout sweep */
	struct list upstreams;
	uv_timer_t sweep; /* private: one timer for all timeouts of the lane */
	uint64_t n_conns; /* client connections open now */
	uint64_t n_accepted;
	uint64_t n_bad_requests; /* refused by the parser */
	char id_seed[16];	 /* private: for request ids */
	uint64_t id_next;
	struct list ripe;    /* private: connections that want a step */
	struct list waiting; /* private: proxies whose upstream's backlog is
				full */
	struct list left;    /* private: connections whose clients are gone and
				whose sockets are to be closed */
	uv_prepare_t before_poll; /* private: steps the ripe ones */
	uv_check_t after_poll;	  /* private: closes those that are left */
	unsigned n_left;	  /* private */
	uv_idle_t hurry;	  /* private: while some are */
	uint64_t n_reqs;	  /* private: now */
	uint64_t most_crowd; /* private: requests and connections at most since
				memory was given back */
	uint32_t n_links;    /* private: upstream connections and probes */
	char date[32];	     /* private: cached per second */
	int64_t date_s;
};

/* Ignores SIGPIPE for the process: a peer that is gone is an error of write. */
int lane_init(struct lane *lane, uv_loop_t *loop);
/* All servers and upstreams must be closed. The sweep timer closes with the
 * loop's next turn. */
void lane_fini(struct lane *lane);

#endif
