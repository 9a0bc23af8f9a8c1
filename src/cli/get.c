#include <math.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/admin.h"
#include "cli/batching.h"
#include "cli/output.h"
#include "cli/split.h"
#include "cli/stages.h"
#include "cli/term.h"
#include "core/mem.h"
#include "spec/source.h"

enum { WATCH_MS = 2000 };

static void number_cell(struct table *t, int64_t n)
{
	if (n > 0)
		table_cell(t, "%lld", (long long)n);
	else
		table_cell(t, "-");
}

static void share_cell(struct table *t, double share)
{
	if (share >= 0.005)
		table_cell(t, "%.0f%%", round(share * 100));
	else
		table_cell(t, "-");
}

/* What the tables of one and of all have in common. */
static void status_cells(struct table *t, yyjson_val *api)
{
	yyjson_val *requests = yyjson_obj_get(api, "requests");
	yyjson_val *latency = yyjson_obj_get(api, "latency_ms");
	int64_t ok = json_int(requests, "2xx", 0);
	int64_t bad = json_int(requests, "4xx", 0);
	int64_t broken = json_int(requests, "5xx", 0);
	int64_t at = term_parse_time(json_str(api, "updated", NULL));
	bool any = ok + bad + broken > 0;
	char text[32];

	table_cell(t, "%s", json_str(api, "status", "?"));
	table_cell(t, "%lld/%lld", (long long)json_int(api, "ready", 0),
		   (long long)json_int(api, "requested", 0));
	number_cell(t, json_int(api, "in_flight", 0));
	table_cell(t, "%s",
		   term_age(at < 0 ? -1 : MAX(0, term_wall_ms() - at), text));
	table_cell(t, "%s",
		   term_latency(any ? json_num(latency, "avg", -1) : -1, text));
	number_cell(t, ok);
	number_cell(t, bad);
	number_cell(t, broken);
}

static void print_all(yyjson_val *apis)
{
	static const char *const header[] = {
		"realtime api", "status",      "replicas",
		"in flight",	"last update", "avg latency",
		"2XX",		"4XX",	       "5XX"};
	struct table t;
	size_t i, n;
	yyjson_val *api;

	if (yyjson_arr_size(apis) == 0) {
		puts("no apis are deployed; 'soma deploy' in a folder with a "
		     "soma.yaml deploys one");
		return;
	}
	table_init(&t, ARRAY_LEN(header), header);
	t.optional = 1u << 3 | 1u << 7 | 1u << 8; /* in flight, 4XX, 5XX */
	yyjson_arr_foreach(apis, i, n, api)
	{
		table_cell(&t, "%s", json_str(api, "name", "?"));
		status_cells(&t, api);
	}
	table_print(&t);
	table_fini(&t);
	yyjson_arr_foreach(apis, i, n, api)
	{
		const char *message = json_str(api, "message", NULL);

		if (message &&
		    strcmp(json_str(api, "status", ""), "error") == 0)
			printf("\n%s: %s\n", json_str(api, "name", "?"),
			       message);
	}
}

static void print_replicas(yyjson_val *replicas)
{
	static const char *const header[] = {"replica",	  "state", "pid",
					     "in flight", "busy",  "restarts",
					     "uptime",	  "from",  "note"};
	struct table t;
	size_t i, n;
	yyjson_val *r;
	char up[32];

	if (yyjson_arr_size(replicas) == 0)
		return;
	table_init(&t, ARRAY_LEN(header), header);
	/* in flight, busy, restarts, from, note */
	t.optional = 1u << 3 | 1u << 4 | 1u << 5 | 1u << 7 | 1u << 8;
	yyjson_arr_foreach(replicas, i, n, r)
	{
		const char *detail = json_str(r, "detail", NULL);
		const char *exit = json_str(r, "last_exit", NULL);
		const char *tier = json_str(r, "tier", "process");

		table_cell(&t, "%s", json_str(r, "id", "?"));
		table_cell(&t, "%s", json_str(r, "state", "?"));
		number_cell(&t, json_int(r, "pid", 0));
		number_cell(&t, json_int(r, "in_flight", 0));
		share_cell(&t, json_num(r, "busy", -1));
		number_cell(&t, json_int(r, "restarts", 0));
		table_cell(&t, "%s",
			   term_age(json_int(r, "uptime_ms", -1), up));
		/* Its own program: nothing to be said. */
		table_cell(&t, "%s", strcmp(tier, "process") ? tier : "");
		table_cell(&t, "%s%s%s%s", detail ? detail : "",
			   detail && exit ? "; " : "",
			   exit ? "last exit: " : "", exit ? exit : "");
	}
	putchar('\n');
	table_print(&t);
	table_fini(&t);
}

