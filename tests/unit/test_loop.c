#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/mem.h"
#include "loop/chan.h"
#include "loop/file.h"
#include "loop/log.h"
#include "loop/logfile.h"

/* ---- channels ---- */

struct end {
	struct chan chan;
	uv_loop_t *loop;
	unsigned messages, want;
	size_t bytes;
	int fds[CHAN_FDS_MAX];
	size_t n_fds;
	bool ended, closed;
	char first[64];
};

static void on_msg(struct chan *c, const void *data, size_t len, const int *fds,
		   size_t n_fds)
{
	struct end *e = CONTAINER_OF(c, struct end, chan);

	if (!e->messages && len < sizeof e->first)
		memcpy(e->first, data, len);
	e->messages++;
	e->bytes += len;
	for (size_t i = 0; i < n_fds; i++)
		e->fds[e->n_fds++] = fds[i];
	if (e->messages == e->want)
		uv_stop(e->loop);
}

static void on_end(struct chan *c)
{
	struct end *e = CONTAINER_OF(c, struct end, chan);

	e->ended = true;
	uv_stop(e->loop);
}

static void on_closed(struct chan *c)
{
	CONTAINER_OF(c, struct end, chan)->closed = true;
}

static void open_pair(uv_loop_t *loop, struct end *a, struct end *b)
{
	int fds[2];

	memset(a, 0, sizeof *a);
	memset(b, 0, sizeof *b);
	a->loop = b->loop = loop;
	assert_int_equal(chan_pair(fds), 0);
	assert_int_equal(chan_open(&a->chan, loop, fds[0], on_msg, on_end), 0);
	assert_int_equal(chan_open(&b->chan, loop, fds[1], on_msg, on_end), 0);
}

static void close_all(uv_loop_t *loop, struct end *a, struct end *b)
{
	if (chan_is_open(&a->chan))
		chan_close(&a->chan, on_closed);
	if (chan_is_open(&b->chan))
		chan_close(&b->chan, on_closed);
	uv_run(loop, UV_RUN_DEFAULT);
	assert_true(a->closed && b->closed);
	assert_int_equal(uv_loop_close(loop), 0);
}

