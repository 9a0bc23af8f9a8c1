#include "serve/model_set.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "core/mem.h"
#include "loop/log.h"
#include "serve/model_pin.h"
#include "serve/serve.h"
#include "spec/source.h"

enum { TRIES = 3 }; /* failures in a row until a rollout has failed */

static void on_progress(struct model_user *u);
static void on_settled(struct model_user *u);
static bool watches(const struct model_user *u);

/* ---- what the spec says ---- */

static void add_item(struct model_set *set, const char *name,
		     const char *source)
{
	struct model_item *item = &set->items[set->n++];

	item->set = set;
	item->name = mem_strdup(name);
	item->source = mem_strdup(source);
	list_init(&item->user.link);
	item->user.on_progress = on_progress;
	item->user.on_settled = on_settled;
	item->user.watches = set->live ? watches : NULL;
}

/* The key that its sources have: "predictor.models.path". */
static char *key_of(const struct spec *spec, bool open, const char *way)
{
	static const char *const blocks[] = {
		[CLASS_PYTHON_PREDICTOR] = "predictor.multi_model_reloading",
		[CLASS_ONNX_PREDICTOR] = "predictor.models",
		[CLASS_HANDLER] = "handler.multi_model_reloading",
	};

	return mem_printf(
		"%s.%s",
		open ? "predictor.models" : blocks[spec->predictor.klass], way);
}

void model_set_init(struct model_set *set, struct revision *rev)
{
	const char *text = rev->spec->predictor.models_json;
	cleanup_json yyjson_doc *doc =
		text ? json_parse(text, strlen(text), NULL) : NULL;
	yyjson_val *root = yyjson_doc_get_root(doc), *item;
	yyjson_val *paths = yyjson_obj_get(root, "paths");
	const char *path = json_str(root, "path", NULL);
	const char *dir = json_str(root, "dir", NULL);
	bool open = json_bool(root, "open", false);
	size_t i, n;

	*set = (struct model_set){.rev = rev,
				  .live = !open,
				  .some = json_int(root, "cache_size", 0) > 0};
	if (!root)
		return;
	set->key = key_of(rev->spec, open,
			  path	? "path"
			  : dir ? "dir"
				: "paths");
	/* At its final size: items are in lists. */
	set->items =
		mem_alloc((yyjson_arr_size(paths) + 1) * sizeof *set->items);
	if (path || dir)
		add_item(set, "_", path ? path : dir);
	yyjson_arr_foreach(paths, i, n, item) add_item(
		set, json_str(item, "name", "_"), json_str(item, "path", ""));
}

void model_set_leave(struct model_set *set)
{
	for (size_t i = 0; i < set->n; i++)
		model_leave(&set->items[i].user);
}

static void forget(struct model_set *set)
{
	model_set_leave(set);
	for (size_t i = 0; i < set->n; i++) {
		model_unref(set->items[i].model);
		set->items[i].model = NULL;
		free(mem_take(&set->items[i].trouble));
	}
	free(mem_take(&set->broken));
	set->begun = false;
}

void model_set_fini(struct model_set *set)
{
	forget(set);
	for (size_t i = 0; i < set->n; i++) {
		struct model_item *item = &set->items[i];

		free(item->name);
		free(item->source);
		free(item->place);
		free(item->pin);
	}
	free(set->items);
	free(set->key);
	*set = (struct model_set){0};
}

/* ---- getting them ---- */

static struct serve *serve_of(const struct model_set *set)
{
	return set->rev->api->serve;
}

static bool is_fetched(const struct model_item *item)
{
	return strstr(item->source, "://") && !source_in_place(item->source);
}

static void set_broken(struct model_set *set, const char *text)
{
	if (!set->broken)
		set->broken = mem_printf("%s: %s", set->key, text);
}

