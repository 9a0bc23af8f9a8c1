/*
 * How many replicas there are: keys that must agree.
 */
#include "core/mem.h"
#include "core/str.h"
#include "spec/rules_parts.h"
#include "spec/value.h"

#define A "autoscaling."

static bool is_bad(struct node *api, const char *path)
{
	struct node *n = node_find(api, path);

	return n && n->bad;
}

enum { CORTEX_MAX_REPLICAS = 100 };

/* On one machine nothing grows that was not asked to, and be it by Cortex's
 * numbers. */
static void fill_max(struct spec *spec, bool has_init)
{
	spec->scale.max_replicas = MAX(spec->scale.min_replicas, 1u);
	if (spec->scale.policy == SCALE_BY_CORTEX)
		spec->scale.max_replicas = CORTEX_MAX_REPLICAS;
	if (has_init)
		spec->scale.max_replicas = MAX(spec->scale.max_replicas,
					       spec->scale.init_replicas);
}

static void check_replicas(struct reader *r, struct node *api,
			   struct spec *spec)
{
	struct node *min = rules__good(api, A "min_replicas");
	struct node *max = rules__good(api, A "max_replicas");
	struct node *init = rules__good(api, A "init_replicas");
	uint32_t least = spec->scale.min_replicas, most;

	if (!max)
		fill_max(spec, init);
	if (!init)
		spec->scale.init_replicas = least;
	if (is_bad(api, A "min_replicas") || is_bad(api, A "max_replicas") ||
	    is_bad(api, A "init_replicas"))
		return;
	most = spec->scale.max_replicas;
	if (most < least && max)
		problem_error(r, max, A "max_replicas",
			      "%u is less than min_replicas, %u", most, least);
	else if (most < least)
		problem_error(r, min, A "min_replicas",
			      "%u is more than max_replicas, %u by default",
			      least, most);
	else if (init && (spec->scale.init_replicas < least ||
			  spec->scale.init_replicas > most))
		problem_error(r, init, A "init_replicas",
			      "%u is not between min_replicas, %u, and "
			      "max_replicas, %u",
			      spec->scale.init_replicas, least, most);
}

static void check_autoscaling(struct reader *r, struct node *api,
			      struct spec *spec)
{
	static const char target_key[] = A "target_replica_concurrency";
	struct node *target = rules__good(api, target_key);
	struct node *window = rules__good(api, A "window");
	double most = spec->scale.max_replica_concurrency, v;
	int64_t ms;

	if (target && node_float(target, &v) && v > most)
		problem_error(r, target, target_key,
			      "%g is more than max_replica_concurrency, %g", v,
			      most);
	if (window && str_duration_ms(window->text, &ms) && ms % 10000)
		problem_error(r, window, A "window",
			      "expected a multiple of 10s, found %s",
			      node_shown(r, window));
}

/* Keys that are right each by itself and do nothing together. */
static void warn_of_pairs(struct reader *r, struct node *api,
			  const struct spec *spec)
{
	struct node *cold = rules__good(api, "on_cold");
	struct node *buffer = rules__good(api, A "buffer_replicas");
	struct node *wait = rules__good(api, A "max_wait");
	uint32_t least = spec->scale.min_replicas;

	if (is_bad(api, A "min_replicas") || is_bad(api, A "max_replicas"))
		return;
	if (cold && spec->cold_retry && least)
		problem_warn(
			r, cold, "on_cold",
			"retry is for an api that may have no replica, and "
			"there are always %u or more (min_replicas): set "
			"autoscaling.min_replicas: 0, or leave it out",
			least);
	if (buffer && spec->scale.buffer_replicas &&
	    least == spec->scale.max_replicas)
		problem_warn(r, buffer, A "buffer_replicas",
			     "has no effect: there are always %u "
			     "(min_replicas and max_replicas): set a larger "
			     "autoscaling.max_replicas",
			     least);
	if (wait && spec->request_timeout_ms &&
	    spec->scale.max_wait_ms >= spec->request_timeout_ms)
		problem_warn(r, wait, A "max_wait",
			     "is no less than request_timeout: who waits so "
			     "long is not answered any more; set it well "
			     "below that");
}

/* Keys of the policy that does not decide. */
static void warn_of(struct reader *r, struct node *api,
		    const char *const *paths, size_t n, const char *policy)
{
	for (size_t i = 0; i < n; i++) {
		struct node *key = rules__good(api, paths[i]);

		if (key)
			problem_warn(r, key, paths[i],
				     "has an effect only with "
				     "autoscaling.policy: %s",
				     policy);
	}
}

/* The file of a Cortex project means Cortex's numbers. */
static void choose_policy(struct reader *r, struct node *api, struct spec *spec)
{
	static const char *const cortex[] = {
		A "target_replica_concurrency",
		A "target_in_flight",
		A "window",
		A "downscale_stabilization_period",
		A "upscale_stabilization_period",
		A "max_downscale_factor",
		A "max_upscale_factor",
		A "downscale_tolerance",
		A "upscale_tolerance",
	};
	static const char *const latency[] = {A "max_wait", A "wait_worth",
					      A "keep_idle",
					      A "buffer_replicas"};

	if (!rules__good(api, A "policy") && !rules__is_soma_file(r))
		spec->scale.policy = SCALE_BY_CORTEX;
	if (spec->scale.policy == SCALE_BY_CORTEX)
		warn_of(r, api, latency, ARRAY_LEN(latency), "latency");
	else
		warn_of(r, api, cortex, ARRAY_LEN(cortex), "cortex");
}

void rules__scale(struct reader *r, struct node *api, struct spec *spec)
{
	choose_policy(r, api, spec);
	check_replicas(r, api, spec);
	check_autoscaling(r, api, spec);
	rules__schedule(r, api, spec);
	warn_of_pairs(r, api, spec);
}
