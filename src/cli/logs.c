#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/output.h"
#include "cli/stream.h"
#include "cli/term.h"
#include "core/mem.h"

enum { TAIL_DEFAULT = 100, TURN_MS = 500, RECONNECT_MS = 10000 };

static volatile sig_atomic_t interrupted;

struct printer {
	enum output output;
	bool colours;
	int64_t heard_ms; /* when the daemon last answered */
};

static void on_interrupt(int number)
{
	(void)number;
	interrupted = 1;
}

static void format_time(const char *text, char out[32])
{
	int64_t ms = term_parse_time(text);
	time_t s = (time_t)(ms / 1000);
	struct tm tm;
	size_t n;

	if (ms < 0) {
		snprintf(out, 32, "%.31s", text);
		return;
	}
	n = strftime(out, 32, "%H:%M:%S", localtime_r(&s, &tm));
	snprintf(out + n, 32 - n, ".%03d", (int)(ms % 1000));
}

/* Each replica has a colour of its own, by its name. */
static int colour_of(const char *replica)
{
	unsigned hash = 5381;

	for (; *replica; replica++)
		hash = hash * 33 + (unsigned char)*replica;
	return 31 + (int)(hash % 6);
}

static void on_line(void *data, yyjson_val *line)
{
	struct printer *p = data;
	const char *replica = json_str(line, "replica", "-");
	const char *id = json_str(line, "request_id", NULL);
	const char *text = json_str(line, "line", "");
	char at[32];

	p->heard_ms = term_now_ms();
	if (p->output != OUTPUT_TABLE) {
		output_print_item(p->output, line);
		return;
	}
	format_time(json_str(line, "time", "-"), at);
	if (p->colours)
		printf("\033[2m%s\033[0m \033[%dm%s\033[0m %s%s%s%s\n", at,
		       colour_of(replica), replica, id ? "\033[2m" : "",
		       id ? id : "", id ? "\033[0m " : "", text);
	else
		printf("%s %s %s%s%s\n", at, replica, id ? id : "",
		       id ? " " : "", text);
}

static int refused(const struct admin *ad, struct stream *s)
{
	struct answer an = {.status = s->status, .body = s->rest};
	int rc;

	an.json = yyjson_read(s->rest.data, s->rest.len, 0);
	rc = admin_refused(ad, &an);
	yyjson_doc_free(an.json);
	return rc;
}

/* Runs until the stream ends, for good: a daemon that comes back within a few
 * seconds is followed on. */
static int follow(const struct admin *ad, const char *api, const char *tail,
		  bool on, struct printer *p)
{
	CURLM *multi = curl_multi_init();
	struct stream s = {0};
	bool lost = false;
	int rc = -1;

	while (rc < 0 && !interrupted) {
		cleanup_free char *query =
			mem_printf("/logs?tail=%s%s", lost ? "0" : tail,
				   on ? "&follow=1" : "");
		cleanup_free char *path = admin_path("apis", api, query);

		stream_start(&s, multi, ad, path, on_line, p);
		while (!s.ended && !interrupted) {
			streams_turn(multi, TURN_MS);
			fflush(stdout);
		}
		if (interrupted)
			rc = CLI_OK;
		else if (s.status >= 300)
			rc = refused(ad, &s);
		else if (!on && s.result == CURLE_OK)
			rc = CLI_OK;
		else if (on && s.status == 200) {
			lost = true;
			p->heard_ms = term_now_ms();
			usleep(200000);
		} else if (lost && term_now_ms() < p->heard_ms + RECONNECT_MS)
			usleep(200000);
		else
			rc = admin_unreachable(ad, s.curl, s.result, s.detail);
		stream_stop(&s, multi);
	}
	curl_multi_cleanup(multi);
	return rc < 0 ? CLI_OK : rc;
}

int cmd_logs(const struct args *a)
{
	const char *tail = args_value(a, "tail");
	struct sigaction act = {.sa_handler = on_interrupt};
	struct printer p = {.colours = term_colours(1)};
	struct admin ad;
	char number[32];
	uint64_t n = TAIL_DEFAULT;
	int rc = output_read(a, &p.output);

	if (rc != CLI_OK)
		return rc;
	if (tail && !str_u64(str_of(tail), &n))
		return term_fail(CLI_USAGE,
				 "--tail is a number of lines, not '%s'", tail);
	snprintf(number, sizeof number, "%llu", (unsigned long long)n);
	rc = admin_open(&ad, a);
	if (rc != CLI_OK)
		return rc;
	sigaction(SIGINT, &act, NULL);
	rc = follow(&ad, args_word(a, 0), number, args_has(a, "follow"), &p);
	admin_close(&ad);
	return rc;
}
