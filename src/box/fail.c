#include "box/fail.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "box/box.h"
#include "core/buf.h"
#include "core/json.h"

int fail_set(struct fail *f, const char *step, int sys, const char *fmt, ...)
{
	va_list args;

	f->step = step;
	f->sys = sys;
	f->exit_code =
		strcmp(step, "need") == 0 ? BOX_EXIT_NEED : BOX_EXIT_FAIL;
	f->remedy[0] = 0;
	va_start(args, fmt);
	vsnprintf(f->message, sizeof f->message, fmt, args);
	va_end(args);
	return -1;
}

int fail_sys(struct fail *f, const char *step, int sys, const char *fmt, ...)
{
	char text[sizeof f->message - 128];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	return fail_set(f, step, sys, "%s: %s", text, strerror(sys));
}

int fail_remedy(struct fail *f, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(f->remedy, sizeof f->remedy, fmt, args);
	va_end(args);
	return -1;
}

static void write_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t done = write(fd, p, n);

		if (done <= 0)
			return; /* nobody is left to tell */
		p += done;
		n -= (size_t)done;
	}
}

void fail_tell(const struct fail *f, int fd)
{
	struct buf b;

	buf_init(&b, 64 * 1024);
	if (fd < 0) {
		buf_addf(&b, "soma box: %s\n", f->message);
		if (f->remedy[0])
			buf_addf(&b, "  remedy: %s\n", f->remedy);
		fd = STDERR_FILENO;
	} else {
		buf_adds(&b, "{\"step\":");
		json_quote(&b, str_of(f->step));
		buf_addf(&b, ",\"errno\":%d,\"message\":", f->sys);
		json_quote(&b, str_of(f->message));
		buf_adds(&b, ",\"remedy\":");
		json_quote(&b, str_of(f->remedy));
		buf_adds(&b, "}\n");
	}
	write_all(fd, b.data, b.len);
	buf_fini(&b);
}
