#include "store/store.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "core/arena.h"
#include "core/list.h"
#include "core/map.h"
#include "core/mem.h"
#include "loop/log.h"
#include "store/db.h"
#include "store/row.h"

/*
 *   loop                                   store thread
 *   store_put_api ── queue ──────────────▶ takes all that waits
 *                                          BEGIN, each in a SAVEPOINT, COMMIT
 *   on_finished ◀── finished, uv_async ─── durable, or why not
 *
 * While the disk syncs one batch, the next one gathers in the queue. What
 * nobody waits for gathers a while longer: a replica that is started in a
 * millisecond has not to share it with a transaction about that.
 */

enum { GATHER_MS = 50 };

enum op {
	OP_PUT_API,
	OP_MARK_LIVE,
	OP_MARK_FAILED,
	OP_READ_REVISION,
	OP_KEEP_SCALE,
	OP_MARK_DELETING,
	OP_REMOVE_API,
	OP_ADD_EVENT,
	OP_PUT_SECRET,
	OP_REMOVE_SECRET,
};

/* One write. Its strings are in its arena. */
struct job {
	struct list link;
	enum op op;
	union {
		struct store_api api;
		struct store_event event;
		struct store_secret secret;
		struct store_revision revision;
		const char *name;
	} arg;
	int64_t at; /* of a mark: now, or the revision to go back to */
	store_done *done;
	store_revision_done *read; /* of a read, instead of `done` */
	void *data;
	struct err err;
	struct arena arena;
};

struct store {
	uv_async_t async; /* referenced while `pending` > 0 */
	uv_timer_t later; /* wakes the thread for what nobody waits for */
	pthread_t thread;
	size_t pending; /* of the loop: queued, done not called yet */
	bool closing;	/* of the loop */
	bool stays;	/* of the loop: not freed, once it is closed */
	void (*closed_cb)(void *data);
	void *closed_data;

	pthread_mutex_t db_mutex; /* held by who uses db */
	struct db db;

	pthread_mutex_t mutex; /* guards what follows */
	pthread_cond_t wake;
	struct list queue, finished;
	bool stop, stopped;
};

static void *thread_main(void *data);
static void on_finished(uv_async_t *async);
static void on_async_closed(uv_handle_t *handle);
static void on_later(uv_timer_t *timer);
static void on_later_closed(uv_handle_t *handle);

int store_open(struct store **ret, uv_loop_t *loop, const char *dir,
	       struct err *err)
{
	struct store *s = mem_alloc(sizeof *s);
	struct err stray = {0};
	int rc;

	rc = db__open(&s->db, dir, err);
	if (rc != 0) {
		free(s);
		return rc;
	}
	/* Loading leaves strays out too: a full disk does not stop a start. */
	row__drop_strays(&s->db, &stray);
	list_init(&s->queue);
	list_init(&s->finished);
	pthread_mutex_init(&s->mutex, NULL);
	pthread_mutex_init(&s->db_mutex, NULL);
	pthread_cond_init(&s->wake, NULL);
	rc = uv_async_init(loop, &s->async, on_finished);
	assert(rc == 0);
	uv_unref((uv_handle_t *)&s->async);
	uv_timer_init(loop, &s->later);
	uv_unref((uv_handle_t *)&s->later);
	rc = pthread_create(&s->thread, NULL, thread_main, s);
	assert(rc == 0);
	*ret = s;
	return 0;
}

void store_close(struct store *s, void (*closed_cb)(void *data), void *data)
{
	assert(!s->closing || s->stays);
	s->closing = true;
	s->closed_cb = closed_cb;
	s->closed_data = data;
	if (s->stays) {
		s->stays = false;
		uv_close((uv_handle_t *)&s->async, on_async_closed);
		return;
	}
	uv_ref((uv_handle_t *)&s->async);
	pthread_mutex_lock(&s->mutex);
	s->stop = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->mutex);
}

void store_leave(struct store *s, void (*closed_cb)(void *data), void *data)
{
	store_close(s, closed_cb, data);
	s->stays = true;
}

/* The store thread. */

static const char *copy(struct job *job, const char *text)
{
	return text ? arena_strdup(&job->arena, text) : NULL;
}

static void on_read(void *data, const struct store_revision *r)
{
	struct job *job = data;

	job->arg.revision = *r;
	job->arg.revision.api = copy(job, r->api);
	job->arg.revision.why = copy(job, r->why);
	job->arg.revision.origin = copy(job, r->origin);
	job->arg.revision.project = copy(job, r->project);
	job->arg.revision.spec_json = copy(job, r->spec_json);
}

