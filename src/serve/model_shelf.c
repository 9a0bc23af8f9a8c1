/* model_shelf.c: what the daemon does to the shelf: opens it, looks for a
 * model, removes what nobody needs. The last two on libuv's pool. */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/mem.h"
#include "loop/file.h"
#include "loop/log.h"
#include "serve/model_parts.h"
#include "serve/serve.h"

enum { HOURLY_MS = 3600 * 1000 };

/* ---- opening ---- */

/* The pins are the daemon's own: DATA/models is root's, as are they, and only
 * the shelf's folders in it are of who fetches. */
int models__open_shelf(struct models *all, struct err *err)
{
	cleanup_free char *pins = mem_printf("%s/pins", all->dir);

	return shelf_open_as(&all->shelf, all->dir, all->uid, err) ||
			       file_mkdirs(pins, 0755, err)
		       ? err->code
		       : 0;
}

/* ---- looking for one ---- */

struct finding {
	uv_work_t work;
	struct model *model;
	void (*then)(struct model *m, const struct shelf_ref *ref);
	struct shelf_ref ref;
	bool found;
};

static void on_find(uv_work_t *work)
{
	struct finding *f = work->data;
	struct err err = {0};

	f->found = shelf_find(&f->model->all->shelf, f->model->name, &f->ref,
			      &err) == 0;
}

static void on_found(uv_work_t *work, int status)
{
	struct finding *f = work->data;
	struct model *m = f->model;
	struct models *all = m->all;

	(void)status;
	all->pulling--;
	all->finding--;
	if (m->refs > 1)
		f->then(m, f->found ? &f->ref : NULL);
	if (f->found)
		shelf_ref_fini(&f->ref);
	model_unref(m);
	models_collect(all);
	free(f);
}

void model__find(struct model *m,
		 void (*then)(struct model *m, const struct shelf_ref *ref))
{
	struct finding *f = mem_alloc(sizeof *f);
	int rc;

	f->model = m;
	f->then = then;
	f->work.data = f;
	m->refs++;
	/* As a fetch: nothing is collected until its tree is known as used. */
	m->all->pulling++;
	m->all->finding++;
	rc = uv_queue_work(m->all->serve->loop, &f->work, on_find, on_found);
	assert(rc == 0);
}

/* ---- removing ---- */

struct collecting {
	uv_work_t work;
	struct models *all;
	const char **trees; /* owned, as is what they are */
	size_t n;
	char **names;	 /* owned, NULL-ended: those that somebody has */
	struct map pins; /* names of folders that are in use */
	uint64_t budget;
	struct shelf_gc gc;
	struct err err;
	bool failed;
	struct list askers; /* to be told */
};

struct asker {
	struct list link;
	void (*done)(void *data, const struct shelf_gc *gc,
		     const struct err *err);
	void *data;
};

/* All of one list, behind those of the other. */
static void move(struct list *from, struct list *to)
{
	while (!list_empty(from)) {
		struct list *first = from->next;

		list_remove(first);
		list_push_back(to, first);
	}
}

static void tell_askers(struct collecting *c)
{
	while (!list_empty(&c->askers)) {
		struct asker *a =
			LIST_ENTRY(c->askers.next, struct asker, link);

		list_remove(&a->link);
		a->done(a->data, &c->gc, c->failed ? &c->err : NULL);
		free(a);
	}
}

void models__free_askers(struct models *all)
{
	while (!list_empty(&all->askers)) {
		struct asker *a =
			LIST_ENTRY(all->askers.next, struct asker, link);

		list_remove(&a->link);
		free(a);
	}
}

static void sweep_pins(struct collecting *c)
{
	cleanup_free char *dir = mem_printf("%s/pins", c->all->dir);
	DIR *d = opendir(dir);
	struct dirent *e;

	if (!d)
		return;
	while ((e = readdir(d))) {
		cleanup_free char *path = mem_printf("%s/%s", dir, e->d_name);

		if (e->d_name[0] != '.' && !map_get(&c->pins, e->d_name))
			file_remove_tree(path, NULL);
	}
	closedir(d);
}

/* What is in use now was not used long ago when it no longer is. */
static void note_used(struct collecting *c)
{
	for (char **name = c->names; *name; name++)
		shelf_used(&c->all->shelf, *name, NULL);
}

static void on_collect(uv_work_t *work)
{
	struct collecting *c = work->data;

	sweep_pins(c);
	note_used(c);
	c->failed = shelf_gc(&c->all->shelf, c->budget, c->trees, c->n, &c->gc,
			     &c->err) != 0;
}

