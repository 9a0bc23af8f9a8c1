#include "serve/serve.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/json.h"
#include "core/mem.h"
#include "loop/log.h"
#include "serve/elders.h"
#include "serve/weigh.h"

enum {
	TICK_MS = 50, /* while anything is under way */
	WEIGH_TICKS = 4,
	CALM_MS = 1000, /* while nothing is */
	REMOVE_AGAIN_MS = 5000,
	UNKEPT_EVENTS = 100000,
};

static bool on_adopt(struct local *l, struct process *p, const char *meta);
static void on_adopted_all(struct local *l);
static void on_tick(uv_timer_t *timer);

uint32_t serve_random(struct serve *s)
{
	/* xorshift: for jitter, nothing secret */
	s->random ^= s->random << 13;
	s->random ^= s->random >> 17;
	s->random ^= s->random << 5;
	return s->random;
}

/* ---- what the store has ---- */

static void on_secret_row(void *data, const struct store_secret *row)
{
	struct serve *s = data;

	secret_set(&s->secrets, row->name, row->value, row->updated_ms);
}

/* The revision that serves while the one asked for is not live yet. */
static void load_live(struct api *a, const struct store_api *row)
{
	struct err err = {0};
	struct revision *rev;

	if (!row->live || !row->live_spec_json)
		return;
	rev = revision_create(a, row->live, row->live_spec_json,
			      row->live_project, &err);
	if (!rev)
		return; /* a spec that is out of date: only the new one counts
			 */
	rev->state = REVISION_LIVE;
	api_restore_live(a, rev);
}

static void on_api_row(void *data, const struct store_api *row)
{
	struct serve *s = data;
	struct api *a = api_create(s, row->name, (uid_t)row->uid);
	struct err err = {0};
	struct revision *rev;

	map_set(&s->apis, a->name, a);
	a->next_number = row->newest + 1;
	rev = revision_create(a, row->revision, row->spec_json, row->project,
			      &err);
	if (!rev) {
		log_error(LOG_F(F_S("api", a->name)),
			  "cannot read its stored spec: %s; deploy it again",
			  err.msg);
		a->broken = mem_strdup(err.msg);
		return;
	}
	api_want(a, rev, row->updated_ms);
	if (row->live == row->revision) {
		rev->state = REVISION_LIVE;
		a->live = rev;
	}
	load_live(a, row);
	scale_recall(a, row->scale_json);
	if (row->deleting)
		api_delete(a);
}

static void on_revision_row(void *data, const struct store_revision *row)
{
	struct serve *s = data;
	struct api *a = map_get(&s->apis, row->api);

	if (a)
		history_add(&a->history, row);
}

static void on_event_row(void *data, const struct store_event *row)
{
	struct serve *s = data;
	struct api *a = map_get(&s->apis, row->api);

	if (!a)
		return;
	event_add(&a->events, row);
	/* How its rollout ended, if it did: it ends only once. */
	if (!a->want || row->revision != a->want->number)
		return;
	if (strcmp(row->type, "live") == 0) {
		a->want->state = REVISION_LIVE;
		if (!a->live)
			a->live = a->want;
	} else if (strcmp(row->type, "failed") == 0) {
		a->want->state = REVISION_FAILED;
	}
}

/* Events that were told and not kept (an installer's lines) had numbers too:
 * whoever follows from one of them must not miss what comes now. */
static void skip_numbers(struct serve *s)
{
	struct api *a;

	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));)
		a->events.last_seq += UNKEPT_EVENTS;
}

