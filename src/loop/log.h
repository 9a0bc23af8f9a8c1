/* log.h: what the program says of itself: text on a terminal, JSON lines
 * otherwise. */
#ifndef LOOP_LOG_H
#define LOOP_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* A named value beside the text. Arrays end with a NULL key. */
struct log_field {
	const char *key;
	const char *text; /* borrowed; NULL: the number counts */
	int64_t number;
};

static inline struct log_field log_text(const char *key, const char *text)
{
	return (struct log_field){key, text ? text : "-", 0};
}
#define F_S(key, text) log_text((key), (text))
#define F_I(key, number) ((struct log_field){(key), NULL, (int64_t)(number)})
/* log_info(LOG_F(F_S("api", name), F_I("pid", pid)), "replica exited: %s", why)
 */
#define LOG_F(...) ((const struct log_field[]){__VA_ARGS__, {NULL, NULL, 0}})

/* json -1: by whether fd 2 is a terminal. Process-wide; call before threads. */
void log_setup(const char *program, enum log_level least, int json);
bool log_level_of(const char *word, enum log_level *ret);

/* One line on fd 2, written at once; safe from any thread. fields may be NULL.
 */
void log_emit(enum log_level level, const struct log_field *fields,
	      const char *fmt, ...) __attribute__((cold, format(printf, 3, 4)));
bool log_wants(enum log_level level);

#define log_debug(...) log_emit(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_emit(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_emit(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_emit(LOG_ERROR, __VA_ARGS__)

/* "2026-01-02T03:04:05.678Z" of a wall-clock time in Unix ms. */
void log_time(int64_t unix_ms, char out[32]);
/* The wall clock, Unix ms. */
int64_t log_now_ms(void);

#endif
