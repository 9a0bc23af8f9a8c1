/* Any bytes as frames of a replica, whose program is its user's: no crash, and
 * what is told of them is UTF-8 in lines that end. Frames are apart by their
 * length: a byte in front of each. */
#include "../../src/serve/process.c"

#include "serve/told.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text)
{
	size_t n = strlen(text), len;

	for (size_t at = 0; at < n; at += len) {
		len = str_utf8_at(text + at, n - at);
		if (!len)
			abort();
	}
}

static void on_frame(struct process *p, const struct frame *f,
		     struct str payload)
{
	char *text = f->type == FRAME_LOADING ? told_loading(payload)
					      : told_failed(payload);

	(void)p;
	check_text(text);
	if (f->type == FRAME_LOADING &&
	    (strlen(text) > TOLD_LOADING_MAX + 3 || strpbrk(text, "\r\n\x1b")))
		abort();
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct process_ops ops = {.on_frame = on_frame};
	struct process p = {.ops = &ops, .state = PROCESS_RUNNING};

	while (size > 0) {
		size_t n = MIN((size_t)data[0], size - 1);
		cleanup_free uint8_t *exact = mem_alloc(n + 1);

		memcpy(exact, data + 1, n);
		on_control_message(&p.control, exact, n, NULL, 0);
		data += 1 + n;
		size -= 1 + n;
	}
	return 0;
}