static void print_environment(yyjson_val *env)
{
	const char *state = json_str(env, "state", "none");
	const char *message = json_str(env, "message", NULL);

	if (strcmp(state, "building") == 0 || strcmp(state, "failed") == 0)
		printf("\nenvironment: %s%s%s\n", state, message ? ": " : "",
		       message ? message : "");
}

/* Those that are there need no words. */
static void print_models(yyjson_val *models)
{
	yyjson_val *m;
	size_t i, n;
	char done[32], total[32];

	yyjson_arr_foreach(models, i, n, m)
	{
		const char *state = json_str(m, "state", "ready");
		const char *message = json_str(m, "message", NULL);
		int64_t all = json_int(m, "bytes_total", 0);
		cleanup_free char *source = NULL;

		if (strcmp(state, "ready") == 0 && !message)
			continue;
		source = source_shown(json_str(m, "source", "-"));
		printf("\nmodel: %s: %s", source, state);
		if (all > 0)
			printf(", %s of %s",
			       str_human_bytes(
				       (uint64_t)json_int(m, "bytes_done", 0),
				       done),
			       str_human_bytes((uint64_t)all, total));
		printf("%s%s\n", message ? ": " : "", message ? message : "");
	}
}

static void print_cold(yyjson_val *cold)
{
	yyjson_val *start;
	size_t i, n;
	char text[32];

	yyjson_arr_foreach(yyjson_obj_get(cold, "starts"), i, n, start)
		printf("%s%s: %lld, %s on average",
		       i ? "; " : "starts: ", json_str(start, "tier", "?"),
		       (long long)json_int(start, "count", 0),
		       term_latency(json_num(start, "mean_ms", -1), text));
	if (n)
		putchar('\n');
}

static void print_frozen(yyjson_val *frozen)
{
	size_t n = yyjson_arr_size(frozen);
	char text[32];

	if (n)
		printf("\nfrozen: %zu replica%s, %s each\n", n,
		       n == 1 ? "" : "s",
		       str_human_bytes(
			       (uint64_t)json_int(yyjson_arr_get(frozen, 0),
						  "bytes", 0),
			       text));
}

static void print_rolled_back(yyjson_val *r)
{
	if (!yyjson_is_obj(r))
		return;
	printf("\nrevision %lld was rolled back: %s\n",
	       (long long)json_int(r, "revision", 0), json_str(r, "why", "?"));
}

static void print_rollout(yyjson_val *r)
{
	yyjson_val *from = yyjson_obj_get(r, "from");
	yyjson_val *to = yyjson_obj_get(r, "to");
	int64_t held = json_int(r, "held", 0);

	if (!yyjson_is_obj(r))
		return;
	printf("\nrollout: revision %lld to %lld: %lld of the old and %lld of "
	       "the new replicas are ready",
	       (long long)json_int(from, "revision", 0),
	       (long long)json_int(to, "revision", 0),
	       (long long)json_int(from, "ready", 0),
	       (long long)json_int(to, "ready", 0));
	if (held)
		printf("; %lld request%s for it", (long long)held,
		       held == 1 ? " waits" : "s wait");
	putchar('\n');
}

static void print_watch(yyjson_val *w)
{
	yyjson_val *before = yyjson_obj_get(w, "before");
	int64_t kept = json_int(before, "places", 0);
	char left[32];

	if (!yyjson_is_obj(w))
		return;
	printf("\nrevision %lld is watched for %s more: %lld of its %lld "
	       "requests failed, %lld of %lld of revision %lld (%lld replica%s "
	       "kept)\n",
	       (long long)json_int(w, "revision", 0),
	       str_human_ms(json_int(w, "left_ms", 0), left),
	       (long long)json_int(w, "failed", 0),
	       (long long)json_int(w, "requests", 0),
	       (long long)json_int(before, "failed", 0),
	       (long long)json_int(before, "requests", 0),
	       (long long)json_int(before, "revision", 0), (long long)kept,
	       kept == 1 ? "" : "s");
}

static void print_zygote(yyjson_val *zygote)
{
	const char *state = json_str(zygote, "state", "none");
	const char *level = json_str(zygote, "level", "none");
	const char *why = json_str(zygote, "why", NULL);

	if (!yyjson_is_obj(zygote))
		return;
	if (strcmp(level, "none") == 0)
		printf("\nzygote: none");
	else
		printf("\nzygote: %s, level %s", state, level);
	printf("%s%s\n", why ? "; no deeper: " : "", why ? why : "");
}