static int run_job(struct db *db, struct job *job, struct err *err)
{
	switch (job->op) {
	case OP_PUT_API:
		return row__put_api(db, &job->arg.api, err);
	case OP_MARK_LIVE:
		return row__mark_live(db, job->arg.api.name,
				      job->arg.api.revision, job->at, err);
	case OP_MARK_FAILED:
		return row__mark_failed(db, &job->arg.revision, job->at, err);
	case OP_READ_REVISION:
		return row__read_revision(db, job->arg.revision.api,
					  job->arg.revision.number, on_read,
					  job, err);
	case OP_KEEP_SCALE:
		return row__keep_scale(db, job->arg.api.name,
				       job->arg.api.scale_json, err);
	case OP_MARK_DELETING:
		return row__mark_deleting(db, job->arg.name, err);
	case OP_REMOVE_API:
		return row__remove_api(db, job->arg.name, err);
	case OP_ADD_EVENT:
		return row__add_event(db, &job->arg.event, err);
	case OP_PUT_SECRET:
		return row__put_secret(db, &job->arg.secret, err);
	case OP_REMOVE_SECRET:
		return row__remove_secret(db, job->arg.name, err);
	}
	abort();
}

/* One job that fails takes back its own changes only. Non-zero: the
 * transaction is lost. */
static int run_in_savepoint(struct db *db, struct job *job, struct err *err)
{
	int rc = db__exec(db, "SAVEPOINT job", err);

	if (rc != 0)
		return rc;
	if (run_job(db, job, &job->err) != 0) {
		if (db__lost_transaction(db)) {
			*err = job->err;
			return err->code;
		}
		rc = db__exec(db, "ROLLBACK TO job", err);
		if (rc != 0)
			return rc;
	}
	return db__exec(db, "RELEASE job", err);
}

static int trim_events(struct db *db, const struct list *batch, struct err *err)
{
	struct list *it, *tmp;
	struct map seen;
	int rc = 0;

	map_init(&seen);
	LIST_EACH (batch, it, tmp) {
		struct job *job = LIST_ENTRY(it, struct job, link);

		if (rc == 0 && job->op == OP_ADD_EVENT &&
		    !map_set(&seen, job->arg.event.api, job))
			rc = row__trim_events(db, job->arg.event.api, err);
	}
	map_fini(&seen);
	return rc;
}

static int run_transaction(struct db *db, struct list *batch, struct err *err)
{
	struct list *it, *tmp;
	int rc = db__begin(db, "batch", err);

	if (rc != 0)
		return rc;
	LIST_EACH (batch, it, tmp) {
		rc = run_in_savepoint(db, LIST_ENTRY(it, struct job, link),
				      err);
		if (rc != 0)
			break;
	}
	if (rc == 0)
		rc = trim_events(db, batch, err);
	if (rc == 0)
		return db__commit(db, "batch", err);
	db__rollback(db);
	return rc;
}

static void run_batch(struct store *s, struct list *batch)
{
	struct list *it, *tmp;
	struct err err = {0};

	pthread_mutex_lock(&s->db_mutex);
	if (run_transaction(&s->db, batch, &err) != 0)
		LIST_EACH (batch, it, tmp)
			LIST_ENTRY(it, struct job, link)->err = err;
	pthread_mutex_unlock(&s->db_mutex);
}

static void move_all(struct list *from, struct list *to)
{
	while (!list_empty(from)) {
		struct list *l = from->next;

		list_remove(l);
		list_push_back(to, l);
	}
}

static void *thread_main(void *data)
{
	struct store *s = data;
	struct list batch;

	list_init(&batch);
	pthread_mutex_lock(&s->mutex);
	for (;;) {
		while (list_empty(&s->queue) && !s->stop)
			pthread_cond_wait(&s->wake, &s->mutex);
		if (list_empty(&s->queue))
			break;
		move_all(&s->queue, &batch);
		pthread_mutex_unlock(&s->mutex);
		run_batch(s, &batch);
		pthread_mutex_lock(&s->mutex);
		move_all(&batch, &s->finished);
		uv_async_send(&s->async);
	}
	pthread_mutex_unlock(&s->mutex);

	pthread_mutex_lock(&s->db_mutex);
	db__close(&s->db); /* may fold the log back into the file: slow */
	pthread_mutex_unlock(&s->db_mutex);

	pthread_mutex_lock(&s->mutex);
	s->stopped = true;
	uv_async_send(&s->async);
	pthread_mutex_unlock(&s->mutex);
	return NULL;
}

