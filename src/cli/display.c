#include "cli/display.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/term.h"
#include "core/mem.h"

enum {
	DRAW_MS = 100,
	BLOCK_BYTES_MAX = 1 << 20,
	MIN_WIDTH = 20,
	FETCH_MS = 5000, /* between two lines on how far a fetch is */
};

void display_init(struct display *d, bool quiet)
{
	*d = (struct display){
		.mode = quiet		? DISPLAY_QUIET
			: term_moves(1) ? DISPLAY_LIVE
					: DISPLAY_PLAIN,
	};
}

/* Back over what was drawn, and away with it. */
static void erase(struct display *d)
{
	if (d->drawn > 0)
		printf("\033[%zuA\033[J", d->drawn);
	d->drawn = 0;
}

void display_say(struct display *d, const char *fmt, ...)
{
	va_list args;

	if (d->mode == DISPLAY_QUIET)
		return;
	erase(d);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
}

void display_progress(struct display *d, const char *fmt, ...)
{
	va_list args;

	if (d->mode != DISPLAY_LIVE)
		return;
	erase(d);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	d->drawn = 1;
	fflush(stdout);
}

void display_event(struct display *d, const struct progress *r,
		   yyjson_val *event)
{
	const char *type = json_str(event, "type", "");
	const char *text = json_str(event, "text", "");

	if (d->mode != DISPLAY_PLAIN || strcmp(type, "live") == 0 ||
	    strcmp(type, "failed") == 0)
		return; /* the result says these */
	/* "fetching URL: 1 GiB of 2 GiB" comes every second. */
	if (strcmp(type, "model_fetching") == 0 && strstr(text, ": ")) {
		if (term_now_ms() < d->fetch_ms + FETCH_MS)
			return;
		d->fetch_ms = term_now_ms();
	}
	/* A replica's name begins with its api's. */
	printf("%s: %s%s\n", json_str(event, "replica", r->name),
	       strcmp(type, "env_output") == 0 ? "| " : "", text);
	fflush(stdout);
}

/* A line without its end, cut to width; what would move the cursor is gone. */
static void add_line(struct buf *out, const char *line, size_t width)
{
	size_t n = term_fit(line, width);

	for (size_t i = 0; i < n; i++)
		buf_addc(out, (unsigned char)line[i] < ' ' ? ' ' : line[i]);
	buf_addc(out, '\n');
}

static char *replica_text(const struct progress *r)
{
	const struct progress_replica *waits = NULL;

	for (size_t i = 0; !waits && i < r->n_replicas; i++)
		if (!r->replicas[i].ready)
			waits = &r->replicas[i];
	if (!waits)
		return mem_strdup("");
	return mem_printf("   %s: %s", waits->id,
			  waits->text ? waits->text : "starting");
}

size_t display_block(const struct progress *r, int64_t now_ms, size_t width,
		     struct buf *out)
{
	char took[32];
	cleanup_free char *head = NULL, *env = NULL, *replicas = NULL;
	cleanup_free char *models = NULL, *watch = NULL;
	cleanup_free char *waits = replica_text(r);
	bool running = r->state == PROGRESS_RUNNING;
	size_t lines = 1;

	width = MAX(width, MIN_WIDTH) - 1;
	str_human_ms((running ? now_ms : r->ended_ms) - r->started_ms, took);
	head = mem_printf("%s   %s   %s", r->name, progress_word(r), took);
	add_line(out, head, width);
	if (r->watch) {
		watch = mem_printf("  watched       %s", r->watch);
		add_line(out, watch, width);
		lines++;
	}
	if (!running)
		return lines;
	if (r->environment) {
		env = mem_printf("  environment   %s", r->environment);
		add_line(out, env, width);
		lines++;
	}
	if (r->models) {
		models = mem_printf("  models        %s", r->models);
		add_line(out, models, width);
		lines++;
	}
	replicas = mem_printf(
		"  replicas      %zu/%lld ready%s", progress_ready(r),
		(long long)MAX(r->requested, (int64_t)r->n_replicas), waits);
	add_line(out, replicas, width);
	return lines + 1;
}

void display_draw(struct display *d, const struct progress *rollouts, size_t n,
		  bool now)
{
	int64_t at = term_now_ms();
	struct buf out;
	size_t lines = 0;

	if (d->mode != DISPLAY_LIVE || (!now && at < d->drawn_ms + DRAW_MS))
		return;
	buf_init(&out, BLOCK_BYTES_MAX);
	for (size_t i = 0; i < n; i++)
		lines += display_block(&rollouts[i], at, term_width(), &out);
	/* In one write: no flicker. */
	erase(d);
	fwrite(out.data, 1, out.len, stdout);
	fflush(stdout);
	buf_fini(&out);
	d->drawn = lines;
	d->drawn_ms = at;
}

void display_settle(struct display *d)
{
	d->drawn = 0;
}

static void print_log(const char *log)
{
	cleanup_json yyjson_doc *doc = NULL;
	yyjson_val *line;
	size_t i, n;

	if (!log)
		return;
	doc = yyjson_read(log, strlen(log), 0);
	if (yyjson_arr_size(yyjson_doc_get_root(doc)) == 0)
		return;
	fputs("the last lines of its log:\n", stderr);
	yyjson_arr_foreach(yyjson_doc_get_root(doc), i, n, line)
		fprintf(stderr, "  | %s\n",
			yyjson_is_str(line) ? yyjson_get_str(line) : "");
}

void display_result(struct display *d, const struct progress *r)
{
	switch (r->state) {
	case PROGRESS_LIVE:
		if (d->mode == DISPLAY_QUIET)
			return;
		printf("\n%s is live at %s\n", r->name, r->url);
		if (r->sample)
			printf("\n  %s\n", r->sample);
		break;
	case PROGRESS_FAILED:
		term_fail(0, "%s failed: %s", r->name,
			  r->cause ? r->cause : "no reason was given");
		print_log(r->log);
		break;
	case PROGRESS_RUNNING:
		break;
	}
	fflush(stdout);
}
