/* metrics_slots.c: /metrics of what happens inside replicas, as they tell. */
#include "api/metrics_parts.h"
#include "core/mem.h"
#include "serve/seen.h"

static void seconds(struct buf *b, const char *name, const char *api,
		    uint64_t ns)
{
	buf_addf(b, "%s{api=\"%s\"} %.6f\n", name, api, (double)ns / 1e9);
}

static void number(struct buf *b, const char *name, const char *api, uint64_t v)
{
	buf_addf(b, "%s{api=\"%s\"} %llu\n", name, api, (unsigned long long)v);
}

static void stages(struct buf *b, const struct serve *s)
{
	static const char name[] = "soma_stage_requests";
	const struct api *a;

	metrics__head(b, name, "gauge", "Requests in each stage now");
	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));) {
		const struct seen seen = seen_of(a);

		for (unsigned k = 0; k < SEEN_STAGES; k++)
			if (seen_has_stage(a, k))
				buf_addf(b, "%s{api=\"%s\",stage=\"%s\"} %u\n",
					 name, a->name, seen_words[k],
					 seen.stages[k]);
	}
}

static void slots(struct buf *b, const struct serve *s)
{
	static const char busy[] = "soma_slot_busy_seconds_total";
	struct api *a;

	metrics__head(b, "soma_slots", "gauge",
		      "Predicts that replicas that take requests can run at "
		      "the same time");
	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));)
		if (seen_has_slots(a))
			number(b, "soma_slots", a->name, seen_of(a).slots);
	metrics__head(b, busy, "counter",
		      "Time in which slots ran predict, those that still do "
		      "included");
	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));)
		if (seen_has_slots(a))
			seconds(b, busy, a->name, seen_busy_ns(a));
}

/* Calls that have ended. */
static void calls(struct buf *b, const struct serve *s)
{
	static const char predict[] = "soma_predict_duration_seconds";
	static const char pre[] = "soma_pre_predict_duration_seconds";
	const struct api *a;

	metrics__head(b, predict, "summary",
		      "Calls of predict, each of a batch where there are "
		      "batches");
	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));)
		if (seen_has_slots(a)) {
			seconds(b, "soma_predict_duration_seconds_sum", a->name,
				a->done.calls_ns);
			number(b, "soma_predict_duration_seconds_count",
			       a->name, a->done.calls);
		}
	metrics__head(b, pre, "summary", "Calls of pre_predict");
	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));)
		if (a->done.pre_calls) {
			seconds(b, "soma_pre_predict_duration_seconds_sum",
				a->name, a->done.pre_calls_ns);
			number(b, "soma_pre_predict_duration_seconds_count",
			       a->name, a->done.pre_calls);
		}
	metrics__head(b, "soma_post_predict_errors_total", "counter",
		      "Calls of post_predict that failed");
	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));)
		if (seen_has_slots(a))
			number(b, "soma_post_predict_errors_total", a->name,
			       a->done.post_errors);
}

static void batches(struct buf *b, const struct serve *s)
{
	static const char name[] = "soma_batch_size";
	const struct api *a;

	metrics__head(b, name, "histogram",
		      "Requests that one call of predict was for");
	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));) {
		uint64_t seen = 0;

		if (!seen_has_batches(a))
			continue;
		for (unsigned k = 0; k < TALLY_SIZES - 1; k++) {
			seen += a->done.sizes[k];
			buf_addf(b, "%s_bucket{api=\"%s\",le=\"%u\"} %llu\n",
				 name, a->name, tally_size(k),
				 (unsigned long long)seen);
		}
		buf_addf(b, "%s_bucket{api=\"%s\",le=\"+Inf\"} %llu\n", name,
			 a->name, (unsigned long long)a->done.calls);
		number(b, "soma_batch_size_sum", a->name, a->done.requests);
		number(b, "soma_batch_size_count", a->name, a->done.calls);
	}
}

/* More closely than stage="replica" of soma_cancelled_requests_total. */
static void gone(struct buf *b, const struct serve *s)
{
	static const char name[] = "soma_replica_cancelled_requests_total";
	const struct api *a;

	metrics__head(b, name, "counter",
		      "Requests whose client went away, by where in a replica "
		      "they were then");
	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));) {
		const struct {
			const char *stage;
			uint64_t n;
		} all[] = {{"pre", a->done.gone_pre},
			   {"ready", a->done.gone_ready},
			   {"predict", a->done.gone_predict}};

		if (!seen_has_slots(a))
			continue;
		for (size_t k = 0; k < ARRAY_LEN(all); k++)
			buf_addf(b, "%s{api=\"%s\",stage=\"%s\"} %llu\n", name,
				 a->name, all[k].stage,
				 (unsigned long long)all[k].n);
	}
}

void metrics__slots(struct buf *b, const struct serve *s)
{
	stages(b, s);
	slots(b, s);
	calls(b, s);
	batches(b, s);
	gone(b, s);
}
