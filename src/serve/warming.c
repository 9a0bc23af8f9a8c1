/* warming.c: a replica that answers the warm-up requests of its revision.
 *
 *   it says that it is ready ── 1 ── 2 ── 2 again ── ... ── it is
 *                               ╰── answered otherwise, late, or not at all:
 *                                   its start has failed, and so will others
 *
 * That a process has answered them is known to the next daemon, too: only one
 * that was at it has them again.
 */
#include <signal.h>

#include "core/mem.h"
#include "loop/file.h"
#include "serve/replica_parts.h"

enum {
	TELL_MS = 500, /* between two events about how far it is */
	/* A connection that breaks may be the first sign of its end, whose
	 * cause is the better one. */
	END_MS = 1000,
};

static void on_late(uv_timer_t *timer);
static void on_told(void *data, const struct http_told *told);
static void on_read(uv_work_t *work);
static void on_have_read(uv_work_t *work, int status);

static const struct warmup_request *request_of(const struct replica *r)
{
	return &r->rev->warmup.requests[r->warming.nth];
}

static bool is_at_it(const struct replica *r)
{
	return r->state == REPLICA_STARTING && r->warming.on && !r->failed &&
	       r->process && r->process->state != PROCESS_EXITED &&
	       !replica__serve(r)->yielded;
}

char *replica__warmup_at(const struct replica *r)
{
	const struct warmup_request *q;
	char time[48] = "";

	if (!r->warming.on)
		return NULL;
	q = request_of(r);
	if (q->times > 1)
		snprintf(time, sizeof time, ", time %u of %u",
			 r->warming.time + 1, q->times);
	return mem_printf("warm-up request %u (%s %s%s)", r->warming.nth + 1,
			  q->method, q->path, time);
}

/* Its revision's fault, as if it had said FAILED. */
static void fail(struct replica *r, const char *why)
{
	cleanup_free char *at = replica__warmup_at(r);

	free(r->failed);
	r->failed = mem_printf("%s %s", at, why);
	uv_timer_stop(&r->timer);
	process_signal(r->process, SIGKILL);
}

/* ---- asking ---- */

static void tell(struct replica *r)
{
	const struct warmup_request *q = request_of(r);
	uint64_t now = replica__now(r);
	char time[48] = "";

	if (q->times > 1)
		snprintf(time, sizeof time, ", time %u of %u",
			 r->warming.time + 1, q->times);
	free(r->detail);
	r->detail = mem_printf("warm-up %u of %u%s", r->warming.nth + 1,
			       r->rev->warmup.n, time);
	if (r->warming.told && now - r->warming.told_at < TELL_MS)
		return;
	r->warming.told = true;
	r->warming.told_at = now;
	revision_on_loading(r->rev, r);
}

/* On its way through the pool. The replica may be gone meanwhile, Soma is not.
 */
struct reading {
	uv_work_t work;
	struct serve *serve;
	char *api; /* owned */
	int64_t revision;
	unsigned index, number;
	uint64_t process;
	char *path; /* owned */
	char *text; /* owned, or NULL */
	size_t n;
	struct err err;
};

static void read_file(struct replica *r)
{
	struct serve *s = replica__serve(r);
	struct reading *f = mem_alloc(sizeof *f);

	f->work.data = f;
	f->serve = s;
	f->api = mem_strdup(r->rev->api->name);
	f->revision = r->rev->number;
	f->index = r->index;
	f->number = r->number;
	f->process = r->process->id;
	f->path = mem_printf("%s/%s",
			     r->rev->project_dir ? r->rev->project_dir : "",
			     request_of(r)->file);
	s->measuring++;
	if (uv_queue_work(s->loop, &f->work, on_read, on_have_read)) {
		err_set(&f->err, E_IO, "no memory");
		on_have_read(&f->work, UV_ENOMEM);
	}
}

static void ask(struct replica *r)
{
	const struct warmup_request *q = request_of(r);
	struct http_question question = warmup_question(q);

	if (q->file)
		question.body = (struct str){r->warming.body, r->warming.n};
	r->warming.asking = true;
	http_ask(&r->up, &question, on_told, r);
}