/* What lies on this machine, where it lies. */
static void find_in_place(struct model_item *item)
{
	struct model_set *set = item->set;
	const char *path = source_in_place(item->source);
	cleanup_free char *text = NULL;

	if (path)
		item->place = mem_strdup(path);
	else if (set->rev->project_dir)
		item->place = mem_printf("%s/%s", set->rev->project_dir,
					 item->source);
	/* Who may not look there is for the replica's user to say. */
	if (!path || access(path, F_OK) == 0 || errno != ENOENT)
		return;
	text = mem_printf("%s is not on this machine; put the model there, or "
			  "correct the path",
			  path);
	free(mem_take(&item->place));
	set_broken(set, text);
}

static void begin_item(struct model_item *item)
{
	struct model_set *set = item->set;
	struct models *all = &serve_of(set)->models;
	struct err err = {0};

	if (!is_fetched(item)) {
		find_in_place(item);
		return;
	}
	if (!item->pin)
		item->pin = pin_path(set->rev, item->name);
	if (!item->place)
		item->place = pin_read(all, item->pin, item->tree);
	if (model_get(all, item->source, set->rev->spec,
		      item->place ? item->tree : NULL, &item->model, &err)) {
		set_broken(set, err.msg);
		return;
	}
	model_join(item->model, &item->user);
	if (item->place)
		return;
	if (item->model->state == MODEL_FETCHING)
		api_event(set->rev->api, set->rev->number, "model_fetching",
			  NULL, NULL, "fetching %s", item->model->shown);
}

static void begin(struct model_set *set)
{
	set->begun = true;
	for (size_t i = 0; i < set->n; i++)
		begin_item(&set->items[i]);
}

/* Once: the last of them made it so. */
static void tell_large(struct model_set *set)
{
	cleanup_free char *text = NULL;

	if (!set->told_large)
		text = model_set_large_text(set);
	if (!text)
		return;
	set->told_large = true;
	log_warn(LOG_F(F_S("api", set->rev->api->name)), "%s", text);
	api_event(set->rev->api, set->rev->number, "model_ready", NULL, NULL,
		  "%s", text);
}

/* It is of the newest tree from now on. False: what it was before, and it is
 * tried again when the source is asked next: a disk may have room then. */
static bool take(struct model_item *item)
{
	struct model *m = item->model;
	struct err err = {0};

	if (item->place && strcmp(item->tree, m->tree) == 0)
		return true;
	free(mem_take(&item->trouble));
	if (model_hub_put(item, m, &err) || pin_set(item->pin, m->path, &err)) {
		item->trouble = mem_strdup(err.msg);
		model_tell_again(m, &item->user);
		return false;
	}
	memcpy(item->before, item->tree, sizeof item->before);
	memcpy(item->tree, m->tree, sizeof item->tree);
	free(item->place);
	item->place = mem_strdup(m->path);
	item->bytes = m->bytes;
	tell_large(item->set);
	return true;
}

/* READY at once: it was there. */
static void take_ready(struct model_set *set)
{
	for (size_t i = 0; i < set->n; i++) {
		struct model_item *item = &set->items[i];

		if (item->model && !item->place &&
		    item->model->state == MODEL_READY)
			take(item);
	}
}

/* Will not be there, as far as can be told. */
static bool is_lost(const struct model_item *item)
{
	const struct model *m = item->model;

	return m && !item->place && m->failures &&
	       ((m->state == MODEL_FAILED && !m->again) ||
		m->failures >= TRIES);
}

enum model_set_state model_set_step(struct model_set *set)
{
	enum model_set_state state = MODELS_THERE;

	if (!set->begun)
		begin(set);
	take_ready(set);
	if (set->broken)
		return MODELS_MISSING;
	for (size_t i = 0; i < set->n; i++) {
		const struct model_item *item = &set->items[i];

		if (is_lost(item) || (item->trouble && !item->place))
			return MODELS_MISSING;
		if (!item->place)
			state = MODELS_COMING;
	}
	return state;
}

char *model_set_trouble(const struct model_set *set)
{
	if (set->broken)
		return mem_strdup(set->broken);
	for (size_t i = 0; i < set->n; i++) {
		const struct model_item *item = &set->items[i];
		const struct model *m = item->model;

		if (item->trouble && !item->place)
			return mem_printf("%s: %s", set->key, item->trouble);
		if (is_lost(item))
			return mem_printf("%s: %s", set->key,
					  m->message ? m->message : "");
	}
	return mem_strdup("");
}