/* The loop again. */

static const char *const op_text[] = {
	[OP_PUT_API] = "saving an api",
	[OP_MARK_LIVE] = "marking a revision as live",
	[OP_MARK_FAILED] = "marking a revision as failed",
	[OP_READ_REVISION] = "reading a revision",
	[OP_KEEP_SCALE] = "saving what was learned of an api's load",
	[OP_MARK_DELETING] = "marking an api as being deleted",
	[OP_REMOVE_API] = "removing an api",
	[OP_ADD_EVENT] = "saving an event",
	[OP_PUT_SECRET] = "saving a secret",
	[OP_REMOVE_SECRET] = "removing a secret",
};

static void finish(struct store *s, struct job *job)
{
	const struct err *err = job->err.code ? &job->err : NULL;

	if (--s->pending == 0 && !s->closing)
		uv_unref((uv_handle_t *)&s->async);
	if (job->read)
		job->read(job->data, err, err ? NULL : &job->arg.revision);
	else if (job->done)
		job->done(job->data, err);
	else if (err)
		log_error(NULL, "%s: %s, ignoring", op_text[job->op], err->msg);
	arena_fini(&job->arena);
	free(job);
}

static void on_finished(uv_async_t *async)
{
	struct store *s = CONTAINER_OF(async, struct store, async);
	struct list ready;
	bool stopped;

	list_init(&ready);
	do { /* a done callback may have queued, and been refused, more */
		pthread_mutex_lock(&s->mutex);
		move_all(&s->finished, &ready);
		stopped = s->stopped;
		pthread_mutex_unlock(&s->mutex);
		while (!list_empty(&ready)) {
			struct list *l = ready.next;

			list_remove(l);
			finish(s, LIST_ENTRY(l, struct job, link));
		}
	} while (stopped && s->pending > 0);
	if (stopped && s->stays) {
		void (*closed_cb)(void *cb_data) = s->closed_cb;

		s->closed_cb = NULL;
		uv_unref((uv_handle_t *)async);
		if (closed_cb)
			closed_cb(s->closed_data);
		return;
	}
	if (stopped && !uv_is_closing((uv_handle_t *)async))
		uv_close((uv_handle_t *)async, on_async_closed);
}

static void on_async_closed(uv_handle_t *handle)
{
	struct store *s = CONTAINER_OF(handle, struct store, async);

	uv_close((uv_handle_t *)&s->later, on_later_closed);
}

static void on_later_closed(uv_handle_t *handle)
{
	struct store *s = CONTAINER_OF(handle, struct store, later);
	void (*closed_cb)(void *data) = s->closed_cb;
	void *data = s->closed_data;

	pthread_join(s->thread, NULL);
	pthread_mutex_destroy(&s->mutex);
	pthread_mutex_destroy(&s->db_mutex);
	pthread_cond_destroy(&s->wake);
	free(s);
	if (closed_cb)
		closed_cb(data);
}

static struct job *job_new(enum op op, store_done *done, void *data)
{
	struct job *job = mem_alloc(sizeof *job);

	job->op = op;
	job->done = done;
	job->data = data;
	arena_init(&job->arena);
	return job;
}

static void on_later(uv_timer_t *timer)
{
	struct store *s = CONTAINER_OF(timer, struct store, later);

	pthread_mutex_lock(&s->mutex);
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->mutex);
}

static void submit(struct store *s, struct job *job)
{
	if (s->pending++ == 0)
		uv_ref((uv_handle_t *)&s->async);
	pthread_mutex_lock(&s->mutex);
	if (s->closing) {
		err_set(&job->err, E_CANCELED, "Soma is stopping");
		list_push_back(&s->finished, &job->link);
		uv_async_send(&s->async);
	} else {
		list_push_back(&s->queue, &job->link);
		if (job->op != OP_ADD_EVENT)
			pthread_cond_signal(&s->wake);
		else if (!uv_is_active((uv_handle_t *)&s->later))
			uv_timer_start(&s->later, on_later, GATHER_MS, 0);
	}
	pthread_mutex_unlock(&s->mutex);
}

void store_put_api(struct store *s, const struct store_api *a, store_done *done,
		   void *data)
{
	struct job *job = job_new(OP_PUT_API, done, data);

	job->arg.api = *a;
	job->arg.api.name = copy(job, a->name);
	job->arg.api.spec_json = copy(job, a->spec_json);
	job->arg.api.project = copy(job, a->project);
	job->arg.api.origin = copy(job, a->origin);
	submit(s, job);
}

