#include "loop/log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/json.h"
#include "core/mem.h"

/* A line fits into what a pipe takes whole (PIPE_BUF), so that one it has room
 * for never blocks. */
enum { LOG_LINE_MAX = 4096, LOG_TEXT_MAX = 2048 };

static const char *const level_words[] = {"debug", "info", "warning", "error"};

/* Set at start-up, and by the main thread when settings change. */
static struct {
	const char *program;
	_Atomic enum log_level least;
	_Atomic bool json;
} setup = {"soma", LOG_INFO, false};

static atomic_uint lost; /* lines that nobody took */

void log_setup(const char *program, enum log_level least, int json)
{
	setup.program = program;
	setup.least = least;
	setup.json = json < 0 ? !isatty(2) : json != 0;
}

bool log_level_of(const char *word, enum log_level *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(level_words); i++) {
		if (strcmp(word, level_words[i]) != 0)
			continue;
		*ret = (enum log_level)i;
		return true;
	}
	return false;
}

bool log_wants(enum log_level level)
{
	return level >= setup.least;
}

int64_t log_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void log_time(int64_t unix_ms, char out[32])
{
	time_t seconds = (time_t)(unix_ms / 1000);
	struct tm tm;
	size_t n;

	gmtime_r(&seconds, &tm);
	n = strftime(out, 24, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + n, 32 - n, ".%03dZ", (int)(unix_ms % 1000));
}

static void as_json(struct buf *b, enum log_level level, const char *time,
		    const struct log_field *f, const char *text)
{
	buf_addf(b, "{\"time\":\"%s\",\"level\":\"%s\",\"from\":\"%s\"", time,
		 level_words[level], setup.program);
	buf_adds(b, ",\"message\":");
	json_quote(b, str_of(text));
	for (; f && f->key; f++) {
		buf_addf(b, ",\"%s\":", f->key);
		if (f->text)
			json_quote(b, str_of(f->text));
		else
			buf_addf(b, "%lld", (long long)f->number);
	}
	buf_addc(b, '}');
}

static void as_text(struct buf *b, enum log_level level, const char *time,
		    const struct log_field *f, const char *text)
{
	buf_addf(b, "%.12s %-7s %s", time + 11, level_words[level], text);
	for (; f && f->key; f++) {
		if (f->text)
			buf_addf(b, "  %s=%s", f->key, f->text);
		else
			buf_addf(b, "  %s=%lld", f->key, (long long)f->number);
	}
}

static void put_together(struct buf *b, enum log_level level, const char *time,
			 const struct log_field *fields, const char *text)
{
	if (setup.json)
		as_json(b, level, time, fields, text);
	else
		as_text(b, level, time, fields, text);
}

/* A reader that has stopped reading must not stop us: what it has no room for
 * is lost, and counted. */
static void put_line(const char *line, size_t len)
{
	struct pollfd out = {.fd = 2, .events = POLLOUT};
	char text[64];
	unsigned n;
	int said;

	if (poll(&out, 1, 0) != 1 || !(out.revents & POLLOUT)) {
		atomic_fetch_add(&lost, 1);
		return;
	}
	n = atomic_exchange(&lost, 0);
	if (n) {
		said = snprintf(text, sizeof text,
				setup.json ? "{\"lost_lines\":%u}\n"
					   : "(%u lines lost)\n",
				n);
		if (write(2, text, (size_t)said) < 0)
			return;
	}
	if (write(2, line, len) < 0)
		atomic_fetch_add(&lost, 1);
}

void log_emit(enum log_level level, const struct log_field *fields,
	      const char *fmt, ...)
{
	char text[LOG_TEXT_MAX], time[32];
	struct buf b;
	va_list args;

	if (!log_wants(level))
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	log_time(log_now_ms(), time);
	buf_init(&b, 16 * LOG_LINE_MAX);
	put_together(&b, level, time, fields, text);
	if (b.full || b.len >= LOG_LINE_MAX) {
		buf_reset(&b);
		text[LOG_LINE_MAX / 8] = 0;
		put_together(&b, level, time, NULL, text);
	}
	buf_addc(&b, '\n');
	put_line(b.data, b.len);
	buf_fini(&b);
}