int serve_open(struct serve *s, int keeper_fd, struct err *err)
{
	/* What was being deleted is busy as soon as it is loaded. */
	uv_timer_init(s->loop, &s->tick);
	s->tick.data = s;
	list_init(&s->busy);
	list_init(&s->ramps);
	list_init(&s->copies);
	list_init(&s->changed);
	map_init(&s->apis);
	map_init(&s->routes);
	map_init(&s->reserved);
	map_init(&s->secrets);
	environments_init(&s->environments, s);
	if (models_open(&s->models, s, err))
		return err->code;
	s->random = (uint32_t)uv_hrtime() | 1;
	s->processors = (unsigned)MAX(sysconf(_SC_NPROCESSORS_ONLN), 1L);
	if (store_load_secrets(s->store, on_secret_row, s, err) ||
	    store_load_apis(s->store, on_api_row, s, err) ||
	    store_load_revisions(s->store, on_revision_row, s, err) ||
	    store_load_events(s->store, on_event_row, s, err))
		return err->code;
	skip_numbers(s);
	s->local.on_adopt = on_adopt;
	s->local.on_adopted_all = on_adopted_all;
	s->local.on_held = serve_on_held;
	scale_clock_open(s);
	swap_open(s);
	uv_timer_start(&s->tick, on_tick, TICK_MS, TICK_MS);
	if (local_open(&s->local, s->loop, s->data_dir, keeper_fd, err))
		return err->code;
	elders_find(&s->elders, &s->local, s->lane);
	return 0;
}

/* ---- what is there from before ---- */

static bool on_adopt(struct local *l, struct process *p, const char *meta)
{
	struct serve *s = CONTAINER_OF(l, struct serve, local);
	cleanup_json yyjson_doc *doc = json_parse(meta, strlen(meta), NULL);
	yyjson_val *root = yyjson_doc_get_root(doc);
	struct api *a = map_get(&s->apis, json_str(root, "api", ""));
	unsigned index = (unsigned)json_int(root, "index", 0);
	unsigned number = (unsigned)json_int(root, "number", 0);
	struct revision *rev;
	struct replica *r;

	if (!a)
		return false;
	rev = api_revision(a, json_int(root, "revision", -1));
	if (rev && strcmp(json_str(root, "kind", ""), "zygote") == 0)
		return zygote_adopt(&rev->zygote, p, root);
	if (strcmp(json_str(root, "kind", ""), "replica") != 0 || !rev ||
	    rev->leaving || index >= rev->spec->scale.max_replicas ||
	    number >= rev->spec->predictor.processes)
		return false;
	r = revision_find(rev, index, number);
	if (r) {
		/* Two for one place: the older was being replaced as stuck.
		 * They come in the order they were started. */
		replica_leave(r, r->elders ? rev->spec->grace_ms : 0);
	}
	r = revision_add(rev, index, number);
	r->tier = (enum cold_tier)json_int(root, "tier", COLD_PROCESS);
	replica_adopt(r, p, (int)json_int(root, "port", 0));
	return true;
}

static void on_adopted_all(struct local *l)
{
	struct serve *s = CONTAINER_OF(l, struct serve, local);
	struct api *a;

	s->loaded = true;
	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));) {
		if (a->deleting)
			continue;
		scale_adopted(a);
		api_step_back(a);
		/* It was on its way back to one that had been live before. */
		if (a->live && a->want && a->live != a->want)
			a->want->state = REVISION_UPDATING;
		rollout_look(a);
		if (a->live)
			revision_step(a->live);
		if (a->want)
			revision_step(a->want);
	}
	serve_collect_garbage(s);
	models_collect(&s->models);
}

/* ---- time ---- */

static void on_removed(void *data, const struct err *err)
{
	struct api *a = data;

	a->removing = false;
	a->remove_at = uv_now(a->serve->loop) + REMOVE_AGAIN_MS;
	if (err)
		log_error(LOG_F(F_S("api", a->name)),
			  "cannot forget it: %s; trying again", err->msg);
	else
		a->removed = true;
}

/* A deleted api goes in steps: replicas, requests, the store, itself. */
static void step_deleting(struct api *a)
{
	if (!list_empty(&a->revisions) || a->gate.in_flight || a->removing ||
	    a->changing || uv_now(a->serve->loop) < a->remove_at)
		return;
	a->removing = true;
	store_remove_api(a->serve->store, a->name, on_removed, a);
}

static void forget(struct api *a)
{
	struct serve *s = a->serve;

	log_info(LOG_F(F_S("api", a->name)), "deleted");
	map_del(&s->apis, a->name);
	a->logs.file.remove = true;
	api_free(a);
	serve_collect_garbage(s);
}

