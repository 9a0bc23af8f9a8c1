/* metrics.c: Prometheus text, from one table of what is counted per api. */
#include "api/metrics_parts.h"
#include "core/mem.h"

enum { METRICS_MAX = 16 << 20 };

struct metric {
	const char *name, *type, *text;
	uint64_t (*of)(const struct api *a);
};

static uint64_t in_flight(const struct api *a)
{
	return a->gate.in_flight;
}

static uint64_t queued(const struct api *a)
{
	return a->gate.queued;
}

static uint64_t restarts(const struct api *a)
{
	return a->restarts;
}

static uint64_t requested(const struct api *a)
{
	return a->want ? revision_requested(a->want) : 0;
}

static uint64_t ready(const struct api *a)
{
	return a->want ? revision_ready(a->want) : 0;
}

static uint64_t loading(const struct api *a)
{
	return a->want ? revision_places(a->want) - revision_ready(a->want) : 0;
}

static uint64_t replica_bytes(const struct api *a)
{
	return a->want ? a->want->measure.bytes : 0;
}

static uint64_t swaps(const struct api *a)
{
	return a->swaps;
}

static uint64_t ran_out(const struct api *a)
{
	return a->ran_out;
}

static uint64_t cold(const struct api *a)
{
	return a->scale.cold_requests;
}

static uint64_t late(const struct api *a)
{
	return a->gate.counts.late;
}

static uint64_t overloads(const struct api *a)
{
	return a->gate.counts.overloads;
}

static const struct metric table[] = {
	{"soma_in_flight_requests", "gauge",
	 "Requests admitted and not yet answered in full", in_flight},
	{"soma_queued_requests", "gauge", "Requests waiting for a replica",
	 queued},
	{"soma_deadline_drops_total", "counter",
	 "Requests whose time was over before a replica had room: dropped "
	 "unserved",
	 late},
	{"soma_overload_refusals_total", "counter",
	 "Requests refused at once because too many were there", overloads},
	{"soma_replica_restarts_total", "counter",
	 "Replicas that ended unasked and were replaced", restarts},
	{"soma_replicas_requested", "gauge", "Replicas asked for", requested},
	{"soma_replicas_ready", "gauge", "Replicas that take requests", ready},
	{"soma_replicas_loading", "gauge",
	 "Replicas that are being started, or will be again", loading},
	{"soma_replica_memory_bytes", "gauge",
	 "Memory of one replica (PSS), as measured last; 0: not yet",
	 replica_bytes},
	{"soma_swaps_total", "counter",
	 "Replicas that left so that other apis have their memory", swaps},
	{"soma_replica_out_of_memory_total", "counter",
	 "Replicas that ended since they had no more memory", ran_out},
	{"soma_cold_requests_total", "counter",
	 "Requests that had to wait since no replica was ready", cold},
};

void metrics__head(struct buf *b, const char *name, const char *type,
		   const char *text)
{
	buf_addf(b, "# HELP %s %s\n# TYPE %s %s\n", name, text, name, type);
}

static void per_api(struct buf *b, const struct serve *s)
{
	const struct api *a;

	for (size_t m = 0; m < ARRAY_LEN(table); m++) {
		metrics__head(b, table[m].name, table[m].type, table[m].text);
		for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));)
			buf_addf(b, "%s{api=\"%s\"} %llu\n", table[m].name,
				 a->name, (unsigned long long)table[m].of(a));
	}
}

static void requests(struct buf *b, const struct serve *s)
{
	static const char *const codes[] = {"client_gone", "1xx", "2xx",
					    "3xx",	   "4xx", "5xx"};
	const struct api *a;

	metrics__head(
		b, "soma_requests_total", "counter",
		"Requests that are over, by the class of their status; 5xx "
		"also if an answer broke off, client_gone if the client did");
	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));)
		for (size_t c = 0; c < ARRAY_LEN(codes); c++)
			if (a->stats.codes[c])
				buf_addf(b,
					 "soma_requests_total{api=\"%s\","
					 "code=\"%s\"} %llu\n",
					 a->name, codes[c],
					 (unsigned long long)a->stats.codes[c]);
}

