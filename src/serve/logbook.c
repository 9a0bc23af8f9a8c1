#include "serve/logbook.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/json.h"
#include "core/mem.h"
#include "loop/log.h"

enum {
	FEED_LINES = 1000,
	FEED_BYTES = 2 << 20,
	LINE_JSON_MAX = 512 * 1024,
	RECALL_BYTES = 128 * 1024
};

/* What was said before this daemon began: the end of the file. Blocks, for
 * a moment, when an api is made or loaded. */
static void recall(struct logbook *b)
{
	cleanup_close int fd = open(b->file.path, O_RDONLY | O_CLOEXEC);
	cleanup_free char *text = NULL;
	char *line, *end, *next;
	struct stat st;
	off_t from;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0 || !st.st_size)
		return;
	from = MAX(st.st_size - RECALL_BYTES, 0);
	text = mem_alloc(RECALL_BYTES + 1);
	n = pread(fd, text, RECALL_BYTES, from);
	if (n <= 0)
		return;
	end = text + n;
	line = from ? memchr(text, '\n', (size_t)n) : text;
	if (line && from)
		line++;
	for (; line && line < end; line = next + 1) {
		cleanup_json yyjson_doc *doc = NULL;

		next = memchr(line, '\n', (size_t)(end - line));
		if (!next)
			return; /* cut off by a crash */
		doc = json_parse(line, (size_t)(next - line), NULL);
		if (doc)
			feed_add(&b->feed, line, (size_t)(next - line));
	}
}

void logbook_init(struct logbook *b, uv_loop_t *loop, const char *data_dir,
		  const char *api)
{
	*b = (struct logbook){0};
	feed_init(&b->feed, FEED_LINES, FEED_BYTES);
	logfile_init(&b->file, loop,
		     mem_printf("%s/logs/%s.jsonl", data_dir, api),
		     LOGBOOK_FILE_BYTES, LOGBOOK_FILES);
	recall(b);
}

void logbook_add(struct logbook *b, const char *replica, struct str request_id,
		 struct str line)
{
	char time[32];
	struct buf json;

	buf_init(&json, LINE_JSON_MAX);
	log_time(log_now_ms(), time);
	buf_addf(&json, "{\"time\":\"%s\",\"replica\":", time);
	json_quote(&json, str_of(replica));
	if (request_id.n) {
		buf_adds(&json, ",\"request_id\":");
		json_quote(&json, request_id);
	}
	buf_adds(&json, ",\"line\":");
	json_quote(&json, line);
	buf_addc(&json, '}');
	if (!json.full) {
		feed_add(&b->feed, buf_cstr(&json), json.len);
		buf_addc(&json, '\n');
		logfile_add(&b->file, json.data, json.len);
	}
	buf_fini(&json);
}

char *logbook_tail(const struct logbook *b, const char *replica, size_t n)
{
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *arr = yyjson_mut_arr(doc);

	yyjson_mut_doc_set_root(doc, arr);
	for (struct list *it = b->feed.lines.prev;
	     it != &b->feed.lines && yyjson_mut_arr_size(arr) < n;
	     it = it->prev) {
		struct feed_line *l = LIST_ENTRY(it, struct feed_line, link);
		cleanup_json yyjson_doc *line =
			json_parse(l->text, l->len, NULL);
		yyjson_val *root = yyjson_doc_get_root(line);
		const char *of = json_str(root, "replica", "");

		if (replica && strcmp(of, replica) != 0)
			continue;
		yyjson_mut_arr_prepend(
			arr,
			yyjson_mut_strcpy(doc, json_str(root, "line", "")));
	}
	return json_write(doc, NULL);
}

static void on_file_closed(struct logfile *f)
{
	struct logbook *b = CONTAINER_OF(f, struct logbook, file);

	feed_fini(&b->feed);
	b->on_closed(b);
}

void logbook_close(struct logbook *b, void (*on_closed)(struct logbook *b))
{
	b->on_closed = on_closed;
	logfile_close(&b->file, on_file_closed);
}