uint64_t model_set_again_ms(const struct model_set *set)
{
	uint64_t first = 0;

	for (size_t i = 0; i < set->n; i++) {
		const struct model *m = set->items[i].model;
		uint64_t ms = m && !set->items[i].place ? model_again_ms(m) : 0;

		if (ms)
			first = first ? MIN(first, ms) : ms;
	}
	return first;
}

void model_set_on_secret(struct model_set *set)
{
	if (set->begun && model_set_step(set) == MODELS_MISSING)
		forget(set);
}

/* ---- told by models ---- */

static void on_progress(struct model_user *u)
{
	struct model_item *item = CONTAINER_OF(u, struct model_item, user);
	struct revision *rev = item->set->rev;
	cleanup_free char *text = NULL;

	if (item->place || rev->leaving)
		return;
	text = model_progress_text(item->model);
	api_event(rev->api, rev->number, "model_fetching", NULL, NULL, "%s",
		  text);
}

/* Once while it lasts: the source is asked again and again. */
static void grumble(struct model_item *item, const char *text)
{
	struct revision *rev = item->set->rev;

	if (!item->grumbled)
		api_event(rev->api, rev->number, "model_failed", NULL, NULL,
			  "%s; what was fetched before goes on being used",
			  text);
	item->grumbled = true;
}

static void tell_failed(struct model_item *item)
{
	struct revision *rev = item->set->rev;
	uint64_t ms = model_again_ms(item->model);
	char wait[32];

	if (item->place)
		grumble(item, item->model->message);
	else if (ms)
		api_event(rev->api, rev->number, "model_failed", NULL, NULL,
			  "%s; trying again in %s", item->model->message,
			  str_human_ms((int64_t)ms, wait));
	else
		api_event(rev->api, rev->number, "model_failed", NULL, NULL,
			  "%s", item->model->message);
}

static void tell_unmarked(struct model_item *item)
{
	struct revision *rev = item->set->rev;

	api_event(rev->api, rev->number, "model_ready", NULL, NULL,
		  "the server of %s sends neither ETag nor Last-Modified: what "
		  "is new there is not noticed unless its size is another; "
		  "'soma models pull' fetches it",
		  item->model->shown);
}

static void tell_ready(struct model_item *item)
{
	struct revision *rev = item->set->rev;
	bool newer = item->before[0];
	char bytes[32];

	item->grumbled = false;
	str_human_bytes(item->model->bytes, bytes);
	api_event(rev->api, rev->number, "model_ready", NULL, NULL,
		  newer ? "%s is there in a new version, %s"
			: "%s is there, %s",
		  item->model->shown, bytes);
	if (!newer && item->model->message)
		grumble(item, item->model->message);
	if (item->set->live && item->model->unmarked)
		tell_unmarked(item);
}

/* Live ones change while they are used; others are what they were when the
 * revision began. */
static void on_settled(struct model_user *u)
{
	struct model_item *item = CONTAINER_OF(u, struct model_item, user);
	struct model_set *set = item->set;
	struct revision *rev = set->rev;
	struct model *m = item->model;

	if (rev->leaving)
		return;
	/* Of one that an earlier daemon fetched it is known later. */
	if (item->place && strcmp(item->tree, m->tree) == 0)
		item->bytes = m->bytes;
	if (m->state == MODEL_FAILED) {
		tell_failed(item);
	} else if (!item->place ||
		   (set->live && strcmp(item->tree, m->tree) != 0)) {
		/* Where nothing was before, the step tells. */
		if (take(item))
			tell_ready(item);
		else if (item->place)
			grumble(item, item->trouble);
	} else if (m->message) {
		grumble(item, m->message);
	} else {
		item->grumbled = false;
	}
	/* Last: it may end us. */
	revision_step(rev);
}

/* Nobody reads them where there is no replica. */
static bool watches(const struct model_user *u)
{
	const struct model_item *item = CONTAINER_OF(
		(struct model_user *)(uintptr_t)u, struct model_item, user);

	return !item->set->rev->leaving && revision_places(item->set->rev) > 0;
}