static void messages_keep_their_bounds_and_descriptors(void **state)
{
	struct end a, b;
	uv_loop_t loop;
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	uv_loop_init(&loop);
	open_pair(&loop, &a, &b);
	b.want = 2;
	chan_send(&a.chan, "head", 4, "payload", 7, &null, 1);
	chan_send(&a.chan, "x", 1, NULL, 0, NULL, 0);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_memory_equal(b.first, "headpayload", 11);
	assert_int_equal(b.messages, 2);
	assert_int_equal(b.bytes, 12);
	assert_int_equal(b.n_fds, 1);
	assert_int_equal(fcntl(b.fds[0], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	close(b.fds[0]);
	close(null);
	close_all(&loop, &a, &b);
}

static void what_does_not_fit_is_queued_in_order(void **state)
{
	static char big[100 * 1024];
	struct end a, b;
	uv_loop_t loop;

	(void)state;
	uv_loop_init(&loop);
	open_pair(&loop, &a, &b);
	/* Nobody reads until the loop runs: most of it must wait here. */
	for (int i = 0; i < 200; i++)
		chan_send(&a.chan, "h", 1, big, sizeof big, NULL, 0);
	assert_true(a.chan.queued > 0);
	b.want = 200;
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(b.bytes, 200 * (sizeof big + 1));
	assert_int_equal(a.chan.queued, 0);
	close_all(&loop, &a, &b);
}

static void the_other_ends_end_is_told_once(void **state)
{
	struct end a, b;
	uv_loop_t loop;

	(void)state;
	uv_loop_init(&loop);
	open_pair(&loop, &a, &b);
	chan_close(&a.chan, on_closed);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_true(b.ended);
	/* Swallowed, not fatal. */
	chan_send(&b.chan, "late", 4, NULL, 0, NULL, 0);
	close_all(&loop, &a, &b);
}

/* It closed with something unread, which is an error here. */
static void last_words_are_heard(void **state)
{
	struct end a, b;
	uv_loop_t loop;

	(void)state;
	uv_loop_init(&loop);
	open_pair(&loop, &a, &b);
	chan_send(&b.chan, "unread", 6, NULL, 0, NULL, 0);
	for (int i = 0; i < 100; i++)
		chan_send(&a.chan, "FAILED", 6, NULL, 0, NULL, 0);
	chan_close(&a.chan, on_closed);
	while (!b.ended)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(b.messages, 100);
	close_all(&loop, &a, &b);
}

static void draining_tells_what_is_there(void **state)
{
	struct end a, b;
	uv_loop_t loop;

	(void)state;
	uv_loop_init(&loop);
	open_pair(&loop, &a, &b);
	chan_send(&b.chan, "unread", 6, NULL, 0, NULL, 0);
	chan_send(&a.chan, "one", 3, NULL, 0, NULL, 0);
	chan_send(&a.chan, "two", 3, NULL, 0, NULL, 0);
	chan_drain(&b.chan);
	assert_int_equal(b.messages, 2);
	chan_send(&a.chan, "three", 5, NULL, 0, NULL, 0);
	chan_close(&a.chan, on_closed);
	chan_drain(&b.chan);
	assert_int_equal(b.messages, 3);
	assert_false(b.ended);
	close_all(&loop, &a, &b);
}

/* The receiver's table is full: the message comes all the same. */
static void descriptors_that_do_not_fit_are_all_missing(void **state)
{
	struct end a, b;
	uv_loop_t loop;
	struct rlimit was, low;
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), top;

	(void)state;
	uv_loop_init(&loop);
	open_pair(&loop, &a, &b);
	b.want = 1;
	chan_send(&a.chan, "three", 5, NULL, 0, (int[]){null, null, null}, 3);
	top = dup(null);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	low = was;
	low.rlim_cur = (rlim_t)top + 2;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	assert_int_equal(b.messages, 1);
	assert_int_equal(b.n_fds, 0);
	assert_false(b.ended);
	assert_int_equal(dup(null), top + 1);
	close(top + 1);
	close(top);
	close(null);
	close_all(&loop, &a, &b);
}

/* ---- files ---- */

static char *scratch(void)
{
	char *dir = mem_strdup("/tmp/soma-test-XXXXXX");

	assert_non_null(mkdtemp(dir));
	return dir;
}

static void files_are_written_whole(void **state)
{
	cleanup_free char *dir = scratch();
	cleanup_free char *path = mem_printf("%s/a/b/file", dir);
	cleanup_free char *parent = mem_printf("%s/a/b", dir);
	struct err err = {0};
	struct stat st;
	char *text;
	size_t len;

	(void)state;
	assert_int_equal(file_read(path, 100, &text, &len, &err), E_NOTFOUND);
	assert_int_equal(file_mkdirs(parent, 0755, &err), 0);
	assert_int_equal(file_write(path, "hello", 5, 0600, &err), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(file_read(path, 100, &text, &len, &err), 0);
	assert_string_equal(text, "hello");
	free(text);
	assert_int_equal(file_read(path, 4, &text, &len, &err), E_TOOBIG);
	assert_int_equal(file_remove_tree(dir, &err), 0);
	assert_int_equal(file_remove_tree(dir, &err), 0);
	assert_int_equal(access(dir, F_OK), -1);
}

static bool file_closed;

static void on_file_closed(struct logfile *f)
{
	(void)f;
	file_closed = true;
}

static void log_files_rotate_and_stay_bounded(void **state)
{
	cleanup_free char *dir = scratch();
	cleanup_free char *second = mem_printf("%s/log.1", dir);
	cleanup_free char *third = mem_printf("%s/log.2", dir);
	static char line[1000];
	struct logfile f;
	struct stat st;
	uv_loop_t loop;

	(void)state;
	memset(line, 'x', sizeof line - 1);
	line[sizeof line - 1] = '\n';
	uv_loop_init(&loop);
	logfile_init(&f, &loop, mem_printf("%s/log", dir), 100000, 2);
	for (int i = 0; i < 1000; i++) {
		logfile_add(&f, line, sizeof line);
		while (f.busy)
			uv_run(&loop, UV_RUN_ONCE);
	}
	file_closed = false;
	logfile_close(&f, on_file_closed);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_true(file_closed);
	assert_int_equal(uv_loop_close(&loop), 0);
	assert_int_equal(stat(second, &st), 0);
	assert_int_equal(st.st_size % (off_t)sizeof line, 0);
	assert_int_equal(access(third, F_OK), -1);
	file_remove_tree(dir, NULL);
}

static void a_log_that_cannot_be_written_loses_lines_only(void **state)
{
	static char line[1000];
	struct logfile f;
	uv_loop_t loop;

	(void)state;
	log_setup("test", LOG_ERROR, 1);
	memset(line, 'x', sizeof line - 1);
	line[sizeof line - 1] = '\n';
	uv_loop_init(&loop);
	logfile_init(&f, &loop, mem_strdup("/nonexistent/dir/log"), 1000, 2);
	for (int i = 0; i < 10000; i++)
		logfile_add(&f, line, sizeof line);
	assert_true(f.pending.len <= LOGFILE_MAX);
	assert_true(f.full);
	file_closed = false;
	logfile_close(&f, on_file_closed);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_true(file_closed);
	assert_int_equal(uv_loop_close(&loop), 0);
}

static void times_are_rfc3339(void **state)
{
	char out[32];

	(void)state;
	log_time(1767323045678, out);
	assert_string_equal(out, "2026-01-02T03:04:05.678Z");
}

static void a_log_that_nobody_reads_stops_nobody(void **state)
{
	static char text[4000], fields[4000];
	int pair[2], was = dup(2);
	char piece[65536];
	ssize_t n;

	(void)state;
	assert_int_equal(pipe(pair), 0);
	dup2(pair[1], 2);
	log_setup("test", LOG_INFO, 1);
	memset(text, '\"', sizeof text - 1);
	memset(fields, 'f', sizeof fields - 1);
	/* More than the pipe holds: this returns all the same. */
	for (int i = 0; i < 200; i++)
		log_info(LOG_F(F_S("long", fields)), "%s", text);
	n = read(pair[0], piece, sizeof piece);
	assert_true(n > 1000);
	/* Each line is whole, and JSON as far as it goes. */
	for (char *line = piece; line < piece + n;) {
		char *end = memchr(line, '\n', (size_t)(piece + n - line));

		assert_non_null(end);
		assert_int_equal(line[0], '{');
		assert_int_equal(end[-1], '}');
		assert_true(end - line < 4096);
		line = end + 1;
	}
	log_info(NULL, "again");
	n = read(pair[0], piece, sizeof piece - 1);
	piece[n] = 0;
	assert_memory_equal(piece, "{\"lost_lines\":", 14);
	assert_non_null(strstr(piece, "again"));
	dup2(was, 2);
	close(was);
	close(pair[0]);
	close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_keep_their_bounds_and_descriptors),
		cmocka_unit_test(what_does_not_fit_is_queued_in_order),
		cmocka_unit_test(the_other_ends_end_is_told_once),
		cmocka_unit_test(last_words_are_heard),
		cmocka_unit_test(draining_tells_what_is_there),
		cmocka_unit_test(descriptors_that_do_not_fit_are_all_missing),
		cmocka_unit_test(files_are_written_whole),
		cmocka_unit_test(log_files_rotate_and_stay_bounded),
		cmocka_unit_test(a_log_that_cannot_be_written_loses_lines_only),
		cmocka_unit_test(times_are_rfc3339),
		cmocka_unit_test(a_log_that_nobody_reads_stops_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