static void tick_replicas(struct api *a)
{
	struct list *rit, *rtmp, *it, *tmp;

	LIST_EACH (&a->revisions, rit, rtmp) {
		struct revision *rev = LIST_ENTRY(rit, struct revision, link);

		bool was_stepping = rev->stepping;
		uint64_t restarts = a->restarts;

		/* A step may end others than the one that is looked at. */
		rev->stepping = true;
		LIST_EACH (&rev->replicas, it, tmp)
			replica_tick(LIST_ENTRY(it, struct replica, link));
		rev->stepping = was_stepping;
		zygote_tick(&rev->zygote);
		measure_tick(rev);
		/* One was stuck, or others may have made room. */
		if (a->restarts != restarts || rev->starving)
			revision_step(rev);
	}
}

static void step_stopping(struct serve *s);

/* Nothing of it can happen that does not tell. */
static bool is_idle(struct api *a)
{
	struct list *it, *tmp;

	LIST_EACH (&a->revisions, it, tmp) {
		const struct revision *rev =
			LIST_ENTRY(it, struct revision, link);

		if (!list_empty(&rev->replicas) || !list_empty(&rev->gone) ||
		    rev->starving || !zygote_is_settled(&rev->zygote))
			return false;
	}
	return !a->deleting && !a->gate.in_flight && !a->rollout.prior &&
	       !rollout_is_on(a) && !a->logs.file.busy &&
	       !a->logs.file.pending.len;
}

static void weigh_replicas(struct api *a)
{
	struct list *it, *tmp;

	LIST_EACH (&a->revisions, it, tmp)
		weigh_tick(LIST_ENTRY(it, struct revision, link));
}

static void tick_api(struct api *a, bool weigh, bool second)
{
	gate_tick(a);
	rollout_tick(a);
	api_step_back(a);
	logfile_flush(&a->logs.file);
	if (weigh)
		weigh_replicas(a);
	if (second)
		tick_replicas(a);
	if (is_idle(a))
		list_remove(&a->busy);
}

/* One of those that are deleted and gone, or NULL; the others get nearer. */
static struct api *step_all_deleting(struct serve *s)
{
	struct list *it, *tmp;
	struct api *gone = NULL;

	LIST_EACH (&s->busy, it, tmp) {
		struct api *a = LIST_ENTRY(it, struct api, busy);

		if (a->deleting && a->removed)
			gone = a;
		else if (a->deleting && !s->stopping)
			step_deleting(a);
	}
	return gone;
}

void serve_is_busy(struct serve *s)
{
	if (!s->yielded && uv_timer_get_repeat(&s->tick) != TICK_MS)
		uv_timer_start(&s->tick, on_tick, TICK_MS, TICK_MS);
}

/* A timer that wakes a daemon with nothing to do 20 times a second takes a
 * tenth of a percent of a core. */
static void pace(struct serve *s)
{
	bool calm = list_empty(&s->busy) && !local_is_busy(&s->local) &&
		    !s->stopping;

	if (!calm)
		serve_is_busy(s);
	else if (uv_timer_get_repeat(&s->tick) != CALM_MS)
		uv_timer_start(&s->tick, on_tick, CALM_MS, CALM_MS);
}

static void on_tick(uv_timer_t *timer)
{
	struct serve *s = timer->data;
	struct list *it, *tmp;
	struct api *gone;
	uint64_t now = uv_now(s->loop);
	bool second = now >= s->next_second;
	bool weigh = s->turns++ % WEIGH_TICKS == 0;

	if (second)
		s->next_second = now + 1000 - TICK_MS / 2;
	if (weigh) {
		s->claims = s->counting_claims;
		s->counting_claims = 0;
	}
	LIST_EACH (&s->busy, it, tmp)
		tick_api(LIST_ENTRY(it, struct api, busy), weigh, second);
	/* One step may take an api out of the list. */
	while ((gone = step_all_deleting(s)))
		forget(gone);
	local_tick(&s->local);
	if (second) {
		ramp_tick(s);
		scale_keep_tick(s);
	}
	if (s->stopping)
		step_stopping(s);
	pace(s);
}

/* ---- what nobody needs any more ---- */

static void on_collected(void *data)
{
	struct serve *s = data;

	s->collecting = false;
	if (s->collect_again)
		serve_collect_garbage(s);
}

static size_t count_projects(const struct serve *s)
{
	const struct api *a;
	size_t n = 0;

	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));) {
		n += a->history.n;
		for (const struct list *it = a->revisions.next;
		     it != &a->revisions; it = it->next)
			n++;
	}
	return n;
}

