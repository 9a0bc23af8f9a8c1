#include "spec/rules.h"

#include <string.h>

#include "core/map.h"
#include "core/mem.h"
#include "core/str.h"
#include "spec/rules_parts.h"
#include "spec/value.h"

#define CORS "networking.cors"
#define ORIGINS CORS ".allow_origins"

struct node *rules__good(struct node *api, const char *path)
{
	struct node *n = node_find(api, path);

	return n && !n->bad && !node_is_null(n) ? n : NULL;
}

static bool is_bad(struct node *api, const char *path)
{
	struct node *n = node_find(api, path);

	return n && n->bad;
}

static void check_replicas(struct reader *r, struct node *api,
			   struct spec *spec)
{
	struct node *min = rules__good(api, "autoscaling.min_replicas");
	struct node *max = rules__good(api, "autoscaling.max_replicas");
	struct node *init = rules__good(api, "autoscaling.init_replicas");
	uint32_t least = spec->scale.min_replicas;
	uint32_t most = spec->scale.max_replicas;

	if (is_bad(api, "autoscaling.min_replicas") ||
	    is_bad(api, "autoscaling.max_replicas") ||
	    is_bad(api, "autoscaling.init_replicas"))
		return;
	if (most < least && max)
		problem_error(r, max, "autoscaling.max_replicas",
			      "%u is less than min_replicas, %u", most, least);
	else if (most < least)
		problem_error(r, min, "autoscaling.min_replicas",
			      "%u is more than max_replicas, %u by default",
			      least, most);
	else if (init && (spec->scale.init_replicas < least ||
			  spec->scale.init_replicas > most))
		problem_error(r, init, "autoscaling.init_replicas",
			      "%u is not between min_replicas, %u, and "
			      "max_replicas, %u",
			      spec->scale.init_replicas, least, most);
	if (!init)
		spec->scale.init_replicas = least;
	if (!least)
		problem_warn(r, min, "autoscaling.min_replicas",
			     "scale to zero is not acted on yet: one replica "
			     "is kept");
	/* What is so, not what was asked for: nobody else need know. */
	if (!spec->scale.min_replicas)
		spec->scale.min_replicas = 1;
	if (!spec->scale.init_replicas)
		spec->scale.init_replicas = 1;
}

static void check_autoscaling(struct reader *r, struct node *api,
			      struct spec *spec)
{
	static const char target_key[] =
		"autoscaling.target_replica_concurrency";
	struct node *target = rules__good(api, target_key);
	struct node *window = rules__good(api, "autoscaling.window");
	double most = spec->scale.max_replica_concurrency, v;
	int64_t ms;

	if (target && node_float(target, &v) && v > most)
		problem_error(r, target, target_key,
			      "%g is more than max_replica_concurrency, %g", v,
			      most);
	if (window && str_duration_ms(window->text, &ms) && ms % 10000)
		problem_error(r, window, "autoscaling.window",
			      "expected a multiple of 10s, found %s",
			      node_shown(r, window));
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
}

void rules_api(struct reader *r, struct node *api, struct spec *spec)
{
	rules__predictor(r, api, spec);
	check_replicas(r, api, spec);
	check_autoscaling(r, api, spec);
	check_update(r, api);
	check_memory(r, api, spec);
	check_cors(r, api, spec);
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
	}
	r->api = NULL;
	map_fini(&names);
	map_fini(&endpoints);
}
