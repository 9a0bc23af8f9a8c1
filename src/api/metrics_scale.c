/* metrics_scale.c: replicas that start, and what their starts took. */
#include "api/metrics_parts.h"

void metrics__scale(struct buf *b, const struct serve *s)
{
	static const char name[] = "soma_cold_start_seconds";
	static const char seconds[] = "soma_replica_seconds_total";
	static const char starts[] = "soma_replica_starts_total";
	static const char frozen[] = "soma_frozen_replicas";
	const struct api *a;

	metrics__head(b, seconds, "counter",
		      "Time that replicas have been there, in all, from being "
		      "asked for until they were gone or frozen");
	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));)
		buf_addf(b, "%s{api=\"%s\"} %.6f\n", seconds, a->name,
			 (double)scale_replica_ns(a) / 1e9);

	metrics__head(b, starts, "counter",
		      "Starts of replicas, those included that never were "
		      "ready");
	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));)
		buf_addf(b, "%s{api=\"%s\"} %llu\n", starts, a->name,
			 (unsigned long long)a->scale.starts);

	metrics__head(b, frozen, "gauge",
		      "Replicas that are stopped until they are needed");
	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));)
		buf_addf(b, "%s{api=\"%s\"} %u\n", frozen, a->name,
			 a->want ? a->want->frozen.n : 0);

	metrics__head(b, name, "summary",
		      "Starts of replicas until they were ready, by what they "
		      "were started from");
	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));)
		for (unsigned t = 0; t < COLD_TIERS; t++) {
			const struct scale_load *l = &a->scale.loads[t];

			if (!l->starts)
				continue;
			buf_addf(b, "%s_sum{api=\"%s\",tier=\"%s\"} %.6f\n",
				 name, a->name, cold_tier_word(t),
				 (double)l->total_ns / 1e9);
			buf_addf(b, "%s_count{api=\"%s\",tier=\"%s\"} %llu\n",
				 name, a->name, cold_tier_word(t),
				 (unsigned long long)l->starts);
		}
}
