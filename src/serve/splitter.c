#include "serve/splitter.h"

#include <string.h>

#include "core/json.h"
#include "core/mem.h"
#include "serve/serve.h"

void splitter_free(struct splitter *sp)
{
	if (!sp)
		return;
	for (size_t i = 0; i < sp->n; i++)
		free(sp->targets[i].name);
	ramp_free(sp->ramp);
	free(sp->targets);
	free(sp->shares);
	free(sp->sticky);
	free(sp);
}

static void read_target(struct splitter *sp, yyjson_val *val)
{
	struct splitter_target *t = &sp->targets[sp->n];
	const char *name = json_str(val, "name", "");

	t->name = mem_strdup(name);
	t->weight = t->declared = (uint32_t)json_int(val, "weight", 0);
	t->shadow = json_bool(val, "shadow", false);
	sp->shares[sp->n] = (struct split_target){
		.weight = t->shadow ? 0 : t->weight,
		.seed = split_hash(name, strlen(name)),
	};
	if (t->shadow)
		sp->shadow = t;
	sp->n++;
}

static struct splitter *create(const struct revision *rev)
{
	const char *json = rev->spec->split_json;
	struct splitter *sp = mem_alloc(sizeof *sp);
	cleanup_json yyjson_doc *doc = json_parse(json, strlen(json), NULL);
	yyjson_val *root = yyjson_doc_get_root(doc), *val;
	yyjson_val *list = yyjson_obj_get(root, "apis");
	size_t i, n, room = yyjson_arr_size(list) + 1;

	*sp = (struct splitter){
		.revision = rev->number,
		.targets = mem_alloc(room * sizeof *sp->targets),
		.shares = mem_alloc(room * sizeof *sp->shares),
		.sticky = mem_strdup(json_str(root, "sticky", NULL)),
		.tolerance = json_num(root, "tolerance", SPEC_TOLERANCE),
	};
	memset(sp->targets, 0, room * sizeof *sp->targets);
	yyjson_arr_foreach(list, i, n, val) read_target(sp, val);
	val = yyjson_obj_get(root, "canary");
	if (val)
		ramp_begin(rev->api, sp, val);
	return sp;
}

struct splitter_target *splitter_target(const struct api *a, const char *name)
{
	const struct splitter *sp = a->splitter;

	for (size_t i = 0; sp && i < sp->n; i++)
		if (strcmp(sp->targets[i].name, name) == 0)
			return &sp->targets[i];
	return NULL;
}

/* Who changes weights wants to see what came of it, not a new beginning. */
static void keep_counts(struct splitter *sp, const struct api *a)
{
	for (size_t i = 0; i < sp->n; i++) {
		const struct splitter_target *had =
			splitter_target(a, sp->targets[i].name);

		if (had)
			sp->targets[i].n = had->n;
	}
}

void splitter_step(struct revision *rev)
{
	struct api *a = rev->api;
	struct splitter *sp;

	if (rev != a->want)
		return;
	if (!a->splitter || a->splitter->revision != rev->number) {
		sp = create(rev);
		keep_counts(sp, a);
		splitter_free(a->splitter);
		a->splitter = sp;
	}
	if (rev->state != REVISION_LIVE) {
		rev->state = REVISION_LIVE;
		api_event(a, rev->number, "live", NULL, NULL, "live");
	}
	api_on_live(a, rev);
}

static bool is_there(const struct api *a)
{
	return a && !a->deleting && !a->splitter && (a->live || a->want);
}

static int choose(struct splitter *sp, struct http_req *req)
{
	struct str key = {0};

	if (sp->sticky)
		key = http_req_header(req, sp->sticky);
	return key.n ? split_sticky(sp->shares, sp->n, key.p, key.n)
		     : split_next(sp->shares, sp->n);
}

struct api *splitter_pick(struct api *a, struct http_req *req)
{
	int at = choose(a->splitter, req);
	struct splitter_target *t;
	struct api *to;

	if (at == SPLIT_NONE) {
		http_reply_error_full(req, E_UNAVAILABLE, 0, a->name, NULL,
				      "the TrafficSplitter '%s' sends to no "
				      "api: all weights are 0",
				      a->name);
		return NULL;
	}
	t = &a->splitter->targets[at];
	req->target_api = str_of(arena_strdup(req->arena, t->name));
	to = map_get(&a->serve->apis, t->name);
	if (!is_there(to)) {
		t->n.missing++;
		http_reply_error_full(req, E_UNAVAILABLE, 0, a->name, NULL,
				      "the TrafficSplitter '%s' sends this to "
				      "'%s', which is not deployed",
				      a->name, t->name);
		return NULL;
	}
	t->n.requests++;
	return to;
}