static void on_collected(uv_work_t *work, int status)
{
	struct collecting *c = work->data;
	struct models *all = c->all;

	(void)status;
	all->collecting = false;
	if (c->failed)
		log_warn(NULL, "models that nobody needs stay on the disk: %s",
			 c->err.msg);
	else
		all->bytes = c->gc.left;
	if (c->gc.freed)
		log_info(LOG_F(F_I("bytes", (int64_t)c->gc.freed),
			       F_I("models", c->gc.refs)),
			 "removed models that nobody needs");
	tell_askers(c);
	map_fini(&c->pins);
	for (char **name = c->names; *name; name++)
		free(*name);
	free(c->names);
	free(c->trees);
	free(c);
	models__go_on(all);
	if (all->collect_again)
		models_collect(all);
}

static void note_pins(const struct serve *s, struct map *pins)
{
	struct list *it, *tmp;
	struct api *a;

	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));)
		LIST_EACH (&a->revisions, it, tmp) {
			struct revision *rev =
				LIST_ENTRY(it, struct revision, link);
			cleanup_free char *name = model_set_pin_name(rev);

			map_set(pins, name, a);
		}
}

static char **names_of(const struct models *all)
{
	char **names = mem_alloc((all->by_key.len + 1) * sizeof *names);
	struct model *m;
	size_t n = 0;

	for (size_t i = 0; (m = map_next(&all->by_key, &i, NULL));)
		names[n++] = mem_strdup(m->name);
	return names;
}

static void collect(struct models *all)
{
	struct serve *s = all->serve;
	struct collecting *c = mem_alloc(sizeof *c);
	int rc;

	c->all = all;
	list_init(&c->askers);
	move(&all->askers, &c->askers);
	c->trees = models_in_use(all, &c->n);
	c->budget = s->models_size;
	c->names = names_of(all);
	map_init(&c->pins);
	note_pins(s, &c->pins);
	c->work.data = c;
	all->collecting = true;
	all->collect_at = uv_now(s->loop) + HOURLY_MS;
	models__arm(all);
	rc = uv_queue_work(s->loop, &c->work, on_collect, on_collected);
	assert(rc == 0);
}

void models_collect(struct models *all)
{
	all->collect_again = all->collecting || all->pulling;
	if (!all->collect_again && !all->serve->stopping && all->serve->loaded)
		collect(all);
}

int models_collect_now(struct models *all,
		       void (*done)(void *data, const struct shelf_gc *gc,
				    const struct err *err),
		       void *data, struct err *err)
{
	struct asker *a;

	if (all->pulling || !all->serve->loaded || all->serve->stopping)
		return err_set(err, E_BUSY,
			       "a model is being fetched now; try again when "
			       "that is over");
	a = mem_alloc(sizeof *a);
	a->done = done;
	a->data = data;
	list_push_back(&all->askers, &a->link);
	models_collect(all);
	return 0;
}

/* ---- what is in use ---- */

/* The texts behind the pointers, in one piece of memory. */
struct trees {
	const char **list;
	char (*text)[SHA256_HEX];
	size_t n, most;
};

static void add(struct trees *t, const char *tree)
{
	if (!*tree)
		return;
	assert(t->n < t->most);
	memcpy(t->text[t->n], tree, SHA256_HEX);
	t->list[t->n] = t->text[t->n];
	t->n++;
}

/* Those of a revision's models, the ones before included. */
static void add_set(struct trees *t, const struct model_set *set)
{
	for (size_t i = 0; i < set->n; i++) {
		add(t, set->items[i].tree);
		add(t, set->items[i].before);
	}
}

static size_t count(const struct models *all)
{
	size_t n = all->by_key.len;
	struct list *it, *tmp;
	struct api *a;

	for (size_t i = 0; (a = map_next(&all->serve->apis, &i, NULL));)
		LIST_EACH (&a->revisions, it, tmp)
			n += 2 *
			     LIST_ENTRY(it, struct revision, link)->models.n;
	return n;
}

const char **models_in_use(const struct models *all, size_t *ret_n)
{
	struct trees t = {.most = count(all)};
	struct list *it, *tmp;
	struct model *m;
	struct api *a;

	t.list = mem_alloc((t.most + 1) * (sizeof *t.list + SHA256_HEX));
	t.text = (void *)(t.list + t.most + 1);
	for (size_t i = 0; (m = map_next(&all->by_key, &i, NULL));)
		add(&t, m->tree);
	for (size_t i = 0; (a = map_next(&all->serve->apis, &i, NULL));)
		LIST_EACH (&a->revisions, it, tmp)
			add_set(&t,
				&LIST_ENTRY(it, struct revision, link)->models);
	*ret_n = t.n;
	return t.list;
}
