#include "keep/candidate.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/mem.h"
#include "keep/child.h"

enum { SAID_MAX = 2000 };

/* What a program says that can take over. */
static const char word[] = "soma-daemon ";

void candidate_init(struct candidate *c)
{
	buf_init(&c->said, SAID_MAX);
}

void candidate_clear(struct candidate *c)
{
	free(mem_take(&c->program));
	free(mem_take(&c->version));
}

void candidate_fini(struct candidate *c)
{
	candidate_clear(c);
	buf_fini(&c->said);
}

int candidate_may_run(const struct candidate *c, const char *data_dir,
		      struct err *err)
{
	const char *path = c->program;
	size_t n = strlen(data_dir);
	char real[PATH_MAX];
	struct stat st;

	if (path[0] != '/')
		return err_set(err, E_INVALID,
			       "'%s' is no absolute path of a program", path);
	if (!realpath(path, real) || stat(real, &st) < 0)
		return err_sys(err, errno, "the program '%s'", path);
	if (!S_ISREG(st.st_mode) || !(st.st_mode & 0111))
		return err_set(err, E_INVALID,
			       "'%s' is not executable (chmod +x, or choose "
			       "another with --binary PATH)",
			       path);
	if (strncmp(real, data_dir, n) == 0 && real[n] == '/')
		return err_set(err, E_FORBIDDEN,
			       "'%s' lies in the data directory: what was "
			       "deployed is not run as Soma",
			       path);
	if ((st.st_uid != geteuid() && st.st_uid != 0) ||
	    (geteuid() == 0 && st.st_mode & 0022))
		return err_set(err, E_FORBIDDEN,
			       "others than the user who runs Soma may write "
			       "'%s' (chown and chmod go-w, then try again)",
			       path);
	return 0;
}

/* ---- its own look ---- */

_Noreturn static void become(const char *program, char *data_dir, int out)
{
	char *argv[] = {(char *)(uintptr_t)program,
			(char *)(uintptr_t) "daemon",
			(char *)(uintptr_t) "--check",
			(char *)(uintptr_t) "--data",
			data_dir,
			NULL};

	dup2(out, 1);
	dup2(out, 2);
	setpgid(0, 0);
	unsetenv("SOMA_REPLICA");
	execv(program, argv);
	/* A script without a first line of its own, a broken header. */
	printf("cannot be executed: %s\n",
	       errno == ENOEXEC ? "it is no program for this machine"
	       : errno == ENOENT
		       ? "its loader, or what its first line names, is missing"
		       : strerror(errno));
	fflush(stdout);
	_exit(127);
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *ret)
{
	static char room[4096];

	(void)h;
	(void)hint;
	*ret = uv_buf_init(room, sizeof room);
}

static void on_out_closed(uv_handle_t *h)
{
	(void)h;
}

static void add(struct candidate *c, const char *p, size_t n)
{
	/* More than fits is not needed for a cause. */
	buf_add(&c->said, p, MIN(n, SAID_MAX - c->said.len));
}

static void on_said(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	if (n > 0)
		add(stream->data, buf->base, (size_t)n);
	else if (n < 0)
		uv_read_stop(stream);
}

int candidate_start(struct candidate *c, uv_loop_t *loop, char *data_dir)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -1;
	c->pid = child_fork();
	if (c->pid == 0)
		become(c->program, data_dir, fds[1]);
	close(fds[1]);
	if (c->pid < 0) {
		c->pid = 0;
		close(fds[0]);
		return -1;
	}
	buf_reset(&c->said);
	uv_pipe_init(loop, &c->out, 0);
	uv_pipe_open(&c->out, fds[0]);
	c->out.data = c;
	c->out_open = true;
	uv_read_start((uv_stream_t *)&c->out, on_alloc, on_said);
	return 0;
}

bool candidate_is_open(const struct candidate *c)
{
	return c->pid || c->out_open;
}

void candidate_kill(const struct candidate *c)
{
	/* It may not have come to lead a group yet. */
	if (c->pid && kill(-c->pid, SIGKILL) < 0)
		kill(c->pid, SIGKILL);
}

/* What the pipe still has: its writer is dead. */
static void read_rest(struct candidate *c)
{
	char piece[1024];
	uv_os_fd_t fd;
	ssize_t n;

	if (uv_fileno((uv_handle_t *)&c->out, &fd))
		return;
	while ((n = read(fd, piece, sizeof piece)) > 0)
		add(c, piece, (size_t)n);
}

/* Its own words, on one line. */
static char *said(const struct candidate *c)
{
	char *text = mem_strndup(c->said.len ? c->said.data : "", c->said.len);
	size_t n = strlen(text);

	while (n && text[n - 1] == '\n')
		text[--n] = 0;
	for (char *p = text; *p; p++)
		if (*p == '\n')
			*p = ' ';
	return text;
}

char *candidate_end_in_words(int status)
{
	if (WIFSIGNALED(status))
		return mem_printf("signal %d (%s)", WTERMSIG(status),
				  strsignal(WTERMSIG(status)));
	return mem_printf("exit code %d", WEXITSTATUS(status));
}

int candidate_ended(struct candidate *c, int status, struct err *err)
{
	cleanup_free char *text = NULL, *end = candidate_end_in_words(status);

	c->pid = 0;
	read_rest(c);
	text = said(c);
	c->out_open = false;
	uv_close((uv_handle_t *)&c->out, on_out_closed);
	if (!c->program)
		return err_set(err, E_CANCELED, "it is not wanted any more");
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return err_set(err, E_INVALID, "'%s' cannot take over: %s (%s)",
			       c->program, *text ? text : "it said nothing",
			       end);
	if (strncmp(text, word, strlen(word)) != 0)
		return err_set(err, E_INVALID,
			       "'%s' is no Soma that can take over from this "
			       "one: it answers '%.100s'",
			       c->program, text);
	c->version = mem_strdup(text + strlen(word));
	return 0;
}
