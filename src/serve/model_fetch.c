/* model_fetch.c: the process that fetches a model, or asks its source: `soma
 * fetch`, and what it says, a line of JSON each. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/json.h"
#include "core/mem.h"
#include "loop/log.h"
#include "serve/environ.h"
#include "serve/model_parts.h"
#include "serve/serve.h"

enum { TELL_MS = 1000 };

static void tell_progress(struct model *m)
{
	uint64_t now = uv_now(m->all->serve->loop);
	struct list *it, *tmp;

	/* It is for those who wait: a newer version comes beside. */
	if (m->state != MODEL_FETCHING ||
	    (m->told_at && now - m->told_at < TELL_MS))
		return;
	m->told_at = now;
	LIST_EACH (&m->users, it, tmp) {
		struct model_user *u = LIST_ENTRY(it, struct model_user, link);

		if (u->on_progress)
			u->on_progress(u);
	}
}

static void take_progress(struct model *m, const char *doing, yyjson_val *root)
{
	m->doing = doing;
	m->done = (uint64_t)json_int(root, "done", 0);
	m->total = (uint64_t)json_int(root, "total", 0);
	m->rate = (uint64_t)json_int(root, "rate", 0);
	tell_progress(m);
}

static void set(char **field, const char *text)
{
	free(*field);
	*field = mem_strdup(text);
}

static void take_tree(struct model *m, yyjson_val *root)
{
	const char *tree = json_str(root, "tree", "");
	const char *path = json_str(root, "path", "");

	if (strlen(tree) != SHA256_HEX - 1 || path[0] != '/')
		return;
	memcpy(m->tree, tree, SHA256_HEX);
	set(&m->path, path);
	set(&m->etag, json_str(root, "etag", ""));
	m->bytes = (uint64_t)json_int(root, "bytes", 0);
	m->files = (uint64_t)json_int(root, "files", 0);
	m->unmarked = !*json_str(root, "etag", "");
	set(&m->answer, json_str(root, "state", ""));
}

static void take_failure(struct model *m, yyjson_val *root)
{
	set(&m->code, json_str(root, "code", "broken"));
	set(&m->message, json_str(root, "message", "no reason was given"));
	m->again = json_bool(root, "again", false);
	set(&m->answer, "failed");
}

static void on_line(struct process *p, struct str line, struct str id)
{
	struct model *m = p->data;
	cleanup_json yyjson_doc *doc = json_parse(line.p, line.n, NULL);
	yyjson_val *root = yyjson_doc_get_root(doc);
	const char *state = json_str(root, "state", NULL);

	(void)id;
	if (!state) {
		free(m->line);
		m->line = mem_strndup(line.p, line.n);
	} else if (strcmp(state, "listing") == 0) {
		take_progress(m, "listing", root);
	} else if (strcmp(state, "fetching") == 0) {
		take_progress(m, "fetching", root);
	} else if (strcmp(state, "verifying") == 0) {
		take_progress(m, "verifying", root);
	} else if (strcmp(state, "ready") == 0 || strcmp(state, "same") == 0) {
		take_tree(m, root);
	} else if (strcmp(state, "changed") == 0) {
		set(&m->answer, state);
	} else if (strcmp(state, "failed") == 0) {
		take_failure(m, root);
	}
}

/* It ended without a last word. */
static void end_unsaid(struct model *m, const char *cause, bool launched)
{
	set(&m->code, "broken");
	free(m->message);
	m->message =
		launched ? mem_printf("fetching %s ended with %s%s%s; it is "
				      "tried again",
				      m->shown, cause, m->line ? ": " : "",
				      m->line ? m->line : "")
			 : mem_printf("%s cannot be fetched: %s", m->shown,
				      cause);
	m->again = launched;
	set(&m->answer, "failed");
}

static void on_gone(struct process *p, const char *cause, bool launched)
{
	struct model *m = p->data;
	struct models *all = m->all;
	enum model_work work = m->work;
	bool ok;

	m->process = NULL;
	m->work = MODEL_RESTS;
	process_close(p);
	if (work == MODEL_PULLS)
		all->pulling--;
	if (!m->answer && !m->abandoned)
		end_unsaid(m, cause, launched);
	ok = m->answer && strcmp(m->answer, "failed") != 0;
	if (m->abandoned || !m->refs)
		model__forsaken(m);
	else if (work == MODEL_PULLS)
		model__pulled(m, ok);
	else
		model__asked(m, ok);
	if (work == MODEL_PULLS)
		models_collect(all);
}

static const struct process_ops fetch_ops = {
	.on_line = on_line,
	.on_exit = on_gone,
};

/* With what it fetches, where no other user can read it. */
static char **variables(const struct model *m)
{
	size_t n = 0, url = strlen(m->url);
	char **extra, **env;

	while (m->env[n])
		n++;
	extra = mem_alloc((n + 3) * sizeof *extra);
	memcpy(extra, m->env, n * sizeof *extra);
	extra[n] = mem_printf("SOMA_MODEL_URL=%s", m->url);
	extra[n + 1] = mem_printf("SOMA_MODEL_VIA=%s",
				  m->name[url] ? m->name + url + 1 : "");
	env = environ_own(m->all->serve->own_dir, extra);
	free(extra[n]);
	free(extra[n + 1]);
	free(extra);
	return env;
}

static int start(struct model *m, bool ask, struct err *err)
{
	struct models *all = m->all;
	struct serve *s = all->serve;
	cleanup_free char *name =
		mem_printf("fetch-%.16s-%llu", m->key,
			   (unsigned long long)s->local.next_id);
	cleanup_free char *meta =
		mem_printf("{\"name\":\"%s\",\"kind\":\"fetch\"}", name);
	cleanup_free char *limit =
		mem_printf("%llu", (unsigned long long)s->models_size);
	const char *words[10];
	/* This program, wherever it lies: its user may not get there. */
	static const char self[] = "/proc/self/exe";
	char **env = variables(m);
	struct process_spec spec;
	size_t n = 0;
	int rc;

	words[n++] = self;
	words[n++] = "fetch";
	if (ask)
		words[n++] = "--check";
	words[n++] = "--dir";
	words[n++] = all->dir;
	if (s->models_size && !ask) {
		words[n++] = "--limit";
		words[n++] = limit;
	}
	words[n] = NULL;
	/* exec leaves them as they are. */
	spec = (struct process_spec){.name = name,
				     .meta = meta,
				     .argv = (char **)(uintptr_t)words,
				     .env = env,
				     .dir = all->dir,
				     .uid = all->uid};
	rc = process_start(&m->process, &s->local, &spec, &fetch_ops, m, err);
	environ_free(env);
	return rc;
}

static void forget_last(struct model *m)
{
	free(mem_take(&m->answer));
	free(mem_take(&m->line));
	memcpy(m->before, m->tree, sizeof m->before);
	m->next_at = m->told_at = 0;
	m->done = m->total = m->rate = 0;
	m->doing = "listing";
}

void model__start(struct model *m, enum model_work work)
{
	struct err err = {0};

	forget_last(m);
	if (start(m, work == MODEL_ASKS, &err)) {
		set(&m->code, "broken");
		set(&m->message, err.msg);
		m->again = true;
		if (m->state == MODEL_FETCHING)
			m->state = MODEL_FAILED;
		return;
	}
	m->work = work;
	m->deferred = false;
	if (work == MODEL_PULLS) {
		m->all->pulling++;
		log_info(LOG_F(F_S("model", m->shown)), "fetching a model");
	}
}
