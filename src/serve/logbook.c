#include "serve/logbook.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/json.h"
#include "core/mem.h"
#include "loop/log.h"

enum { FEED_LINES = 1000, FEED_BYTES = 2 << 20, LINE_JSON_MAX = 512 * 1024 };

void logbook_init(struct logbook *b, uv_loop_t *loop, const char *data_dir,
		  const char *api)
{
	*b = (struct logbook){.loop = loop};
	feed_init(&b->feed, FEED_LINES, FEED_BYTES);
	b->path = mem_printf("%s/logs/%s.jsonl", data_dir, api);
	buf_init(&b->pending, 4 * LOGBOOK_PENDING);
	buf_init(&b->writing, 4 * LOGBOOK_PENDING);
}

/* a.jsonl -> a.jsonl.1 -> ... ; the oldest falls off. */
static void rotate(const char *path)
{
	for (int i = LOGBOOK_FILES - 1; i >= 1; i--) {
		cleanup_free char *from =
			i == 1 ? mem_strdup(path)
			       : mem_printf("%s.%d", path, i - 1);
		cleanup_free char *to = mem_printf("%s.%d", path, i);

		rename(from, to);
	}
}

/* On the pool. */
static void on_write(uv_work_t *work)
{
	struct logbook *b = work->data;
	const char *p = b->writing.data;
	size_t left = b->writing.len;
	cleanup_close int fd = -1;
	struct stat st;

	b->result = 0;
	if (stat(b->path, &st) == 0 && st.st_size > LOGBOOK_FILE_BYTES)
		rotate(b->path);
	fd = open(b->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0) {
		b->result = -errno;
		return;
	}
	while (left) {
		ssize_t n = write(fd, p, left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			b->result = -errno;
			return;
		}
		p += n;
		left -= (size_t)n;
	}
}

static void set_full(struct logbook *b, bool full)
{
	if (b->full == full)
		return;
	b->full = full;
	if (b->on_full && !b->closing)
		b->on_full(b, full);
}

static void maybe_write(struct logbook *b);

static void maybe_closed(struct logbook *b)
{
	if (!b->closing || b->busy)
		return;
	feed_fini(&b->feed);
	buf_fini(&b->pending);
	buf_fini(&b->writing);
	free(b->path);
	b->on_closed(b);
}

static void on_written(uv_work_t *work, int status)
{
	struct logbook *b = work->data;

	(void)status;
	b->busy = false;
	buf_fini(&b->writing);
	if (b->result && !b->complained)
		log_warn(LOG_F(F_S("file", b->path)),
			 "cannot write replicas' output: %s; it is lost until "
			 "there is room",
			 strerror(-b->result));
	b->complained = b->result != 0;
	maybe_write(b);
	set_full(b, b->pending.len > LOGBOOK_PENDING);
	maybe_closed(b);
}

static void maybe_write(struct logbook *b)
{
	struct buf swap = b->writing;

	if (b->busy || !b->pending.len)
		return;
	b->writing = b->pending;
	b->pending = swap;
	b->work.data = b;
	b->busy = true;
	if (uv_queue_work(b->loop, &b->work, on_write, on_written))
		b->busy = false;
}

void logbook_add(struct logbook *b, const char *replica, struct str request_id,
		 struct str line)
{
	char time[32];
	struct buf json;

	if (b->closing)
		return;
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
		/* Full: the line is in memory, and the file has a gap. */
		buf_add(&b->pending, json.data, json.len);
		maybe_write(b);
		set_full(b, b->pending.len > LOGBOOK_PENDING);
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

void logbook_close(struct logbook *b, void (*on_closed)(struct logbook *b))
{
	b->on_closed = on_closed;
	maybe_write(b);
	b->closing = true;
	maybe_closed(b);
}
