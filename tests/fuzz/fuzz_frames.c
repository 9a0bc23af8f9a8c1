/* Any bytes as frames of a replica, whose program is its user's: no crash, and
 * what is told of them is UTF-8 in lines that end. Frames are apart by their
 * length: a byte in front of each. */
#include "../../src/serve/process.c"

#include "serve/batching.h"
#include "serve/told.h"
#include "spec/spec.h"

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

/* It is JSON again, and bounded. */
static void check_batching(struct str payload)
{
	static const struct spec spec;
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	struct batching b = {0};
	cleanup_free char *text = NULL;

	if (!batching_read(&b, payload))
		return;
	if (b.size > CURVE_MOST || b.n > CURVE_CLASSES)
		abort();
	for (uint32_t i = 0; i < b.n; i++)
		if (!b.points[i].size || !b.points[i].mean_ns ||
		    b.points[i].p99_ns < b.points[i].mean_ns ||
		    (i && b.points[i].size <= b.points[i - 1].size))
			abort();
	batching_put(doc, root, &b, &spec);
	text = yyjson_mut_val_write(root, 0, NULL);
	if (!text)
		abort();
}

static void check_ready(struct str payload)
{
	cleanup_free char *sample = told_sample(payload),
			  *note = told_note(payload),
			  *imports = told_imports(payload);

	if (sample)
		check_text(sample);
	if (note)
		check_text(note);
	if (imports && (strlen(imports) > TOLD_IMPORTS_MAX ||
			strpbrk(imports, " \r\n\x1b/\\")))
		abort();
}

static void on_frame(struct process *p, const struct frame *f,
		     struct str payload)
{
	char *text;

	(void)p;
	if (f->type == FRAME_BATCHING) {
		check_batching(payload);
		return;
	}
	if (f->type == FRAME_READY) {
		check_ready(payload);
		return;
	}
	text = f->type == FRAME_LOADING ? told_loading(payload)
					: told_failed(payload);
	check_text(text);
	if (f->type == FRAME_LOADING &&
	    (strlen(text) > TOLD_LOADING_MAX + 3 || strpbrk(text, "\r\n\x1b")))
		abort();
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct process_ops ops = {.on_frame = on_frame};
	static char name[] = "a-1-0";
	struct local local = {.loop = NULL};
	struct process p = {.local = &local,
			    .name = name,
			    .ops = &ops,
			    .state = PROCESS_RUNNING};

	list_init(&local.processes);
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
