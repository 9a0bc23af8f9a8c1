/* model.c: a model from the first who names it to the last: fetched, shared,
 * looked at for what is new. */
#include "serve/model.h"

#include <math.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "core/mem.h"
#include "core/str.h"
#include "loop/log.h"
#include "policy/backoff.h"
#include "serve/model_parts.h"
#include "serve/serve.h"
#include "serve/users.h"

static void on_timer(uv_timer_t *timer);

/* ---- who uses it ---- */

static void free_model(struct model *m)
{
	map_del(&m->all->by_key, m->key);
	model__env_free(m->env);
	free(m->key);
	free(m->url);
	free(m->shown);
	free(m->path);
	free(m->code);
	free(m->message);
	free(m->line);
	free(m->answer);
	free(m);
}

void model_join(struct model *m, struct model_user *u)
{
	list_push_back(&m->users, &u->link);
	models__arm(m->all);
}

void model_leave(struct model_user *u)
{
	list_remove(&u->link);
}

void model_unref(struct model *m)
{
	if (!m || --m->refs)
		return;
	m->deferred = false;
	if (m->process) {
		/* What is there of it stays, for who comes next. */
		m->abandoned = true;
		process_signal(m->process, SIGTERM);
		return;
	}
	free_model(m);
}

/* They may leave, and others come, while they are told. */
static void tell_settled(struct model *m)
{
	struct list round;

	list_init(&round);
	while (!list_empty(&m->users)) {
		struct list *first = m->users.next;

		list_remove(first);
		list_push_back(&round, first);
	}
	m->refs++;
	while (!list_empty(&round)) {
		struct model_user *u =
			LIST_ENTRY(round.next, struct model_user, link);

		list_remove(&u->link);
		list_push_back(&m->users, &u->link);
		u->on_settled(u);
	}
	model_unref(m);
}

static bool is_watched(const struct model *m)
{
	for (const struct list *it = m->users.next; it != &m->users;
	     it = it->next) {
		const struct model_user *u = CONTAINER_OF(
			(struct list *)(uintptr_t)it, struct model_user, link);

		if (u->watches && u->watches(u))
			return true;
	}
	return false;
}

static bool may_be_watched(const struct model *m)
{
	for (const struct list *it = m->users.next; it != &m->users;
	     it = it->next) {
		const struct model_user *u = CONTAINER_OF(
			(struct list *)(uintptr_t)it, struct model_user, link);

		if (u->watches)
			return true;
	}
	return false;
}

/* ---- what its process has done ---- */

static void ask_later(struct model *m)
{
	uint64_t wait = m->all->serve->models_check_ms;

	m->next_at = wait ? uv_now(m->all->serve->loop) + wait : 0;
}

static void note_failed(struct model *m)
{
	struct serve *s = m->all->serve;

	m->state = MODEL_FAILED;
	m->failures++;
	m->next_at = 0;
	if (m->again)
		m->next_at =
			uv_now(s->loop) +
			(uint64_t)backoff_wait_ms(m->failures, serve_random(s));
	else if (m->path && may_be_watched(m))
		ask_later(m);
	models__arm(m->all);
}

static void settle_failed(struct model *m)
{
	note_failed(m);
	tell_settled(m);
}

static void settle_ready(struct model *m)
{
	m->state = MODEL_READY;
	m->failures = 0;
	ask_later(m);
	models__arm(m->all);
	tell_settled(m);
}

/* What there is goes on being used. */
static void keep_old(struct model *m)
{
	log_warn(LOG_F(F_S("model", m->shown)),
		 "what was fetched before is used: %s", m->message);
	settle_ready(m);
}

void model__pulled(struct model *m, bool ok)
{
	struct models *all = m->all;

	if (ok) {
		bool same = strcmp(m->answer, "same") == 0;

		*(same ? &all->counts.same : &all->counts.ready) += 1;
		free(mem_take(&m->code));
		free(mem_take(&m->message));
		log_info(LOG_F(F_S("model", m->shown)), "%s",
			 same ? "the model is there already"
			      : "the model is there");
		settle_ready(m);
	} else {
		all->counts.failed++;
		log_warn(LOG_F(F_S("model", m->shown)),
			 "fetching the model failed: %s", m->message);
		if (m->path && (m->again || m->state == MODEL_READY))
			keep_old(m);
		else if (strcmp(m->code, "unreachable") == 0 && !m->env[0])
			model__find(m);
		else
			settle_failed(m);
	}
}

