/* upgrade.c: from one daemon to the next, with nobody who connects refused.
 * keeper_parts.h has the states; ARCHITECTURE.md who owns what in each. */
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
#include "keep/keeper_parts.h"
#include "loop/log.h"

enum {
	CHECK_MS = 15000, /* to load the program, and to look at the store */
	START_MS = 30000, /* until READY: what replicas need is copied */
	YIELD_MS = 40000, /* longer than the old one waits for what is begun */
	TAKE_MS = 60000,  /* to load the store, and to adopt */
	SAID_MAX = 2000,
};

/* What a program says that can take over. */
static const char word[] = "soma-daemon ";

static void on_late(uv_timer_t *timer);

/* ---- how it went ---- */

static void tell(struct keeper *k, int code, const char *text)
{
	struct upgrade *u = &k->upgrade;
	struct tenant *t = k->daemon && k->daemon->pid == u->asker
				   ? k->daemon
				   : tenant_by_pid(&k->retired, u->asker);

	if (u->asker)
		tenant_say(t, KEEP_UPGRADED, 0, code, text, NULL, 0);
	u->asker = 0;
}

static void over(struct keeper *k)
{
	struct upgrade *u = &k->upgrade;

	uv_timer_stop(&u->timer);
	u->state = UPGRADE_NONE;
	u->killed = false;
	free(mem_take(&u->program));
	free(mem_take(&u->version));
}

/* Nothing has changed. text is freed. */
static void refuse(struct keeper *k, char *text)
{
	log_error(NULL, "no upgrade: %s", text);
	tell(k, 1, text);
	free(text);
	over(k);
}

static char *end_in_words(int status)
{
	if (WIFSIGNALED(status))
		return mem_printf("signal %d (%s)", WTERMSIG(status),
				  strsignal(WTERMSIG(status)));
	return mem_printf("exit code %d", WEXITSTATUS(status));
}

/* ---- whether it may be run at all ---- */

/* Whoever has the token says which program, and the keeper may be root: what
 * others could have written is not run, nor what came in by a deploy. */