static void latencies(struct buf *b, const struct serve *s)
{
	static const char name[] = "soma_request_duration_seconds";
	const struct api *a;

	metrics__head(
		b, name, "histogram",
		"From the whole head of a request to the end of its answer");
	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));) {
		uint64_t seen = 0;

		for (unsigned k = 0; k < STATS_BUCKETS; k++) {
			seen += a->stats.buckets[k];
			if (k % STATS_PER_OCTAVE)
				continue;
			buf_addf(b, "%s_bucket{api=\"%s\",le=\"%.6g\"} %llu\n",
				 name, a->name, stats_bound_s(k),
				 (unsigned long long)seen);
		}
		buf_addf(b, "%s_bucket{api=\"%s\",le=\"+Inf\"} %llu\n", name,
			 a->name, (unsigned long long)a->stats.count);
		buf_addf(b, "%s_sum{api=\"%s\"} %.6f\n", name, a->name,
			 (double)a->stats.sum_us / 1e6);
		buf_addf(b, "%s_count{api=\"%s\"} %llu\n", name, a->name,
			 (unsigned long long)a->stats.count);
	}
}

static void oldest(struct buf *b, const struct serve *s)
{
	static const char name[] = "soma_queue_oldest_seconds";
	uint64_t now = uv_hrtime();
	const struct api *a;

	metrics__head(b, name, "gauge",
		      "How long the oldest of the requests waiting for a "
		      "replica has");
	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));)
		buf_addf(b, "%s{api=\"%s\"} %.6f\n", name, a->name,
			 (double)gate_oldest_ns(&a->gate, now) / 1e9);
}

/* Apart from errors: nobody was there to be told. */
static void cancelled(struct buf *b, const struct serve *s)
{
	static const char name[] = "soma_cancelled_requests_total";
	static const char *const stages[] = {[STAGE_QUEUE] = "queue",
					     [STAGE_REPLICA] = "replica",
					     [STAGE_ANSWER] = "answer"};
	const struct api *a;

	metrics__head(
		b, name, "counter",
		"Requests whose client went away, by where they were then");
	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));)
		for (size_t k = 0; k < GATE_STAGES; k++)
			buf_addf(b, "%s{api=\"%s\",stage=\"%s\"} %llu\n", name,
				 a->name, stages[k],
				 (unsigned long long)
					 a->gate.counts.cancelled[k]);
}

static void daemon_wide(struct buf *b, const struct admin *admin)
{
	const struct lane *lane = admin->serve->lane;

	metrics__head(b, "soma_connections", "gauge",
		      "Client connections open now");
	buf_addf(b, "soma_connections %llu\n",
		 (unsigned long long)lane->n_conns);
	metrics__head(b, "soma_connections_accepted_total", "counter",
		      "Client connections accepted");
	buf_addf(b, "soma_connections_accepted_total %llu\n",
		 (unsigned long long)lane->n_accepted);
	metrics__head(b, "soma_bad_requests_total", "counter",
		      "Requests refused for their framing");
	buf_addf(b, "soma_bad_requests_total %llu\n",
		 (unsigned long long)lane->n_bad_requests);
	metrics__head(b, "soma_loop_lag_seconds", "gauge",
		      "How late a timer of the event loop was, last time");
	buf_addf(b, "soma_loop_lag_seconds %.6f\n",
		 (double)admin->loop_lag_us / 1e6);
}

void admin_metrics(struct http_req *req, const char *arg)
{
	struct admin *admin = admin_of(req);
	struct buf b;

	(void)arg;
	buf_init(&b, METRICS_MAX);
	requests(&b, admin->serve);
	latencies(&b, admin->serve);
	per_api(&b, admin->serve);
	oldest(&b, admin->serve);
	cancelled(&b, admin->serve);
	metrics__slots(&b, admin->serve);
	metrics__scale(&b, admin->serve);
	metrics__split(&b, admin->serve);
	metrics__models(&b, admin->serve);
	daemon_wide(&b, admin);
	http_reply(req, 200, "text/plain; version=0.0.4; charset=utf-8", b.data,
		   b.len);
	buf_fini(&b);
}
