/* simulate.c: autoscalers on a trace, on a clock of their own. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/output.h"
#include "cli/simulate_config.h"
#include "core/mem.h"
#include "core/str.h"
#include "loop/log.h"
#include "sim/all.h"

enum { CLASSES_MAX = 16, MAX_REPLICAS = 10000 };

static const struct sim_policy *const policies[] = {
	&sim_soma, &sim_kpa, &sim_keepalive, &sim_hybrid, &sim_cortex,
};

/* What was asked for. */
struct order {
	struct sim_case base;
	uint64_t loads[CLASSES_MAX]; /* ns */
	size_t n_loads;
	const struct sim_policy *only; /* or NULL: all */
	bool curve;
	struct sim_setting ours; /* knob below 0: as documented */
	const char *api; /* of a config file; NULL: all that are in a trace */
	enum sim_half half;
	uint64_t seed;
	enum output output;
};

static int wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int wrong(const char *fmt, ...)
{
	va_list ap;

	fputs("soma simulate: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return CLI_USAGE;
}

static int read_loads(struct order *o, const char *list)
{
	cleanup_free char *copy = mem_strdup(list);
	char *save = NULL;

	for (char *w = strtok_r(copy, ",", &save); w;
	     w = strtok_r(NULL, ",", &save)) {
		int64_t ms;

		if (!str_duration_ms(w, &ms))
			return wrong("--load '%s': times like 5ms, 2s or 1m, "
				     "with commas between them",
				     w);
		if (o->n_loads == CLASSES_MAX)
			return wrong("--load takes %d times at most",
				     CLASSES_MAX);
		o->loads[o->n_loads++] = (uint64_t)ms * 1000000;
	}
	return o->n_loads ? CLI_OK : wrong("--load needs a time");
}

static int read_order(struct order *o, const struct args *a)
{
	const char *load = args_value(a, "load"), *wait = args_value(a, "wait"),
		   *slots = args_value(a, "slots"),
		   *seed = args_value(a, "seed"), *half = args_value(a, "half"),
		   *policy = args_value(a, "policy"),
		   *max = args_value(a, "max"), *worth = args_value(a, "worth"),
		   *keep = args_value(a, "keep");
	int64_t ms;
	uint64_t n;

	*o = (struct order){.base = {.patience = 100000000,
				     .slots = 1,
				     .max = MAX_REPLICAS},
			    .seed = 1,
			    .ours = {.knob = -1},
			    .curve = args_has(a, "curve")};
	if (args_value(a, "config") &&
	    (wait || slots || max || worth || keep || half))
		return wrong("--wait, --slots, --max, --worth and --keep are "
			     "what --config says, and --half is of all apis");
	if (output_read(a, &o->output) ||
	    read_loads(o, load ? load : "5ms,2s,60s"))
		return CLI_USAGE;
	if (wait) {
		if (!str_duration_ms(wait, &ms) || !ms)
			return wrong("--wait '%s': a time like 100ms", wait);
		o->base.patience = (uint64_t)ms * 1000000;
	}
	if (slots) {
		if (!str_u64(str_of(slots), &n) || !n || n > 10000)
			return wrong("--slots '%s': 1 to 10000", slots);
		o->base.slots = (uint32_t)n;
	}
	if (max) {
		if (!str_u64(str_of(max), &n) || !n || n > MAX_REPLICAS)
			return wrong("--max '%s': 1 to %d", max, MAX_REPLICAS);
		o->base.max = (uint32_t)n;
	}
	if (worth) {
		char *end;

		o->ours.knob = strtod(worth, &end);
		if (*end || !*worth || !(o->ours.knob >= 0) ||
		    o->ours.knob > 1e9)
			return wrong("--worth '%s': 0 to 1e9", worth);
	}
	if (keep) {
		if (!str_duration_ms(keep, &ms) || !ms)
			return wrong("--keep '%s': a time like 10m", keep);
		o->ours.keep = (double)ms / 1000;
	}
	if (seed && !str_u64(str_of(seed), &o->seed))
		return wrong("--seed '%s': a number", seed);
	if (half) {
		if (!strcmp(half, "tune"))
			o->half = SIM_TUNE;
		else if (!strcmp(half, "report"))
			o->half = SIM_REPORT;
		else if (strcmp(half, "all") != 0)
			return wrong("--half '%s': tune, report or all", half);
	}
	for (size_t i = 0; policy && i < ARRAY_LEN(policies); i++)
		if (!strcmp(policies[i]->name, policy))
			o->only = policies[i];
	if (policy && !o->only)
		return wrong("--policy '%s': soma, kpa, keep-alive, hybrid or "
			     "cortex",
			     policy);
	return CLI_OK;
}

/* --- results ---------------------------------------------------------------
 */

static yyjson_mut_val *row(yyjson_mut_doc *doc, const struct sim_policy *p,
			   struct sim_setting set, const struct sim_result *r,
			   const struct sim_result *oracle)
{
	yyjson_mut_val *o = yyjson_mut_obj(doc);

	yyjson_mut_obj_add_str(doc, o, "policy", p ? p->name : "oracle");
	if (p) {
		yyjson_mut_obj_add_real(doc, o, "setting", set.knob);
		yyjson_mut_obj_add_str(doc, o, "setting_is", p->knob);
		if (set.keep > 0)
			yyjson_mut_obj_add_real(doc, o, "keep_idle_seconds",
						set.keep);
	}
	yyjson_mut_obj_add_uint(doc, o, "requests", r->requests);
	yyjson_mut_obj_add_uint(doc, o, "misses", r->misses);
	yyjson_mut_obj_add_real(
		doc, o, "miss_share",
		r->requests ? (double)r->misses / (double)r->requests : 0);
	yyjson_mut_obj_add_uint(doc, o, "starts", r->starts);
	yyjson_mut_obj_add_real(doc, o, "replica_seconds", r->replica_s);
	yyjson_mut_obj_add_real(doc, o, "busy_seconds", r->busy_s);
	yyjson_mut_obj_add_real(doc, o, "idle_memory_mb_seconds", r->idle_mb_s);
	yyjson_mut_obj_add_real(
		doc, o, "by_oracle",
		oracle->replica_s > 0 ? r->replica_s / oracle->replica_s : 0);
	return o;
}

static void print_head(void)
{
	printf("%-12s %12s %10s %9s %10s %14s %8s %12s\n", "POLICY", "SETTING",
	       "MISSES", "SHARE", "STARTS", "REPLICA-HOURS", "/ ORACLE",
	       "IDLE GB-H");
}

static void print_row(const struct sim_policy *p, struct sim_setting set,
		      const struct sim_result *r,
		      const struct sim_result *oracle)
{
	char setting[32] = "";

	if (p && set.keep > 0)
		snprintf(setting, sizeof setting, "%g, %g s", set.knob,
			 set.keep);
	else if (p)
		snprintf(setting, sizeof setting, "%g", set.knob);
	printf("%-12s %12s %10llu %8.3f%% %10llu %14.1f %8.3f %12.1f\n",
	       p ? p->name : "oracle", setting, (unsigned long long)r->misses,
	       r->requests ? 100.0 * (double)r->misses / (double)r->requests
			   : 0.0,
	       (unsigned long long)r->starts, r->replica_s / 3600,
	       oracle->replica_s > 0 ? r->replica_s / oracle->replica_s : 0.0,
	       r->idle_mb_s / 1024 / 3600);
}

struct report {
	const struct order *order;
	const struct sim_loads *loads;
	yyjson_mut_doc *doc;
	yyjson_mut_val *rows; /* of the class at hand */
};

static void tell(struct report *rep, const struct sim_policy *p,
		 struct sim_setting set, const struct sim_result *r,
		 const struct sim_result *oracle)
{
	if (rep->order->output == OUTPUT_TABLE)
		print_row(p, set, r, oracle);
	else
		yyjson_mut_arr_append(rep->rows,
				      row(rep->doc, p, set, r, oracle));
}

static void run_setting(struct report *rep, const struct sim_case *c,
			const struct sim_policy *p, struct sim_setting set,
			const struct sim_result *oracle)
{
	struct sim_result r = sim_all(rep->loads, rep->order->half, c, p, set);

	tell(rep, p, set, &r, oracle);
}

static void run_policy(struct report *rep, const struct sim_case *c,
		       const struct sim_policy *p,
		       const struct sim_result *oracle)
{
	const struct order *o = rep->order;

	struct sim_setting set = {.knob = p->usual};

	if (p == &sim_soma && o->ours.knob >= 0)
		set.knob = o->ours.knob;
	if (p == &sim_soma)
		set.keep = o->ours.keep;
	if (!o->curve)
		run_setting(rep, c, p, set, oracle);
	for (const struct sim_setting *k = p->settings; o->curve && k->knob > 0;
	     k++)
		run_setting(rep, c, p, *k, oracle);
}

static void run_class(struct report *rep, yyjson_mut_val *classes,
		      uint64_t load)
{
	const struct order *o = rep->order;
	struct sim_case c = o->base;
	struct sim_result oracle;
	yyjson_mut_val *class = NULL;
	char word[32];

	c.load = load;
	oracle =
		sim_all(rep->loads, o->half, &c, NULL, (struct sim_setting){0});
	if (o->output == OUTPUT_TABLE) {
		printf("%sa replica takes %s to be ready; a request may wait ",
		       load == o->loads[0] ? "" : "\n",
		       str_human_ms((int64_t)(load / 1000000), word));
		printf("%s\n",
		       str_human_ms((int64_t)(c.patience / 1000000), word));
		print_head();
	} else {
		class = yyjson_mut_obj(rep->doc);
		if (o->api)
			yyjson_mut_obj_add_str(rep->doc, class, "api", o->api);
		yyjson_mut_obj_add_real(rep->doc, class, "load_seconds",
					(double)load / 1e9);
		yyjson_mut_obj_add_real(rep->doc, class, "wait_seconds",
					(double)c.patience / 1e9);
		rep->rows = yyjson_mut_arr(rep->doc);
		yyjson_mut_obj_add_val(rep->doc, class, "policies", rep->rows);
		yyjson_mut_arr_append(classes, class);
	}
	tell(rep, NULL, (struct sim_setting){0}, &oracle, &oracle);
	for (size_t i = 0; i < ARRAY_LEN(policies); i++)
		if (!o->only || o->only == policies[i])
			run_policy(rep, &c, policies[i], &oracle);
}

static const struct sim_load *load_of(const struct sim_loads *loads,
				      const char *api)
{
	for (size_t i = 0; i < loads->n; i++)
		if (!strcmp(loads->all[i].name, api))
			return &loads->all[i];
	return NULL;
}

/* One api of the config file, its requests alone. */
static void run_api(const struct report *all, yyjson_mut_val *classes,
		    const struct spec *spec)
{
	const struct sim_load *load = load_of(all->loads, spec->name);
	struct order o = *all->order;
	struct sim_loads one = {.all = (struct sim_load *)(uintptr_t)load,
				.n = 1};
	struct report rep = {.order = &o, .loads = &one, .doc = all->doc};
	char word[32];

	if (!load) {
		fprintf(stderr, "soma simulate: no request of '%s' is there\n",
			spec->name);
		return;
	}
	o.api = spec->name;
	o.half = SIM_ALL;
	simulate_config_apply(spec, &o.base, &o.ours);
	if (o.output == OUTPUT_TABLE)
		printf("\n%s: %zu requests; %u to %u replicas of %u slots, "
		       "wait_worth %g%s%s\n",
		       o.api, load->n, o.base.min, o.base.max, o.base.slots,
		       o.ours.knob, o.ours.keep > 0 ? ", keep_idle " : "",
		       o.ours.keep > 0
			       ? str_human_ms((int64_t)(o.ours.keep * 1000),
					      word)
			       : "");
	for (size_t i = 0; i < o.n_loads; i++)
		run_class(&rep, classes, o.loads[i]);
}

static void run_trace(const struct order *o, const struct spec_set *config,
		      const char *path, const struct sim_loads *loads)
{
	struct report rep = {.order = o, .loads = loads};
	yyjson_mut_val *root, *classes;
	yyjson_doc *made;
	size_t n = sim_count(loads, o->half);

	rep.doc = yyjson_mut_doc_new(NULL);
	root = yyjson_mut_obj(rep.doc);
	classes = yyjson_mut_arr(rep.doc);
	yyjson_mut_doc_set_root(rep.doc, root);
	yyjson_mut_obj_add_str(rep.doc, root, "trace", path);
	yyjson_mut_obj_add_uint(rep.doc, root, "apis", n);
	yyjson_mut_obj_add_val(rep.doc, root, "classes", classes);
	if (o->output == OUTPUT_TABLE)
		printf("%s: %zu api%s\n", path, n, n == 1 ? "" : "s");
	for (size_t i = 0; !config && i < o->n_loads; i++)
		run_class(&rep, classes, o->loads[i]);
	for (uint32_t i = 0; config && i < config->n_specs; i++)
		run_api(&rep, classes, &config->specs[i]);
	if (o->output != OUTPUT_TABLE) {
		made = yyjson_mut_doc_imut_copy(rep.doc, NULL);
		output_print_item(o->output, yyjson_doc_get_root(made));
		yyjson_doc_free(made);
	}
	yyjson_mut_doc_free(rep.doc);
}

int cmd_simulate(const struct args *a)
{
	const char *config = args_value(a, "config");
	struct spec_set set = {.specs = NULL};
	struct sim_loads loads;
	struct err err = {0};
	struct order o;
	int rc;

	rc = read_order(&o, a);
	if (!rc && config)
		rc = simulate_config_read(&set, config);
	for (size_t i = 0; !rc && i < a->n_words; i++) {
		if (sim_read(&loads, a->words[i], o.seed, &err)) {
			fprintf(stderr, "soma simulate: %s\n", err.msg);
			rc = CLI_FAILED;
			break;
		}
		run_trace(&o, config ? &set : NULL, a->words[i], &loads);
		sim_loads_fini(&loads);
	}
	spec_set_fini(&set);
	return rc;
}