struct api *splitter_peek(const struct api *a)
{
	const struct splitter *sp = a->splitter;

	for (size_t i = 0; i < sp->n; i++) {
		struct api *to = map_get(&a->serve->apis, sp->targets[i].name);

		if (sp->shares[i].weight && is_there(to))
			return to;
	}
	return NULL;
}

/* As the target's gate counts it: a client that left is no error (0), an
 * answer that broke off is one. */
static unsigned outcome(const struct http_req *req)
{
	if (req->cut)
		return 502;
	return req->gone && req->status < 400 ? 0 : req->status;
}

void splitter_on_over(struct serve *s, const struct http_req *req)
{
	struct api *a =
		req->splitter.n ? map_get(&s->apis, req->splitter.p) : NULL;
	unsigned status = outcome(req);
	struct splitter_target *t;

	if (!a)
		return;
	stats_add(&a->stats, status, (req->end_ns - req->start_ns) / 1000);
	t = req->target_api.n ? splitter_target(a, req->target_api.p) : NULL;
	if (!t || !status)
		return;
	t->n.errors += status >= 500;
	ramp_add(a, t->name, status >= 500);
}

struct api *splitter_of(const struct serve *s, const char *target)
{
	struct api *a;

	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));)
		if (!a->deleting && !a->delete_pending &&
		    splitter_target(a, target))
			return a;
	return NULL;
}

enum spec_there splitter_there(const struct serve *s, const char *name)
{
	const struct api *a = map_get(&s->apis, name);

	if (!a || a->deleting || a->delete_pending || !a->want)
		return SPEC_ABSENT;
	return a->want->spec->split_json ? SPEC_SPLITTER : SPEC_API;
}

int splitter_check(const struct serve *s, const struct spec *spec,
		   struct err *err)
{
	const struct api *a = map_get(&s->apis, spec->name);

	if (!a || !a->want || !a->want->spec->split_json == !spec->split_json)
		return 0;
	return err_set(err, E_CONFLICT,
		       "%s: cannot change its kind from %s to %s while it is "
		       "deployed; delete it first ('soma delete %s'), or give "
		       "the new one another name",
		       spec->name, a->want->spec->kind, spec->kind, spec->name);
}

static void put_shadow(yyjson_mut_doc *doc, yyjson_mut_val *o,
		       const struct splitter_counts *n)
{
	yyjson_mut_obj_add_uint(doc, o, "copies", n->copies);
	yyjson_mut_obj_add_uint(doc, o, "dropped", n->dropped);
	yyjson_mut_obj_add_uint(doc, o, "failed", n->failed);
	yyjson_mut_obj_add_uint(doc, o, "compared", n->compared);
	yyjson_mut_obj_add_uint(doc, o, "not_compared", n->not_compared);
	yyjson_mut_obj_add_uint(doc, o, "differ", n->differ);
	yyjson_mut_obj_add_real(doc, o, "largest_difference", n->largest);
}

void splitter_put(yyjson_mut_doc *doc, yyjson_mut_val *root,
		  const struct api *a)
{
	const struct splitter *sp = a->splitter;
	yyjson_mut_val *top, *list, *o;

	if (!sp) {
		yyjson_mut_obj_add_null(doc, root, "splitter");
		return;
	}
	top = yyjson_mut_obj_add_obj(doc, root, "splitter");
	if (sp->sticky)
		yyjson_mut_obj_add_strcpy(doc, top, "sticky", sp->sticky);
	else
		yyjson_mut_obj_add_null(doc, top, "sticky");
	ramp_put(doc, top, sp);
	list = yyjson_mut_obj_add_arr(doc, top, "apis");
	for (size_t i = 0; i < sp->n; i++) {
		const struct splitter_target *t = &sp->targets[i];

		o = yyjson_mut_arr_add_obj(doc, list);
		yyjson_mut_obj_add_strcpy(doc, o, "name", t->name);
		yyjson_mut_obj_add_uint(doc, o, "weight", t->weight);
		yyjson_mut_obj_add_bool(doc, o, "shadow", t->shadow);
		yyjson_mut_obj_add_uint(doc, o, "requests", t->n.requests);
		yyjson_mut_obj_add_uint(doc, o, "errors", t->n.errors);
		yyjson_mut_obj_add_uint(doc, o, "missing", t->n.missing);
		if (t->shadow)
			put_shadow(doc, o, &t->n);
	}
}