static void ask_next(struct replica *r)
{
	tell(r);
	if (request_of(r)->file && !r->warming.body)
		read_file(r);
	else
		ask(r);
}

static void on_read(uv_work_t *work)
{
	struct reading *f = work->data;

	file_read(f->path, WARMUP_FILE_MAX, &f->text, &f->n, &f->err);
}

static struct replica *reader_of(const struct reading *f)
{
	struct api *a = map_get(&f->serve->apis, f->api);
	struct revision *rev = a ? api_revision(a, f->revision) : NULL;
	struct replica *r =
		rev ? revision_find(rev, f->index, f->number) : NULL;

	return r && is_at_it(r) && r->process->id == f->process ? r : NULL;
}

static void on_have_read(uv_work_t *work, int status)
{
	struct reading *f = work->data;
	struct replica *r = reader_of(f);
	cleanup_free char *why = NULL;

	(void)status;
	f->serve->measuring--;
	if (r && f->text) {
		r->warming.body = mem_take(&f->text);
		r->warming.n = f->n;
		ask(r);
	} else if (r) {
		why = mem_printf("cannot be sent: its body_file cannot be "
				 "read: %s",
				 f->err.msg);
		fail(r, why);
	}
	free(f->text);
	free(f->path);
	free(f->api);
	free(f);
}

/* ---- hearing ---- */

static void drop_body(struct replica *r)
{
	free(r->warming.body);
	r->warming.body = NULL;
}

static void over(struct replica *r)
{
	r->warming.on = false;
	r->warming.over = true;
	process_keep_warm(r->process);
	replica__ready(r);
	/* What else READY said is said again. */
	if (r->process && replica__is_ours(r))
		process_send(r->process, FRAME_QUERY, 0, NULL);
}

static void step(struct replica *r)
{
	if (++r->warming.time == request_of(r)->times) {
		r->warming.time = 0;
		r->warming.nth++;
		drop_body(r);
	}
	if (r->warming.nth < r->rev->warmup.n)
		ask_next(r);
	else
		over(r);
}

static void on_told(void *data, const struct http_told *told)
{
	struct replica *r = data;
	cleanup_free char *why = NULL;

	r->warming.asking = false;
	if (r->state == REPLICA_GONE) {
		replica__maybe_free(r);
		return;
	}
	if (!is_at_it(r))
		return;
	if (!told->status && !told->late) {
		r->warming.broken = told->why;
		uv_timer_start(&r->timer, on_late, END_MS, 0);
		return;
	}
	why = warmup_judge(request_of(r), told);
	if (why)
		fail(r, why);
	else
		step(r);
}

static void on_late(uv_timer_t *timer)
{
	struct replica *r = timer->data;
	cleanup_free char *why = NULL;

	if (!is_at_it(r))
		return;
	if (!r->warming.broken) {
		replica__too_slow(r);
		return;
	}
	why = mem_printf("was not answered: %s", r->warming.broken);
	fail(r, why);
}

/* ---- for its life ---- */

bool replica__warmup_waits(struct replica *r)
{
	uint32_t limit = r->rev->spec->predictor.start_timeout_ms;
	uint64_t since = replica__now(r) - r->spawned_at;

	if (!r->rev->warmup.n || r->warming.over)
		return false;
	if (r->warming.on)
		return true;
	r->warming = (struct warming){.on = true};
	uv_timer_stop(&r->timer);
	if (limit)
		uv_timer_start(&r->timer, on_late,
			       limit > since ? limit - since : 1, 0);
	ask_next(r);
	return true;
}

void replica__warmup_blame(struct replica *r, const char *cause)
{
	cleanup_free char *at = replica__warmup_at(r);

	if (at && !r->failed)
		r->failed = mem_printf("%s was not answered: it ended, by %s",
				       at, cause);
}

void replica__warmup_end(struct replica *r)
{
	r->warming.on = false;
	r->warming.broken = NULL;
	drop_body(r);
}