static void print_memory(yyjson_val *api, yyjson_val *memory)
{
	int64_t bytes = json_int(api, "replica_bytes", 0);
	int64_t needs = json_int(memory, "own_bytes", 0) +
			json_int(memory, "shared_bytes", 0);
	int64_t swaps = json_int(memory, "swaps", 0);
	int64_t ran_out = json_int(memory, "out_of_memory", 0);
	char text[32];

	if (bytes > 0)
		printf("memory: %s a replica\n",
		       str_human_bytes((uint64_t)bytes, text));
	if (needs > 0)
		printf("reserved: %s a replica (%s)\n",
		       str_human_bytes((uint64_t)needs, text),
		       json_str(memory, "from", "?"));
	if (swaps > 0)
		printf("given to others that waited: %lld time%s\n",
		       (long long)swaps, swaps == 1 ? "" : "s");
	if (ran_out > 0)
		printf("out of memory: %lld time%s\n", (long long)ran_out,
		       ran_out == 1 ? "" : "s");
	if (yyjson_get_bool(yyjson_obj_get(memory, "yielding")))
		puts("it is sent nothing new: others wait for its memory");
}

static void print_one(yyjson_val *api)
{
	static const char *const header[] = {
		"status",      "replicas", "in flight", "last update",
		"avg latency", "2XX",	   "4XX",	"5XX"};
	const char *message = json_str(api, "message", NULL);
	const char *sample = json_str(api, "sample", NULL);
	struct table t;

	table_init(&t, ARRAY_LEN(header), header);
	t.optional = 1u << 2 | 1u << 6 | 1u << 7; /* in flight, 4XX, 5XX */
	status_cells(&t, api);
	table_print(&t);
	table_fini(&t);
	if (message)
		printf("\n%s\n", message);
	print_rolled_back(yyjson_obj_get(api, "rolled_back"));
	print_rollout(yyjson_obj_get(api, "rollout"));
	print_watch(yyjson_obj_get(api, "watch"));
	print_environment(yyjson_obj_get(api, "environment"));
	print_models(yyjson_obj_get(api, "models"));
	print_replicas(yyjson_obj_get(api, "replicas"));
	print_frozen(yyjson_obj_get(api, "frozen"));
	print_zygote(yyjson_obj_get(api, "zygote"));
	split_print(yyjson_obj_get(api, "splitter"));
	stages_print(api);
	print_cold(yyjson_obj_get(api, "cold"));
	print_memory(api, yyjson_obj_get(api, "memory"));
	batching_print(yyjson_obj_get(api, "replicas"));
	printf("\nendpoint: %s\n", json_str(api, "url", "-"));
	if (sample)
		printf("%s\n", sample);
}

/* One a line, for scripts and completion. */
static void print_names(yyjson_val *root)
{
	yyjson_val *apis = yyjson_obj_get(root, "apis"), *api;
	size_t i, n;

	if (!apis)
		puts(json_str(root, "name", "?"));
	yyjson_arr_foreach(apis, i, n, api) puts(json_str(api, "name", "?"));
}

struct view {
	const char *api; /* NULL: all */
	enum output output;
	bool quiet, clear;
};

static int show(struct admin *ad, const struct view *v)
{
	const char *api = v->api;
	cleanup_free char *path =
		api ? admin_path("apis", api, "") : mem_strdup("/v1/apis");
	struct answer an;
	int rc = admin_call(ad, "GET", path, NULL, &an);

	if (rc != CLI_OK)
		return rc;
	if (v->clear) {
		char now[16];
		time_t t = time(NULL);
		struct tm tm;

		strftime(now, sizeof now, "%H:%M:%S", localtime_r(&t, &tm));
		printf("\033[H\033[2J$ soma get%s%s  %s\n\n", api ? " " : "",
		       api ? api : "", now);
	}
	if (v->output != OUTPUT_TABLE && an.json)
		output_print(v->output, answer_root(&an));
	else if (v->quiet)
		print_names(answer_root(&an));
	else if (api)
		print_one(answer_root(&an));
	else
		print_all(yyjson_obj_get(answer_root(&an), "apis"));
	answer_fini(&an);
	return fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
}

int cmd_get(const struct args *a)
{
	struct view v = {.api = args_word(a, 0), .quiet = args_has(a, "quiet")};
	struct admin ad;
	bool watch = args_has(a, "watch");
	int rc = output_read(a, &v.output);

	if (rc == CLI_OK)
		rc = admin_open(&ad, a);
	if (rc != CLI_OK)
		return rc;
	v.clear = watch && v.output == OUTPUT_TABLE && term_is_tty(1);
	for (;;) {
		rc = show(&ad, &v);
		if (rc != CLI_OK || !watch)
			break;
		usleep(WATCH_MS * 1000);
	}
	admin_close(&ad);
	return rc;
}
