/* change.c: what people ask to be changed: made durable first, then made so. */
#include <string.h>

#include "core/mem.h"
#include "loop/log.h"
#include "serve/memory.h"
#include "serve/serve.h"
#include "serve/users.h"

int serve_check(struct serve *s, const struct spec *spec, struct err *err)
{
	struct api *other = map_get(&s->routes, spec->endpoint);
	struct api *same = map_get(&s->apis, spec->name);

	if (!other)
		other = map_get(&s->reserved, spec->endpoint);
	if (other && strcmp(other->name, spec->name) != 0)
		return err_set(err, E_CONFLICT,
			       "%s: the endpoint %s is taken by the api '%s'; "
			       "choose another with networking.endpoint",
			       spec->name, spec->endpoint, other->name);
	if (splitter_check(s, spec, err))
		return err->code;
	if (memory_check(s, spec, err))
		return err->code;
	if (same && (same->deleting || same->delete_pending))
		return err_set(err, E_CONFLICT,
			       "%s is being deleted; deploy it again when it "
			       "is gone ('soma get' shows it)",
			       spec->name);
	for (uint32_t i = 0; i < spec->predictor.n_env; i++) {
		const char *name = spec->predictor.env[i].from_secret;

		if (name && !map_get(&s->secrets, name))
			return err_set(err, E_UNPROCESSABLE,
				       "%s: there is no secret '%s', which "
				       "predictor.env.%s wants; set it with "
				       "'soma secret set %s'",
				       spec->name, name,
				       spec->predictor.env[i].name, name);
	}
	return 0;
}

static uid_t unused_uid(const struct serve *s)
{
	const uint32_t n = USER_API_LAST - USER_API_FIRST + 1;
	uint32_t at = 2166136261u;
	const struct api *a;

	if (!s->local.root)
		return 0;
	/* Two Somas of one machine begin at different places. */
	for (const char *p = s->data_dir; *p; p++)
		at = (at ^ (unsigned char)*p) * 16777619u;
	for (uint32_t i = 0; i < n; i++) {
		uid_t uid = USER_API_FIRST + (at + i) % n;
		bool taken = false;

		for (size_t k = 0; (a = map_next(&s->apis, &k, NULL));)
			taken = taken || a->uid == uid;
		if (!taken)
			return uid;
	}
	return USER_API_LAST;
}

/* A change on its way to the disk. */
struct change {
	struct api *api;
	struct revision *rev; /* owned until applied */
	enum serve_change what;
	int64_t updated_ms;
	char *origin; /* owned */
	void (*done)(void *data, const struct err *err,
		     enum serve_change change, struct api *api);
	void *data;
};

/* The endpoint is the route's from now on, or nobody's. */
static void release(const struct change *c)
{
	struct map *reserved = &c->api->serve->reserved;

	if (map_get(reserved, c->rev->spec->endpoint) == c->api)
		map_del(reserved, c->rev->spec->endpoint);
}

static void change_free(struct change *c)
{
	free(c->origin);
	free(c);
}

static void note(const struct change *c)
{
	struct store_revision row = {.number = c->rev->number,
				     .created_ms = c->updated_ms,
				     .origin = c->origin,
				     .project = c->rev->project};

	history_add(&c->api->history, &row);
}

static void on_put(void *data, const struct err *err)
{
	struct change *c = data;
	struct api *a = c->api;

	if (err) {
		release(c);
		revision_free(c->rev);
		a->changing--;
		c->done(c->data, err, c->what, a);
		/* One that never came to be. */
		if (!a->want && !a->changing) {
			map_del(&a->serve->apis, a->name);
			api_free(a);
		}
		change_free(c);
		return;
	}
	a->changing--;
	release(c);
	if (a->deleting || a->serve->stopping) {
		struct err late = {0};

		err_set(&late, E_CONFLICT, "%s is being deleted", a->name);
		revision_free(c->rev);
		c->done(c->data, a->deleting ? &late : NULL, c->what, a);
		change_free(c);
		return;
	}
	note(c);
	api_event(a, c->rev->number, "deploy", NULL, NULL, "revision %lld",
		  (long long)c->rev->number);
	api_want(a, c->rev, c->updated_ms);
	c->done(c->data, NULL, c->what, a);
	change_free(c);
}