/* Projects of no revision that is there or may be gone back to, and blobs of no
 * project. */
void serve_collect_garbage(struct serve *s)
{
	const char **keep;
	size_t n = 0;
	struct list *it, *tmp;
	struct api *a;

	s->collect_again = s->collecting;
	if (s->collecting || s->stopping)
		return;
	keep = mem_alloc((count_projects(s) + 1) * sizeof *keep);
	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));) {
		LIST_EACH (&a->revisions, it, tmp) {
			struct revision *rev =
				LIST_ENTRY(it, struct revision, link);

			if (rev->project)
				keep[n++] = rev->project;
		}
		for (size_t k = 0; k < a->history.n; k++)
			if (a->history.rows[k].project)
				keep[n++] = a->history.rows[k].project;
	}
	s->collecting = true;
	blobs_gc(&s->blobs, keep, n, on_collected, s);
	free(keep);
}

/* ---- stopping ---- */

static void step_stopping(struct serve *s)
{
	void (*on_stopped)(struct serve * s) = s->on_stopped;
	struct list *it, *tmp;
	struct api *a;

	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));)
		if (!list_empty(&a->revisions) || a->gate.in_flight ||
		    a->changing || a->removing)
			return;
	if (s->deploys || s->collecting || s->measuring || s->comparing ||
	    s->models.collecting || s->models.finding ||
	    local_has_left(&s->local))
		return;
	/* Environments that are being built can be built again. */
	LIST_EACH (&s->local.processes, it, tmp) {
		struct process *p = LIST_ENTRY(it, struct process, link);

		if (!p->closing)
			process_signal(p, SIGKILL);
	}
	if (!list_empty(&s->local.processes) || !on_stopped ||
	    !elders_close(&s->elders))
		return;
	s->on_stopped = NULL;
	on_stopped(s);
}

void serve_stop(struct serve *s, void (*on_stopped)(struct serve *s))
{
	struct list *it, *tmp;
	struct api *a;

	s->stopping = true;
	atomic_store(&s->looks_end, true);
	s->on_stopped = on_stopped;
	models_stop(&s->models);
	serve_is_busy(s);
	scale_keep_all(s);
	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));) {
		gate_end(a);
		LIST_EACH (&a->revisions, it, tmp) {
			struct revision *rev =
				LIST_ENTRY(it, struct revision, link);

			if (!rev->leaving)
				revision_leave(rev);
		}
	}
}

static void on_tick_closed(uv_handle_t *handle)
{
	(void)handle;
}

void serve_close(struct serve *s)
{
	struct api *a;

	uv_close((uv_handle_t *)&s->tick, on_tick_closed);
	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));)
		api_free(a);
	scale_clock_close(s);
	swap_close(s);
	map_fini(&s->apis);
	map_fini(&s->routes);
	map_fini(&s->reserved);
	secrets_fini(&s->secrets);
	environments_fini(&s->environments);
	models_close(&s->models);
	local_close(&s->local);
	free(s->worker_dir);
	free(s->host_dir);
	free(s->own_dir);
	free(s->data_url);
}

/* ---- routes ---- */

struct api *serve_route(struct serve *s, struct str path, struct str *ret_rest)
{
	size_t n = path.n;

	while (n > 1) {
		struct api *a;

		if (path.p[n - 1] == '/') {
			n--;
			continue;
		}
		a = map_getn(&s->routes, path.p, n);
		if (a) {
			*ret_rest = (struct str){path.p + n, path.n - n};
			return a;
		}
		/* One segment less. */
		while (n > 1 && path.p[n - 1] != '/')
			n--;
	}
	return NULL;
}

static const char *near_key(const struct map *m, const char *word)
{
	const char **keys = mem_alloc((m->len + 1) * sizeof *keys);
	const char *near, *key;
	size_t n = 0;

	for (size_t i = 0; map_next(m, &i, &key);)
		keys[n++] = key;
	near = str_nearest(word, keys, n);
	free(keys);
	return near;
}

const char *serve_near(const struct serve *s, const char *word)
{
	return near_key(&s->apis, word);
}

const char *serve_near_endpoint(const struct serve *s, const char *path)
{
	return near_key(&s->routes, path);
}