void model__on_found(struct model *m, const struct shelf_ref *ref)
{
	if (!ref) {
		settle_failed(m);
		return;
	}
	memcpy(m->tree, ref->tree, sizeof m->tree);
	free(m->path);
	m->path = shelf_tree_path(&m->all->shelf, ref->tree);
	m->bytes = ref->bytes;
	m->files = ref->files;
	keep_old(m);
}

void model__asked(struct model *m, bool ok)
{
	struct models *all = m->all;
	/* Of trouble at its source, or that it is over; or somebody else has
	 * fetched what is newer. */
	bool tell = !ok || m->message || strcmp(m->before, m->tree) != 0;

	if (ok && strcmp(m->answer, "changed") == 0 && !all->serve->stopping) {
		model__start(m, MODEL_PULLS);
		if (m->process)
			return;
	} else if (ok) {
		free(mem_take(&m->code));
		free(mem_take(&m->message));
	}
	ask_later(m);
	models__arm(all);
	if (tell && m->state == MODEL_READY)
		tell_settled(m);
	models__go_on(all);
}

void model__forsaken(struct model *m)
{
	m->abandoned = false;
	if (!m->refs) {
		free_model(m);
		return;
	}
	/* Somebody came for it meanwhile. */
	m->state = MODEL_FETCHING;
	m->deferred = true;
	models__go_on(m->all);
}

/* ---- when ---- */

/* Not while the shelf is cleared: what is found there might go. */
static void pull(struct model *m)
{
	if (m->all->collecting || m->process) {
		m->deferred = true;
		return;
	}
	m->deferred = false;
	m->state = MODEL_FETCHING;
	model__start(m, MODEL_PULLS);
	if (!m->process)
		note_failed(m);
}

static void act(struct model *m)
{
	m->next_at = 0;
	if (m->process)
		return;
	if (m->state == MODEL_FAILED) {
		pull(m);
		if (m->state == MODEL_FAILED)
			tell_settled(m);
	} else if (m->state == MODEL_READY && is_watched(m)) {
		model__start(m, MODEL_ASKS);
		if (!m->process)
			ask_later(m);
	} else if (m->state == MODEL_READY) {
		ask_later(m);
	}
}

/* Acting may end models and add some: one at a time. */
static struct model *next_due(struct models *all, uint64_t now)
{
	struct model *m;

	for (size_t i = 0; (m = map_next(&all->by_key, &i, NULL));)
		if (m->next_at && m->next_at <= now)
			return m;
	return NULL;
}

static void on_timer(uv_timer_t *timer)
{
	struct models *all = timer->data;
	uint64_t now = uv_now(all->serve->loop);
	struct model *m;

	while (!all->serve->stopping && (m = next_due(all, now)))
		act(m);
	if (all->collect_at && all->collect_at <= now) {
		/* Where it has to wait, it is set when it begins. */
		all->collect_at = 0;
		models_collect(all);
	}
	models__arm(all);
}

void models__go_on(struct models *all)
{
	struct model *m, *first;

	do {
		first = NULL;
		for (size_t i = 0; (m = map_next(&all->by_key, &i, NULL));)
			if (m->deferred && !m->process)
				first = m;
		if (!first || all->collecting || all->serve->stopping)
			return;
		pull(first);
		if (first->state == MODEL_FAILED)
			tell_settled(first);
	} while (first);
}

/* Of those that are only there nothing is due. */
void models__arm(struct models *all)
{
	uint64_t now = uv_now(all->serve->loop), first = all->collect_at;
	struct model *m;

	if (all->serve->stopping)
		return;
	for (size_t i = 0; (m = map_next(&all->by_key, &i, NULL));) {
		if (!m->next_at ||
		    (m->state == MODEL_READY && !may_be_watched(m)))
			continue;
		first = first ? MIN(first, m->next_at) : m->next_at;
	}
	if (!first)
		uv_timer_stop(&all->timer);
	else
		uv_timer_start(&all->timer, on_timer, MAX(first, now + 1) - now,
			       0);
}

void models_settings(struct models *all)
{
	struct model *m;

	for (size_t i = 0; (m = map_next(&all->by_key, &i, NULL));)
		if (m->state == MODEL_READY && m->next_at)
			ask_later(m);
	models_collect(all);
	models__arm(all);
}

/* ---- wanting one ---- */

