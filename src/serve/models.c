/* models.c: all models of a daemon: which of them is to do something, and when.
 */
#include <string.h>
#include <unistd.h>

#include "core/mem.h"
#include "serve/model_parts.h"
#include "serve/serve.h"
#include "serve/users.h"

static void on_timer(uv_timer_t *timer);

/* ---- when ---- */

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
		model__act(m);
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
		model__pull(first);
	} while (first);
}

/* Of those that are only there nothing is due. */
void models__arm(struct models *all)
{
	uint64_t now = uv_now(all->serve->loop), first = all->collect_at;
	struct model *m;

	if (all->serve->stopping || all->serve->yielded)
		return;
	for (size_t i = 0; (m = map_next(&all->by_key, &i, NULL));) {
		if (!m->next_at ||
		    (m->state == MODEL_READY && !model__may_be_watched(m)))
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
			model__ask_later(m);
	models_collect(all);
	models__arm(all);
}

struct model *models_at(const struct models *all, const char *url)
{
	struct model *m;

	for (size_t i = 0; (m = map_next(&all->by_key, &i, NULL));)
		if (strcmp(m->url, url) == 0)
			return m;
	return NULL;
}

struct model *models_named(const struct models *all, const char *name)
{
	struct model *m;

	for (size_t i = 0; (m = map_next(&all->by_key, &i, NULL));)
		if (strcmp(m->name, name) == 0)
			return m;
	return NULL;
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
	atomic_store(&all->stopping, true);
}

static void on_timer_closed(uv_handle_t *handle)
{
	(void)handle;
}

void models_close(struct models *all)
{
	struct model *m;

	while ((m = map_next(&all->by_key, &(size_t){0}, NULL)))
		model__free(m);
	models__free_askers(all);
	uv_close((uv_handle_t *)&all->timer, on_timer_closed);
	map_fini(&all->by_key);
	shelf_close(&all->shelf);
	free(all->dir);
}
