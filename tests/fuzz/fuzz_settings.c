/* Any bytes as a settings file: no crash, a wrong one changes nothing and says
 * where, and a good one is the same to the next process. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "settings/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void say(void *data, const char *line)
{
	unsigned *lines = data;

	/* One line each, with its place. */
	if (strncmp(line, "soma.conf", 9) != 0 || strpbrk(line, "\n\r\x1b"))
		abort();
	(*lines)++;
}

static struct buf dump_of(const struct settings *s)
{
	struct buf b;

	buf_init(&b, 16 << 20);
	settings_dump(s, &b);
	buf_cstr(&b);
	return b;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct settings s, told;
	struct http_limits limits;
	struct err err = {0};
	unsigned lines = 0, n;
	struct buf a, b;

	settings_init(&s);
	n = settings_read_text(&s, "soma.conf", true, (const char *)data, size,
			       say, &lines);
	a = dump_of(&s);
	if (n != lines || (n && a.len))
		abort();
	settings_limits(&s, &limits);
	settings_init(&told);
	if (settings_load(&told, buf_cstr(&a), &err))
		abort();
	b = dump_of(&told);
	if (strcmp(buf_cstr(&a), buf_cstr(&b)) != 0)
		abort();
	/* And the same bytes as what a process is told. */
	cleanup_free char *text = mem_strndup((const char *)data, size);
	settings_load(&told, text, &err);
	buf_fini(&a);
	buf_fini(&b);
	settings_fini(&s);
	settings_fini(&told);
	return 0;
}
