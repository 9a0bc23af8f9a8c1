/* metrics_split.c: where splitters send requests, and what became of copies. */
#include <stddef.h>

#include "api/metrics_parts.h"

static const struct {
	const char *name, *text;
	size_t at;
	bool shadow;
} rows[] = {
#define AT(field) offsetof(struct splitter_counts, field)
	{"soma_split_requests_total", "Requests that a splitter sent to an api",
	 AT(requests), false},
	{"soma_split_errors_total", "Of these, answered by 5xx, or broken off",
	 AT(errors), false},
	{"soma_split_missing_total",
	 "Requests whose api was not there for its splitter", AT(missing),
	 false},
	{"soma_shadow_copies_total", "Copies sent to a shadow", AT(copies),
	 true},
	{"soma_shadow_dropped_total",
	 "Copies not sent to a shadow: too many at once, or too large",
	 AT(dropped), true},
	{"soma_shadow_failed_total",
	 "Copies that the shadow did not answer, or by an error of its own",
	 AT(failed), true},
	{"soma_shadow_compared_total", "Answers of a shadow that were compared",
	 AT(compared), true},
	{"soma_shadow_not_compared_total",
	 "Answers of a shadow that were not: too long, encoded, or the api's "
	 "did not reach its client",
	 AT(not_compared), true},
	{"soma_shadow_differ_total",
	 "Answers of a shadow that were others than those of the api",
	 AT(differ), true},
};

static void put_row(struct buf *b, const struct serve *s, size_t row)
{
	const struct api *a;

	metrics__head(b, rows[row].name, "counter", rows[row].text);
	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));)
		for (size_t k = 0; a->splitter && k < a->splitter->n; k++) {
			const struct splitter_target *t =
				&a->splitter->targets[k];
			const char *field = (const char *)&t->n + rows[row].at;

			if (rows[row].shadow && !t->shadow)
				continue;
			buf_addf(b, "%s{api=\"%s\",target=\"%s\"} %llu\n",
				 rows[row].name, a->name, t->name,
				 (unsigned long long)*(
					 const uint64_t *)(const void *)field);
		}
}

static void put_weights(struct buf *b, const struct serve *s)
{
	static const char weight[] = "soma_split_weight";
	const struct api *a;

	metrics__head(b, weight, "gauge",
		      "Percent of the requests that an api of a splitter gets, "
		      "or copies of");
	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));)
		for (size_t k = 0; a->splitter && k < a->splitter->n; k++)
			buf_addf(b, "%s{api=\"%s\",target=\"%s\"} %u\n", weight,
				 a->name, a->splitter->targets[k].name,
				 a->splitter->targets[k].weight);
}

static void put_canaries(struct buf *b, const struct serve *s)
{
	static const char state[] = "soma_canary_state";
	static const char step[] = "soma_canary_step";
	const struct api *a;

	metrics__head(b, state, "gauge",
		      "What a splitter's canary does: 0 has steps to come, 1 "
		      "is at its end, 2 went back");
	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));)
		if (a->splitter && a->splitter->ramp)
			buf_addf(b, "%s{api=\"%s\",target=\"%s\"} %d\n", state,
				 a->name, a->splitter->ramp->target->name,
				 (int)a->splitter->ramp->state);
	metrics__head(b, step, "gauge",
		      "Step of its steps that a splitter's canary is at, or "
		      "was at last, from 1");
	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));)
		if (a->splitter && a->splitter->ramp)
			buf_addf(b, "%s{api=\"%s\",target=\"%s\"} %u\n", step,
				 a->name, a->splitter->ramp->target->name,
				 a->splitter->ramp->now.step + 1);
}

void metrics__split(struct buf *b, const struct serve *s)
{
	static const char largest[] = "soma_shadow_largest_difference";
	const struct api *a;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		put_row(b, s, i);
	put_weights(b, s);
	put_canaries(b, s);
	metrics__head(b, largest, "gauge",
		      "Largest relative difference of two numbers between a "
		      "shadow's answers and the api's");
	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));)
		if (a->splitter && a->splitter->shadow)
			buf_addf(b, "%s{api=\"%s\",target=\"%s\"} %.9g\n",
				 largest, a->name, a->splitter->shadow->name,
				 a->splitter->shadow->n.largest);
}
