#include "cli/term.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "core/str.h"

bool term_is_tty(int fd)
{
	return isatty(fd) == 1;
}

bool term_moves(int fd)
{
	const char *term = getenv("TERM");

	return term_is_tty(fd) && term && strcmp(term, "dumb") != 0;
}

bool term_colours(int fd)
{
	const char *no = getenv("NO_COLOR");

	return term_moves(fd) && !(no && *no);
}

size_t term_width(void)
{
	struct winsize w;

	if (ioctl(1, TIOCGWINSZ, &w) == 0 && w.ws_col > 0)
		return w.ws_col;
	return 80;
}

__attribute__((format(printf, 3, 0))) static void
say(const char *word, const char *colour, const char *fmt, va_list args)
{
	bool colours = term_colours(2);

	fflush(stdout); /* in the order it happened */
	fprintf(stderr, "%s%s:%s ", colours ? colour : "", word,
		colours ? "\033[0m" : "");
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
}

int term_fail(int code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say("error", "\033[31m", fmt, args);
	va_end(args);
	return code;
}

void term_warn(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say("warning", "\033[33m", fmt, args);
	va_end(args);
}

static int64_t clock_ms(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t term_now_ms(void)
{
	return clock_ms(CLOCK_MONOTONIC);
}

int64_t term_wall_ms(void)
{
	return clock_ms(CLOCK_REALTIME);
}

int64_t term_parse_time(const char *text)
{
	struct tm tm = {0};
	const char *rest;
	int64_t ms;

	if (!text)
		return -1;
	rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	if (!rest)
		return -1;
	ms = (int64_t)timegm(&tm) * 1000;
	if (*rest == '.') {
		char *end;
		double fraction = strtod(rest, &end);

		ms += (int64_t)(fraction * 1000 + 0.5);
		rest = end;
	}
	return strcmp(rest, "Z") == 0 ? ms : -1;
}

const char *term_age(int64_t ms, char out[32])
{
	int64_t s = ms / 1000;

	if (ms < 0)
		snprintf(out, 32, "-");
	else if (s < 60)
		snprintf(out, 32, "%llds", (long long)s);
	else if (s < 3600)
		snprintf(out, 32, "%lldm", (long long)s / 60);
	else if (s < 48 * 3600)
		snprintf(out, 32, "%lldh", (long long)s / 3600);
	else
		snprintf(out, 32, "%lldd", (long long)s / 86400);
	return out;
}

const char *term_latency(double ms, char out[32])
{
	if (ms < 0)
		snprintf(out, 32, "-");
	else if (ms < 1000)
		snprintf(out, 32, "%.3g ms", ms);
	else
		snprintf(out, 32, "%.3g s", ms / 1000);
	return out;
}

static bool starts_character(char c)
{
	return ((unsigned char)c & 0xc0) != 0x80;
}

size_t term_fit(const char *text, size_t columns)
{
	size_t i = 0;

	for (; text[i]; i++)
		if (starts_character(text[i]) && columns-- == 0)
			break;
	return i;
}

size_t term_columns(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += starts_character(*text);
	return n;
}