static void submit_name(struct store *s, enum op op, const char *name,
			store_done *done, void *data)
{
	struct job *job = job_new(op, done, data);

	job->arg.name = copy(job, name);
	submit(s, job);
}

void store_mark_live(struct store *s, const char *api, int64_t revision)
{
	struct job *job = job_new(OP_MARK_LIVE, NULL, NULL);

	job->arg.api = (struct store_api){.name = copy(job, api),
					  .revision = revision};
	job->at = log_now_ms();
	submit(s, job);
}

void store_mark_failed(struct store *s, const char *api, int64_t revision,
		       const char *why, int64_t back)
{
	struct job *job = job_new(OP_MARK_FAILED, NULL, NULL);

	job->arg.revision = (struct store_revision){.api = copy(job, api),
						    .number = revision,
						    .failed_ms = log_now_ms(),
						    .why = copy(job, why)};
	job->at = back;
	submit(s, job);
}

void store_read_revision(struct store *s, const char *api, int64_t number,
			 store_revision_done *done, void *data)
{
	struct job *job = job_new(OP_READ_REVISION, NULL, data);

	job->arg.revision = (struct store_revision){.api = copy(job, api),
						    .number = number};
	job->read = done;
	submit(s, job);
}

void store_keep_scale(struct store *s, const char *api, const char *json,
		      store_done *done, void *data)
{
	struct job *job = job_new(OP_KEEP_SCALE, done, data);

	job->arg.api = (struct store_api){.name = copy(job, api),
					  .scale_json = copy(job, json)};
	submit(s, job);
}

void store_mark_deleting(struct store *s, const char *api, store_done *done,
			 void *data)
{
	submit_name(s, OP_MARK_DELETING, api, done, data);
}

void store_remove_api(struct store *s, const char *api, store_done *done,
		      void *data)
{
	submit_name(s, OP_REMOVE_API, api, done, data);
}

void store_add_event(struct store *s, const struct store_event *e)
{
	struct job *job = job_new(OP_ADD_EVENT, NULL, NULL);

	job->arg.event = *e;
	job->arg.event.api = copy(job, e->api);
	job->arg.event.type = copy(job, e->type);
	job->arg.event.replica = copy(job, e->replica);
	job->arg.event.text = copy(job, e->text);
	job->arg.event.log_json = copy(job, e->log_json);
	submit(s, job);
}

void store_put_secret(struct store *s, const struct store_secret *v,
		      store_done *done, void *data)
{
	struct job *job = job_new(OP_PUT_SECRET, done, data);

	job->arg.secret = *v;
	job->arg.secret.name = copy(job, v->name);
	job->arg.secret.value = copy(job, v->value);
	submit(s, job);
}

void store_remove_secret(struct store *s, const char *name, store_done *done,
			 void *data)
{
	submit_name(s, OP_REMOVE_SECRET, name, done, data);
}

/* Reads at start-up: on the caller's thread, while the store thread waits. */

int store_load_apis(struct store *s,
		    void (*row)(void *data, const struct store_api *a),
		    void *data, struct err *err)
{
	int rc;

	pthread_mutex_lock(&s->db_mutex);
	rc = row__load_apis(&s->db, row, data, err);
	pthread_mutex_unlock(&s->db_mutex);
	return rc;
}

int store_load_events(struct store *s,
		      void (*row)(void *data, const struct store_event *e),
		      void *data, struct err *err)
{
	int rc;

	pthread_mutex_lock(&s->db_mutex);
	rc = row__load_events(&s->db, row, data, err);
	pthread_mutex_unlock(&s->db_mutex);
	return rc;
}

int store_load_revisions(struct store *s,
			 void (*row)(void *data,
				     const struct store_revision *r),
			 void *data, struct err *err)
{
	int rc;

	pthread_mutex_lock(&s->db_mutex);
	rc = row__load_revisions(&s->db, row, data, err);
	pthread_mutex_unlock(&s->db_mutex);
	return rc;
}

int store_load_secrets(struct store *s,
		       void (*row)(void *data, const struct store_secret *v),
		       void *data, struct err *err)
{
	int rc;

	pthread_mutex_lock(&s->db_mutex);
	rc = row__load_secrets(&s->db, row, data, err);
	pthread_mutex_unlock(&s->db_mutex);
	return rc;
}
