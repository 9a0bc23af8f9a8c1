#include "daemon/reload.h"

#include <string.h>

#include "core/mem.h"
#include "loop/log.h"

enum { PROBLEMS_MAX = 256 << 10 };

static void on_work(uv_work_t *work);
static void on_read(uv_work_t *work, int status);

void reload_init(struct reload *r, uv_loop_t *loop, struct settings *settings,
		 const char *data_dir, void (*on_done)(struct reload *r))
{
	const char *given = settings_text(settings, SETTING_CONFIG);

	*r = (struct reload){.loop = loop,
			     .settings = settings,
			     .named = given != NULL,
			     .on_done = on_done};
	r->path = given ? mem_strdup(given) : settings_default_file(data_dir);
	buf_init(&r->problems, PROBLEMS_MAX);
}

void reload_fini(struct reload *r)
{
	free(mem_take(&r->path));
	buf_fini(&r->problems);
}

void reload_start(struct reload *r)
{
	r->again = r->busy;
	if (r->busy)
		return;
	r->busy = true;
	r->n_problems = 0;
	buf_reset(&r->problems);
	settings_copy_without_file(&r->fresh, r->settings);
	if (uv_queue_work(r->loop, &r->work, on_work, on_read))
		abort(); /* only for a missing callback */
}

static void say_problem(void *data, const char *line)
{
	buf_addf(data, "%s\n", line);
}

static void on_work(uv_work_t *work)
{
	struct reload *r = CONTAINER_OF(work, struct reload, work);

	r->n_problems = settings_read_file(&r->fresh, r->path, r->named,
					   say_problem, &r->problems);
}

static void log_problems(struct reload *r)
{
	char *at = (char *)(uintptr_t)buf_cstr(&r->problems), *line;

	while ((line = strsep(&at, "\n")) && *line)
		log_error(NULL, "%s", line);
	log_error(NULL,
		  "the settings file has %u problem%s: nothing was changed",
		  r->n_problems, r->n_problems == 1 ? "" : "s");
}

static bool same(const struct setting_value *a, const struct setting_value *b)
{
	if (!a->text || !b->text)
		return a->text == b->text;
	return a->number == b->number &&
	       (a->number || strcmp(a->text, b->text) == 0);
}

static const char *shown(const struct setting_value *v)
{
	return v->text ? v->text : "the default";
}

/* What the file wants of what cannot change now: as it was, and said. */
static void keep_old(struct setting_value *old, struct setting_value *new,
		     const char *name)
{
	log_warn(NULL,
		 "%s: stays %s until Soma is stopped and started again; the "
		 "settings file wants %s",
		 name, shown(old), shown(new));
	free(new->text);
	*new = *old;
	new->text = mem_strdup(old->text);
}

static void compare(struct reload *r)
{
	bool any = false;

	for (size_t i = 0; i < SETTING_COUNT; i++) {
		struct setting_value *old = &r->settings->values[i];
		struct setting_value *new = &r->fresh.values[i];

		if (same(old, new))
			continue;
		any = true;
		if (settings_table[i].when == SETTING_LIVE)
			log_info(NULL, "%s: %s -> %s", settings_table[i].name,
				 shown(old), shown(new));
		else
			keep_old(old, new, settings_table[i].name);
	}
	if (!any)
		log_info(LOG_F(F_S("file", r->path)),
			 "the settings were read again: nothing changed");
}

static void on_read(uv_work_t *work, int status)
{
	struct reload *r = CONTAINER_OF(work, struct reload, work);

	r->busy = false;
	if (r->n_problems || status < 0) {
		log_problems(r);
		settings_fini(&r->fresh);
	} else {
		compare(r);
		settings_take(r->settings, &r->fresh);
	}
	r->on_done(r);
	if (r->again)
		reload_start(r);
}
