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

/* ---- who uses it ---- */

void model__free(struct model *m)
{
	map_del(&m->all->by_key, m->key);
	model__env_free(m->env);
	free(m->key);
	free(m->url);
	free(m->name);
	free(m->shown);
	free(m->path);
	free(m->etag);
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

void model_tell_again(struct model *m, struct model_user *u)
{
	u->again = true;
	models__arm(m->all);
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
	model__free(m);
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
		u->again = false;
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

		if (u->again || (u->watches && u->watches(u)))
			return true;
	}
	return false;
}

static bool is_told_again(const struct model *m)
{
	for (const struct list *it = m->users.next; it != &m->users;
	     it = it->next)
		if (CONTAINER_OF((struct list *)(uintptr_t)it,
				 struct model_user, link)
			    ->again)
			return true;
	return false;
}

bool model__may_be_watched(const struct model *m)
{
	for (const struct list *it = m->users.next; it != &m->users;
	     it = it->next) {
		const struct model_user *u = CONTAINER_OF(
			(struct list *)(uintptr_t)it, struct model_user, link);

		if (u->again || u->watches)
			return true;
	}
	return false;
}

/* ---- what its process has done ---- */

void model__ask_later(struct model *m)
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
	else if (m->path && model__may_be_watched(m))
		model__ask_later(m);
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
	model__ask_later(m);
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

/* Without its source, with what is on the shelf. */
static void on_found(struct model *m, const struct shelf_ref *ref)
{
	if (!ref) {
		settle_failed(m);
		return;
	}
	memcpy(m->tree, ref->tree, sizeof m->tree);
	free(m->path);
	m->path = shelf_tree_path(&m->all->shelf, ref->tree);
	free(m->etag);
	m->etag = mem_strdup(ref->etag);
	m->bytes = ref->bytes;
	m->files = ref->files;
	keep_old(m);
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
			model__find(m, on_found);
		else
			settle_failed(m);
	}
}

void model__asked(struct model *m, bool ok)
{
	struct models *all = m->all;
	/* Of trouble at its source, or that it is over; or somebody else has
	 * fetched what is newer. */
	bool tell = !ok || m->message || strcmp(m->before, m->tree) != 0 ||
		    is_told_again(m);

	if (ok && strcmp(m->answer, "changed") == 0 && !all->serve->stopping) {
		model__start(m, MODEL_PULLS);
		if (m->process)
			return;
	} else if (ok) {
		free(mem_take(&m->code));
		free(mem_take(&m->message));
	}
	model__ask_later(m);
	models__arm(all);
	if (tell && m->state == MODEL_READY)
		tell_settled(m);
	models__go_on(all);
}

void model__forsaken(struct model *m)
{
	m->abandoned = false;
	if (!m->refs) {
		model__free(m);
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

void model__pull(struct model *m)
{
	pull(m);
	if (m->state == MODEL_FAILED)
		tell_settled(m);
}

void model__act(struct model *m)
{
	m->next_at = 0;
	if (m->process)
		return;
	if (m->state == MODEL_FAILED) {
		model__pull(m);
	} else if (m->state == MODEL_READY && is_watched(m)) {
		model__start(m, MODEL_ASKS);
		if (!m->process)
			model__ask_later(m);
	} else if (m->state == MODEL_READY) {
		model__ask_later(m);
	}
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
	m->name = model__name(url, env);
	m->shown = mem_strndup(url, strcspn(url, "?"));
	m->env = env;
	m->state = MODEL_FETCHING;
	m->doing = "listing";
	map_set(&all->by_key, key, m);
	return m;
}

/* How much it has, of one that an earlier daemon fetched. */
static void on_measured(struct model *m, const struct shelf_ref *ref)
{
	if (!ref || strcmp(ref->tree, m->tree) != 0 || m->state != MODEL_READY)
		return;
	m->bytes = ref->bytes;
	m->files = ref->files;
	tell_settled(m);
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
	model__ask_later(m);
	model__find(m, on_measured);
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
