/* metrics_models.c: the store of models. */
#include "api/metrics_parts.h"

void metrics__models(struct buf *b, const struct serve *s)
{
	static const char bytes[] = "soma_model_bytes";
	static const char fetches[] = "soma_model_fetches_total";
	const struct model_counts *c = &s->models.counts;

	metrics__head(b, bytes, "gauge",
		      "What fetched models take on the disk, as it was looked "
		      "at last");
	buf_addf(b, "%s %llu\n", bytes, (unsigned long long)s->models.bytes);

	metrics__head(b, fetches, "counter",
		      "Fetches of models that are over: ready, same (nothing "
		      "was new), failed");
	buf_addf(b, "%s{result=\"ready\"} %llu\n", fetches,
		 (unsigned long long)c->ready);
	buf_addf(b, "%s{result=\"same\"} %llu\n", fetches,
		 (unsigned long long)c->same);
	buf_addf(b, "%s{result=\"failed\"} %llu\n", fetches,
		 (unsigned long long)c->failed);
}