static void put(struct api *a, const char *spec_json, const char *project,
		const char *origin, enum serve_change what,
		void (*done)(void *data, const struct err *err,
			     enum serve_change change, struct api *api),
		void *data)
{
	struct change *c = mem_alloc(sizeof *c);
	struct store_api row = {.name = a->name,
				.revision = a->next_number++,
				.uid = (int64_t)a->uid,
				.updated_ms = log_now_ms(),
				.spec_json = spec_json,
				.project = project,
				.origin = origin};
	struct err err = {0};

	*c = (struct change){.api = a,
			     .what = what,
			     .updated_ms = row.updated_ms,
			     .origin = mem_strdup(origin),
			     .done = done,
			     .data = data};
	c->rev = revision_create(a, row.revision, spec_json, project, &err);
	if (!c->rev) {
		done(data, &err, what, a);
		change_free(c);
		return;
	}
	a->changing++;
	map_set(&a->serve->reserved, c->rev->spec->endpoint, a);
	store_put_api(a->serve->store, &row, on_put, c);
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

void serve_apply(struct serve *s, const char *spec_json, const char *project,
		 bool force,
		 void (*done)(void *data, const struct err *err,
			      enum serve_change change, struct api *api),
		 void *data)
{
	struct spec_set set;
	struct err err = {0};
	struct api *a;

	if (spec_from_json(&set, spec_json, strlen(spec_json), &err) ||
	    serve_check(s, &set.specs[0], &err)) {
		spec_set_fini(&set);
		done(data, &err, SERVE_UNCHANGED, NULL);
		return;
	}
	a = map_get(&s->apis, set.specs[0].name);
	if (a && a->want && !force && !a->changing &&
	    a->want->state != REVISION_FAILED &&
	    same_text(a->want->spec_json, spec_json) &&
	    same_text(a->want->project, project)) {
		spec_set_fini(&set);
		done(data, NULL, SERVE_UNCHANGED, a);
		return;
	}
	if (a) {
		put(a, spec_json, project, "deploy", SERVE_UPDATED, done, data);
	} else {
		a = api_create(s, set.specs[0].name, unused_uid(s));
		a->next_number = 1;
		map_set(&s->apis, a->name, a);
		put(a, spec_json, project, "deploy", SERVE_CREATED, done, data);
	}
	spec_set_fini(&set);
}

void serve_refresh(struct serve *s, struct api *a,
		   void (*done)(void *data, const struct err *err,
				enum serve_change change, struct api *api),
		   void *data)
{
	struct err err = {0};

	(void)s;
	if (!a->want || a->deleting || a->delete_pending) {
		err_set(&err, E_CONFLICT, "%s has nothing to refresh", a->name);
		done(data, &err, SERVE_UNCHANGED, a);
		return;
	}
	put(a, a->want->spec_json, a->want->project, "refresh", SERVE_UPDATED,
	    done, data);
}

/* The way back: a new revision with the content of an older one. */
struct way_back {
	struct api *api;
	void (*done)(void *data, const struct err *err,
		     enum serve_change change, struct api *api);
	void *data;
};

static int check_again(struct api *a, const struct store_revision *r,
		       struct err *err)
{
	struct spec_set set;
	int rc = spec_from_json(&set, r->spec_json, strlen(r->spec_json), err);

	if (rc)
		err_set(err, E_CONFLICT,
			"revision %lld of %s cannot be read any more (%s): "
			"deploy it anew",
			(long long)r->number, a->name, err->msg);
	else
		rc = serve_check(a->serve, &set.specs[0], err);
	spec_set_fini(&set);
	return rc;
}

static void on_older(void *data, const struct err *err,
		     const struct store_revision *r)
{
	struct way_back *w = data;
	struct api *a = w->api;
	struct err wrong = {0};

	a->changing--;
	if (!err && (a->deleting || a->serve->stopping))
		err_set(&wrong, E_CONFLICT, "%s is being deleted", a->name);
	else if (!err)
		check_again(a, r, &wrong);
	if (err || wrong.code) {
		w->done(w->data, err ? err : &wrong, SERVE_UNCHANGED, a);
	} else {
		cleanup_free char *origin =
			mem_printf("rollback to %lld", (long long)r->number);

		put(a, r->spec_json, r->project, origin, SERVE_UPDATED, w->done,
		    w->data);
	}
	free(w);
}

static int64_t number_before(const struct api *a, struct err *err)
{
	const struct history_row *r;

	if (!a->want) {
		err_set(err, E_CONFLICT, "%s has no revision", a->name);
		return 0;
	}
	r = history_before(&a->history, a->want->number);
	if (!r)
		err_set(err, E_CONFLICT,
			"%s has no older revision that was live and has not "
			"failed: 'soma history %s' shows them",
			a->name, a->name);
	return r ? r->number : 0;
}

void serve_roll_back(struct serve *s, struct api *a, int64_t number,
		     void (*done)(void *data, const struct err *err,
				  enum serve_change change, struct api *api),
		     void *data)
{
	struct way_back *w;
	struct err err = {0};

	if (a->deleting || a->delete_pending)
		err_set(&err, E_CONFLICT, "%s is being deleted", a->name);
	else if (!number)
		number = number_before(a, &err);
	else if (a->want && number == a->want->number)
		err_set(&err, E_CONFLICT,
			"revision %lld of %s is the one asked for; 'soma "
			"history %s' shows the others",
			(long long)number, a->name, a->name);
	if (err.code) {
		done(data, &err, SERVE_UNCHANGED, a);
		return;
	}
	w = mem_alloc(sizeof *w);
	*w = (struct way_back){a, done, data};
	a->changing++;
	store_read_revision(s->store, a->name, number, on_older, w);
}

struct deletion {
	struct api *api;
	store_done *done;
	void *data;
};

static void on_marked(void *data, const struct err *err)
{
	struct deletion *d = data;

	d->api->changing--;
	d->api->delete_pending = false;
	if (!err) {
		api_event(d->api, d->api->want ? d->api->want->number : 0,
			  "delete", NULL, NULL, "deleting");
		if (!d->api->deleting)
			api_delete(d->api);
	}
	d->done(d->data, err);
	free(d);
}

void serve_delete(struct serve *s, struct api *a, store_done *done, void *data)
{
	const struct api *user = splitter_of(s, a->name);
	struct deletion *d;
	struct err err = {0};

	if (user) {
		err_set(&err, E_CONFLICT,
			"cannot delete '%s': the TrafficSplitter '%s' sends "
			"requests to it; take it out of that one's apis and "
			"deploy that, or delete that first ('soma delete %s')",
			a->name, user->name, user->name);
		done(data, &err);
		return;
	}
	d = mem_alloc(sizeof *d);
	*d = (struct deletion){a, done, data};
	a->changing++;
	a->delete_pending = true;
	store_mark_deleting(s->store, a->name, on_marked, d);
}

struct secret_change {
	struct serve *serve;
	char *name, *value; /* owned; value NULL: remove */
	int64_t updated_ms;
	store_done *done;
	void *data;
};

/* What is started from now on has it, and what is forked or was frozen. */
static void on_secret_changed(struct serve *s, const char *secret)
{
	struct api *a;

	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));) {
		struct revision *rev = a->want;

		if (!rev || !revision_names_secret(rev, secret))
			continue;
		model_set_on_secret(&rev->models);
		revision_step(rev);
		zygote_on_secret(&rev->zygote, secret);
		frozen_leave(rev);
	}
}

