#include "spec/rules.h"

#include <string.h>

#include "core/map.h"
#include "core/mem.h"
#include "core/str.h"
#include "spec/keys.h"
#include "spec/rules_parts.h"
#include "spec/value.h"

#define CORS "networking.cors"
#define ORIGINS CORS ".allow_origins"

bool rules__is_soma_file(const struct reader *r)
{
	const char *slash = strrchr(r->file_name, '/');
	const char *name = slash ? slash + 1 : r->file_name;

	return strcmp(name, "soma.yaml") == 0 || strcmp(name, "soma.yml") == 0;
}

struct node *rules__good(struct node *api, const char *path)
{
	struct node *n = node_find(api, path);

	return n && !n->bad && !node_is_null(n) ? n : NULL;
}

static bool is_zero(const struct node *n)
{
	return n && (strcmp(n->text, "0") == 0 || strcmp(n->text, "0%") == 0);
}

static void check_update(struct reader *r, struct node *api)
{
	struct node *surge = rules__good(api, "update_strategy.max_surge");
	struct node *less = rules__good(api, "update_strategy.max_unavailable");

	if (is_zero(surge) && is_zero(less))
		problem_error(r, less, "update_strategy.max_unavailable",
			      "cannot be 0 while max_surge is 0: nothing could "
			      "be replaced");
}

static void check_memory(struct reader *r, struct node *api,
			 const struct spec *spec)
{
	struct node *limit = rules__good(api, "compute.mem_limit");

	if (limit && rules__good(api, "compute.mem") &&
	    spec->compute.mem_limit < spec->compute.mem_bytes)
		problem_error(r, limit, "compute.mem_limit",
			      "%s is less than compute.mem, %s",
			      node_shown(r, limit),
			      node_shown(r, rules__good(api, "compute.mem")));
}

/* Cortex's classes answered pages of any site; a program may have rules of its
 * own. */
static void fill_origins(struct reader *r, struct node *api, struct spec *spec)
{
	static const char *all[] = {"*"};
	struct node *n = node_find(api, ORIGINS);

	if ((n && !node_is_null(n)) ||
	    (r->predictor == FOR_COMMAND && !rules__good(api, CORS)))
		return;
	spec->cors.allow_origins = (struct spec_texts){all, ARRAY_LEN(all)};
}

static bool any_origin(const struct spec_texts *origins)
{
	for (uint32_t i = 0; i < origins->n; i++)
		if (strcmp(origins->items[i], "*") == 0)
			return true;
	return false;
}

static void check_cors(struct reader *r, struct node *api, struct spec *spec)
{
	struct node *credentials = rules__good(api, CORS ".allow_credentials");

	fill_origins(r, api, spec);
	if (!any_origin(&spec->cors.allow_origins))
		return;
	if (credentials && spec->cors.allow_credentials)
		problem_error(r, credentials, CORS ".allow_credentials",
			      "needs origins by name, for any page could act "
			      "for its visitors: write allow_origins: "
			      "[https://app.example.com]");
	if (spec->cors.allow_origins.n > 1)
		problem_error(r, node_find(api, ORIGINS), ORIGINS,
			      "'*' stands for all origins: leave the others "
			      "out");
}

void rules_fill(struct spec *spec)
{
	uint32_t cores = (uint32_t)((spec->compute.cpu_millis + 999) / 1000);

	if (!spec->predictor.intra_op_threads)
		spec->predictor.intra_op_threads = MIN(MAX(cores, 1U), 1024U);
	if (!(spec->scale.target_in_flight > 0))
		spec->scale.target_in_flight =
			spec->predictor.type == PREDICTOR_COMMAND
				? MAX(spec->predictor.max_concurrency, 1u)
				: spec->predictor.processes *
					  spec->predictor.threads;
}

void rules_api(struct reader *r, struct node *api, struct spec *spec)
{
	if (r->kind == KIND_SPLITTER) {
		rules__splitter(r, api, spec);
		return;
	}
	rules__predictor(r, api, spec);
	rules__scale(r, api, spec);
	check_update(r, api);
	check_memory(r, api, spec);
	check_cors(r, api, spec);
	rules__warmup(r, api, spec);
	rules_fill(spec);
	if (!spec->endpoint && spec->name)
		spec->endpoint =
			arena_printf(&r->set->arena, "/%s", spec->name);
}

/* Reports at `path` of the api, or at the api where it was not given. */
static void taken(struct reader *r, struct node *item, const char *path,
		  const char *what, const char *value, const struct spec *by,
		  const struct node *by_item)
{
	struct node *at = node_find(item, path);

	problem_error(r, at ? at : item, path,
		      "%s %s is taken by %s at line %u", what,
		      problem_quote(r, value),
		      strcmp(what, "name") == 0 ? "another api"
						: problem_clean(r, by->name),
		      by_item->line);
}

void rules_file(struct reader *r, struct node **items)
{
	struct spec *specs = r->set->specs;
	struct map names, endpoints;

	map_init(&names);
	map_init(&endpoints);
	for (uint32_t i = 0; i < r->set->n_specs; i++) {
		struct spec *s = &specs[i], *had;

		if (!s->name || !s->endpoint)
			continue;
		r->api = s->name;
		had = map_get(&names, s->name);
		if (had) {
			taken(r, items[i], "name", "name", s->name, had,
			      items[had - specs]);
			continue;
		}
		map_set(&names, s->name, s);
		had = map_get(&endpoints, s->endpoint);
		if (had)
			taken(r, items[i], "networking.endpoint", "endpoint",
			      s->endpoint, had, items[had - specs]);
		else
			map_set(&endpoints, s->endpoint, s);
		if (s->split_json)
			rules__targets(r, items[i]);
	}
	r->api = NULL;
	map_fini(&names);
	map_fini(&endpoints);
}