static int look_at(const struct keeper *k, const char *path, struct err *err)
{
	size_t n = strlen(k->opts->data_dir);
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
	if (strncmp(real, k->opts->data_dir, n) == 0 && real[n] == '/')
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

_Noreturn static void become_check(const struct keeper *k, const char *program,
				   int out)
{
	char *argv[] = {(char *)(uintptr_t)program,
			(char *)(uintptr_t) "daemon",
			(char *)(uintptr_t) "--check",
			(char *)(uintptr_t) "--data",
			k->opts->data_dir,
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

static void on_said(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct keeper *k = stream->data;
	struct upgrade *u = &k->upgrade;

	/* More than fits is not needed for a cause. */
	if (n > 0)
		buf_add(&u->said, buf->base,
			MIN((size_t)n, SAID_MAX - u->said.len));
	else if (n < 0)
		uv_read_stop(stream);
}

static int start_check(struct keeper *k)
{
	struct upgrade *u = &k->upgrade;
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -1;
	u->check = child_fork();
	if (u->check == 0)
		become_check(k, u->program, fds[1]);
	close(fds[1]);
	if (u->check < 0) {
		u->check = 0;
		close(fds[0]);
		return -1;
	}
	buf_reset(&u->said);
	uv_pipe_init(&k->loop, &u->out, 0);
	uv_pipe_open(&u->out, fds[0]);
	u->out.data = k;
	u->out_open = true;
	uv_read_start((uv_stream_t *)&u->out, on_alloc, on_said);
	return 0;
}

void upgrade_begin(struct keeper *k, const char *program, pid_t asker)
{
	struct upgrade *u = &k->upgrade;
	const char *busy = k->state != RUNNING || !k->serving
				   ? "the daemon is not up yet, or is ending"
				   : "an upgrade is under way already";
	struct err err = {0};

	if (u->state != UPGRADE_NONE || u->check || u->out_open ||
	    k->state != RUNNING || !k->serving) {
		log_warn(NULL, "no upgrade: %s; try again when it is over",
			 busy);
		if (k->daemon && asker == k->daemon->pid)
			tenant_say(k->daemon, KEEP_UPGRADED, 0, 1, busy, NULL,
				   0);
		return;
	}
	u->asker = asker;
	u->program = mem_strdup(program && *program ? program : k->self);
	if (look_at(k, u->program, &err)) {
		refuse(k, mem_strdup(err.msg));
		return;
	}
	if (start_check(k)) {
		refuse(k, mem_printf("starting '%s': %s", u->program,
				     strerror(errno)));
		return;
	}
	u->state = UPGRADE_CHECKING;
	log_info(LOG_F(F_S("program", u->program)), "upgrade: looking at it");
	uv_timer_start(&u->timer, on_late, CHECK_MS, 0);
}

/* ---- CHECKING is over ---- */

/* What the pipe still has: its writer is dead. */
static void read_rest(struct upgrade *u)
{
	char piece[1024];
	uv_os_fd_t fd;
	ssize_t n;

	if (uv_fileno((uv_handle_t *)&u->out, &fd))
		return;
	while ((n = read(fd, piece, sizeof piece)) > 0)
		buf_add(&u->said, piece,
			MIN((size_t)n, SAID_MAX - u->said.len));
}

/* Its own words, on one line. */
static char *said(struct upgrade *u)
{
	char *text = mem_strndup(u->said.len ? u->said.data : "", u->said.len);
	size_t n = strlen(text);

	while (n && text[n - 1] == '\n')
		text[--n] = 0;
	for (char *p = text; *p; p++)
		if (*p == '\n')
			*p = ' ';
	return text;
}

static void start_next(struct keeper *k)
{
	struct upgrade *u = &k->upgrade;

	u->next = tenant_start(k, u->program, -1, true);
	if (!u->next) {
		refuse(k, mem_printf("starting '%s': %s", u->program,
				     strerror(errno)));
		return;
	}
	u->state = UPGRADE_STARTING;
	uv_timer_start(&u->timer, on_late, START_MS, 0);
}

static void checked(struct keeper *k, int status)
{
	struct upgrade *u = &k->upgrade;
	cleanup_free char *text = NULL, *end = NULL;

	u->check = 0;
	read_rest(u);
	text = said(u);
	u->out_open = false;
	uv_close((uv_handle_t *)&u->out, on_out_closed);
	if (u->state != UPGRADE_CHECKING)
		return;
	if (u->killed) {
		refuse(k, mem_printf("'%s' did not say within %d s what it is; "
				     "it was ended",
				     u->program, CHECK_MS / 1000));
		return;
	}
	end = end_in_words(status);
	if (!WIFEXITED(status) || WEXITSTATUS(status)) {
		refuse(k,
		       mem_printf("'%s' cannot take over: %s (%s)", u->program,
				  *text ? text : "it said nothing", end));
		return;
	}
	if (strncmp(text, word, strlen(word)) != 0) {
		refuse(k, mem_printf("'%s' is no Soma that can take over from "
				     "this one: it answers '%.100s'",
				     u->program, text));
		return;
	}
	u->version = mem_strdup(text + strlen(word));
	start_next(k);
}

bool upgrade_on_exit(struct keeper *k, pid_t pid, int status)
{
	struct upgrade *u = &k->upgrade;
	cleanup_free char *end = NULL;

	if (u->check && pid == u->check) {
		checked(k, status);
		return true;
	}
	if (!u->next || u->next->pid != pid)
		return false;
	end = end_in_words(status);
	tenant_free(mem_take(&u->next));
	/* YIELDING: the old one may have yielded by now; then
	 * upgrade_on_yielded finds nobody, and starts what served. */
	if (u->state == UPGRADE_STARTING || u->state == UPGRADE_YIELDING)
		refuse(k, mem_printf("the new daemon %s before it could take "
				     "over (%s); its last words are in Soma's "
				     "log",
				     u->killed ? "took too long and was ended"
					       : "ended",
				     end));
	return true;
}

/* ---- from one to the other ---- */

void upgrade_on_ready(struct keeper *k, struct tenant *t)
{
	struct upgrade *u = &k->upgrade;

	if (u->state != UPGRADE_STARTING || t != u->next)
		return;
	u->state = UPGRADE_YIELDING;
	uv_timer_start(&u->timer, on_late, YIELD_MS, 0);
	/* The old one died meanwhile. */
	if (!k->daemon) {
		upgrade_on_death(k);
		return;
	}
	tenant_say(k->daemon, KEEP_YIELD, 0, 0, NULL, NULL, 0);
}

/* The file that the process runs, wherever its name leads by now. */
static int file_of(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
	return open(path, O_PATH | O_CLOEXEC);
}

static void hand_over(struct keeper *k)
{
	struct upgrade *u = &k->upgrade;

	u->state = UPGRADE_TAKING;
	uv_timer_start(&u->timer, on_late, TAKE_MS, 0);
	keeper__instal(k, mem_take(&u->next));
	tenant_say(k->daemon, KEEP_GO, 0, 0, NULL, NULL, 0);
}

static void set_fallback(struct keeper *k, int fd)
{
	if (k->fallback >= 0)
		close(k->fallback);
	k->fallback = fd;
}

void upgrade_on_yielded(struct keeper *k, struct tenant *t, const char *why)
{
	struct upgrade *u = &k->upgrade;

	if (t != k->daemon)
		return;
	if (why) {
		if (u->next)
			kill(u->next->pid, SIGKILL);
		if (u->state == UPGRADE_YIELDING)
			refuse(k, mem_strdup(why));
		return;
	}
	k->daemon = NULL;
	list_push_back(&k->retired, &t->link);
	/* For the case that what comes now does not get to serve. */
	set_fallback(k, file_of(t->pid));
	if (u->next && u->state == UPGRADE_YIELDING)
		hand_over(k);
	else
		keeper__instal(k, NULL); /* which starts one */
}

void upgrade_on_serving(struct keeper *k)
{
	struct upgrade *u = &k->upgrade;

	if (u->state != UPGRADE_TAKING)
		return;
	free(k->self);
	k->self = mem_take(&u->program);
	set_fallback(k, -1);
	log_info(LOG_F(F_S("version", u->version),
		       F_I("pid", (int64_t)k->daemon->pid)),
		 "upgraded: a new daemon serves");
	tell(k, 0, u->version);
	over(k);
}

bool upgrade_on_death(struct keeper *k)
{
	struct upgrade *u = &k->upgrade;

	/* Its connections are lost; what it had asked for is in the store. */
	if (u->state == UPGRADE_YIELDING && u->next) {
		hand_over(k);
		return true;
	}
	if (u->state == UPGRADE_TAKING)
		refuse(k, mem_printf("the new daemon %s; one is started from "
				     "the program that served before",
				     u->killed ? "took too long to take over "
						 "and was ended"
					       : "ended before it served"));
	return false;
}

static void on_late(uv_timer_t *timer)
{
	struct keeper *k = CONTAINER_OF(timer, struct keeper, upgrade.timer);
	struct upgrade *u = &k->upgrade;

	u->killed = true;
	if (u->check)
		kill(-u->check, SIGKILL);
	if (u->next)
		kill(u->next->pid, SIGKILL);
	/* Everybody waits for it. */
	if (u->state == UPGRADE_TAKING && k->daemon)
		kill(k->daemon->pid, SIGKILL);
}

void upgrade_init(struct keeper *k)
{
	uv_timer_init(&k->loop, &k->upgrade.timer);
	buf_init(&k->upgrade.said, SAID_MAX);
	list_init(&k->retired);
	k->fallback = -1;
}

void upgrade_stop(struct keeper *k)
{
	struct upgrade *u = &k->upgrade;

	if (u->check)
		kill(-u->check, SIGKILL);
	if (u->next)
		kill(u->next->pid, SIGKILL);
	if (u->state == UPGRADE_CHECKING || u->state == UPGRADE_STARTING ||
	    u->state == UPGRADE_YIELDING)
		refuse(k, mem_strdup("Soma is stopping"));
}

void upgrade_close(struct keeper *k)
{
	struct list *it, *tmp;

	tenant_free(mem_take(&k->upgrade.next));
	LIST_EACH (&k->retired, it, tmp)
		tenant_free(LIST_ENTRY(it, struct tenant, link));
	set_fallback(k, -1);
	over(k);
	buf_fini(&k->upgrade.said);
}