static void on_secret(void *data, const struct err *err)
{
	struct secret_change *c = data;

	if (!err && c->value)
		secret_set(&c->serve->secrets, c->name, c->value,
			   c->updated_ms);
	else if (!err)
		secret_remove(&c->serve->secrets, c->name);
	if (!err)
		on_secret_changed(c->serve, c->name);
	c->done(c->data, err);
	if (c->value)
		explicit_bzero(c->value, strlen(c->value));
	free(c->name);
	free(c->value);
	free(c);
}

static struct secret_change *secret_change(struct serve *s, const char *name,
					   const char *value, store_done *done,
					   void *data)
{
	struct secret_change *c = mem_alloc(sizeof *c);

	*c = (struct secret_change){
		s,   mem_strdup(name), mem_strdup(value), log_now_ms(), done,
		data};
	return c;
}

void serve_put_secret(struct serve *s, const char *name, const char *value,
		      store_done *done, void *data)
{
	struct secret_change *c = secret_change(s, name, value, done, data);
	struct store_secret row = {name, value, c->updated_ms};

	store_put_secret(s->store, &row, on_secret, c);
}

void serve_remove_secret(struct serve *s, const char *name, store_done *done,
			 void *data)
{
	struct err err = {0};

	if (!map_get(&s->secrets, name)) {
		err_set(&err, E_NOTFOUND, "there is no secret '%s'", name);
		done(data, &err);
		return;
	}
	store_remove_secret(s->store, name, on_secret,
			    secret_change(s, name, NULL, done, data));
}
