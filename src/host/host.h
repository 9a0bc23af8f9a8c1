/* host.h: the replica process of a native engine: what its files share.
 *
 *   main.c      the process: descriptors, signals, start and end
 *   control.c   frames from and to the daemon
 *   plugin.c    the engine and its model
 *   jobs.c      requests on their way through: JSON, slot, JSON
 *   batch.c     several requests as one
 *   slots.c     threads
 *   stages.c    what these tell of themselves
 *   zygote.c    waiting, with the model loaded, to be forked
 *
 * Everything here belongs to the thread that leads (slots.h), but for what a
 * comment gives to others. */
#ifndef HOST_HOST_H
#define HOST_HOST_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "core/buf.h"
#include "core/err.h"
#include "host/batch.h"
#include "host/config.h"
#include "host/plugin.h"
#include "host/slots.h"
#include "http/server.h"
#include "loop/chan.h"
#include "loop/frame.h"

enum {
	STOP_GRACE_MS = 30000,	/* when SIGTERM asks: it names none */
	CANCEL_GRACE_MS = 1000, /* that a cancelled run has to end */
};

enum host_state {
	HOST_LOADING,
	HOST_SERVING,
	HOST_STOPPING,
	HOST_STOPPED,
};

struct host {
	enum host_state state;
	struct config config;
	struct plugin plugin;
	uv_loop_t loop;
	struct slots slots;
	struct lane lane;
	struct http_limits limits;
	struct http_server server;
	int listener; /* owned until the server has it */

	struct chan control;
	char loading[256];	 /* the last LOADING; under slots.lock */
	uv_async_t told_loading; /* by the thread that loads */
	uint32_t stuck_ms;	 /* what STUCK said last; 0: nothing */
	char stuck_id[129];

	struct work load;
	struct err load_error; /* code 0: it is loaded */
	struct buf about;      /* the answer to GET */
	struct buf facts;      /* what READY says */
	struct buf stages;     /* what STAGES says */
	/* Why requests are run one by one where batches were asked for; of the
	 * slot that finds it, then constant. */
	char no_batches[ERR_MSG_MAX + 128];
	atomic_bool finds_no_batches, has_no_batches;
	bool told_no_batches;
	struct batch *batches; /* owned: one for each slot; NULL: none */
	struct list free_jobs;
	unsigned n_free_jobs;

	uv_signal_t sigterm;
	uv_timer_t grace;
};

/* control.c. The CONFIG frame as text, waited for; free() it. */
char *control_read_config(int fd, size_t *ret_len, struct err *err);
int control_open(struct host *h, int fd, struct err *err);
void control_send(struct host *h, enum frame_type type, uint32_t arg,
		  const char *text, size_t len);
/* {"code","message","traceback","remedy"}: as text, free() it; sent. */
char *control_failure(const struct err *why);
void control_failed(struct host *h, const struct err *why);
void control_stuck(struct host *h, uint32_t ms, const char *id);
/* slots.on_tell: STAGES. data: the host. */
void control_stages(void *data, const struct tally *t);

/* crash.c: a crash of this thread between the two is told to the daemon as
 * FAILED before the process ends by its signal. */
void crash_watch(int control_fd, const char *engine);
void crash_forget(void);

/* about.c: {"name","engine","inputs","outputs"}, and READY's facts */
void about_make(struct host *h);
/* Says READY again, with why there are no batches. */
void about_no_batches(struct host *h);

/* jobs.c. With batches: before slots_run. */
void jobs_init(struct host *h);
void jobs_on_request(struct http_req *req, void *data);
void jobs_on_all_stuck(void *data);
/* Says what is learned of batches, if something is. */
void jobs_tell_batching(void *host);
void jobs_fini(struct host *h);

/* zygote.c: loads the model and waits. Returns in each replica that is forked,
 * which has a listener then: its control channel. */
int zygote_wait(struct host *h, int control);

/* main.c: no new requests; ends within grace_ms. */
void host_stop(struct host *h, uint64_t grace_ms);

#endif