static char *key_of(const char *url, char *const *env)
{
	char hex[SHA256_HEX];
	struct sha256 h;

	sha256_init(&h);
	sha256_add(&h, url, strlen(url) + 1);
	for (; *env; env++)
		sha256_add(&h, *env, strlen(*env) + 1);
	sha256_hex(&h, hex);
	return mem_strdup(hex);
}

static struct model *create(struct models *all, char *key, const char *url,
			    char **env)
{
	struct model *m = mem_alloc(sizeof *m);

	list_init(&m->users);
	m->all = all;
	m->key = key;
	m->url = mem_strdup(url);
	m->shown = mem_strndup(url, strcspn(url, "?"));
	m->env = env;
	m->state = MODEL_FETCHING;
	m->doing = "listing";
	map_set(&all->by_key, key, m);
	return m;
}

/* It was there when an earlier daemon ended. */
static bool is_known(struct model *m, const char *tree)
{
	cleanup_free char *path =
		tree ? shelf_tree_path(&m->all->shelf, tree) : NULL;

	if (!path || strlen(tree) != SHA256_HEX - 1 || access(path, F_OK))
		return false;
	memcpy(m->tree, tree, SHA256_HEX);
	m->path = mem_take(&path);
	m->state = MODEL_READY;
	ask_later(m);
	return true;
}

/* Whoever comes new wants the newest, and hears what is wrong now. */
static void look_again(struct model *m)
{
	if (m->work == MODEL_PULLS && !m->abandoned) {
		m->state = MODEL_FETCHING;
		return;
	}
	m->failures = 0;
	m->state = MODEL_FETCHING;
	pull(m);
}

int model_get(struct models *all, const char *url, const struct spec *spec,
	      const char *tree, struct model **ret, struct err *err)
{
	char **env = model__env(all->serve, spec, err);
	cleanup_free char *key = NULL;
	struct model *m;

	if (!env)
		return err->code;
	key = key_of(url, env);
	m = map_get(&all->by_key, key);
	if (m) {
		model__env_free(env);
		m->refs++;
		if (!tree)
			look_again(m);
	} else {
		m = create(all, mem_take(&key), url, env);
		m->refs++;
		if (!is_known(m, tree))
			pull(m);
	}
	*ret = m;
	return 0;
}

struct model *models_at(const struct models *all, const char *url)
{
	struct model *m;

	for (size_t i = 0; (m = map_next(&all->by_key, &i, NULL));)
		if (strcmp(m->url, url) == 0)
			return m;
	return NULL;
}

uint64_t model_again_ms(const struct model *m)
{
	uint64_t now = uv_now(m->all->serve->loop);

	if (m->state != MODEL_FAILED || !m->next_at)
		return 0;
	return MAX(m->next_at, now + 1) - now;
}

double model_eta_s(const struct model *m)
{
	if (m->state != MODEL_FETCHING || !m->rate || m->total < m->done)
		return -1;
	return (double)(m->total - m->done) / (double)m->rate;
}

char *model_progress_text(const struct model *m)
{
	char done[32], total[32], rate[32], left[32];
	double eta = model_eta_s(m);

	if (!m->total)
		return mem_printf("%s %s", m->doing, m->shown);
	str_human_bytes(m->done, done);
	str_human_bytes(m->total, total);
	str_human_bytes(m->rate, rate);
	if (eta < 0)
		return mem_printf("%s %s: %s of %s", m->doing, m->shown, done,
				  total);
	return mem_printf("%s %s: %s of %s, %s/s, %s left", m->doing, m->shown,
			  done, total, rate,
			  str_human_ms((int64_t)ceil(eta) * 1000, left));
}

/* ---- all of them ---- */

int models_open(struct models *all, struct serve *serve, struct err *err)
{
	*all = (struct models){.serve = serve};
	map_init(&all->by_key);
	list_init(&all->askers);
	uv_timer_init(serve->loop, &all->timer);
	all->timer.data = all;
	all->dir = mem_printf("%s/models", serve->data_dir);
	all->uid = geteuid() == 0 ? USER_FETCH : 0;
	return models__open_shelf(all, err);
}

void models_stop(struct models *all)
{
	uv_timer_stop(&all->timer);
}

static void on_timer_closed(uv_handle_t *handle)
{
	(void)handle;
}

void models_close(struct models *all)
{
	struct model *m;

	while ((m = map_next(&all->by_key, &(size_t){0}, NULL)))
		free_model(m);
	models__free_askers(all);
	uv_close((uv_handle_t *)&all->timer, on_timer_closed);
	map_fini(&all->by_key);
	shelf_close(&all->shelf);
	free(all->dir);
}
