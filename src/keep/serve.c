/* serve.c: `soma serve` up to the moment it becomes the keeper. */
#include "keep/keep.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "core/mem.h"
#include "loop/file.h"
#include "loop/log.h"

enum { BACKLOG = 4096, EXIT_USAGE = 2 };

/* Of 10 ms each. */
enum { FORMER_TRIES = 1500, BIND_TRIES = 100 };

static int fail(const struct err *err)
{
	fprintf(stderr, "soma: %s\n", err->msg);
	return 1;
}

static void pause_10_ms(void)
{
	const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};

	nanosleep(&pause, NULL);
}

/* 0, or errno. Of a Soma that was killed a moment ago the kernel may close the
 * listeners after its lock. */
static int bind_and_listen(int fd, const struct addrinfo *at)
{
	int sys = EADDRINUSE;

	for (int i = 0; sys == EADDRINUSE && i < BIND_TRIES; i++) {
		if (i)
			pause_10_ms();
		sys = bind(fd, at->ai_addr, at->ai_addrlen) < 0 ||
				      listen(fd, BACKLOG) < 0
			      ? errno
			      : 0;
	}
	return sys;
}

/* "HOST:PORT" or "[V6]:PORT", as settings take it, into a bound, listening
 * socket; ret_text is the address as bound (port 0 resolved). */
static int bind_listener(const char *what, const char *address, int *ret_fd,
			 char **ret_text, struct err *err)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC,
				 .ai_socktype = SOCK_STREAM,
				 .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	cleanup_free char *host = mem_strdup(address);
	char *port = strrchr(host, ':');
	struct sockaddr_storage bound;
	socklen_t len = sizeof bound;
	char name[NI_MAXHOST], number[NI_MAXSERV];
	struct addrinfo *found;
	int rc, one = 1, sys = 0;
	cleanup_close int fd = -1;

	*port++ = 0;
	if (host[0] == '[' && port[-2] == ']') {
		port[-2] = 0;
		memmove(host, host + 1, strlen(host));
	}
	rc = getaddrinfo(host, port, &hints, &found);
	if (rc)
		return err_set(err, E_INVALID,
			       "--%s: '%s' is no address of this machine: %s",
			       what, address, gai_strerror(rc));
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		sys = errno;
	if (fd >= 0) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
		sys = bind_and_listen(fd, found);
	}
	freeaddrinfo(found);
	if (sys == EADDRINUSE)
		return err_set(err, E_BUSY,
			       "%s is taken by another program; stop it, or "
			       "choose another address with --%s HOST:PORT",
			       address, what);
	if (sys == EADDRNOTAVAIL)
		return err_set(err, E_INVALID,
			       "%s is no address of this machine; choose "
			       "another with --%s HOST:PORT",
			       address, what);
	if (sys == EACCES)
		return err_set(err, E_FORBIDDEN,
			       "not allowed to listen on %s (ports below 1024 "
			       "need root); choose another with --%s",
			       address, what);
	if (sys)
		return err_sys(err, sys, "listening on %s", address);
	getsockname(fd, (struct sockaddr *)&bound, &len);
	rc = getnameinfo((struct sockaddr *)&bound, len, name, sizeof name,
			 number, sizeof number,
			 NI_NUMERICHOST | NI_NUMERICSERV);
	if (rc)
		return err_set(err, E_INTERNAL, "listening on %s: %s", address,
			       gai_strerror(rc));
	*ret_text = mem_printf(strchr(name, ':') ? "[%s]:%s" : "%s:%s", name,
			       number);
	*ret_fd = fd;
	fd = -1;
	return 0;
}

/* Where a daemon that has yielded asks the next one: for us alone. */
static int bind_pass(const char *data_dir, int *ret_fd, struct err *err)
{
	cleanup_free char *dir = mem_printf("%s/run/s", data_dir);
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	cleanup_close int at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	mode_t mask;
	int rc;

	if (at < 0 || fd < 0)
		return err_sys(err, errno, "opening '%s'", dir);
	/* By a descriptor: the folder may lie deeper than an address is long.
	 */
	snprintf(addr.sun_path, sizeof addr.sun_path, "/proc/self/fd/%d/%s", at,
		 KEEP_PASS_NAME);
	unlink(addr.sun_path);
	mask = umask(0177);
	rc = bind(fd, (struct sockaddr *)&addr, sizeof addr);
	umask(mask);
	if (rc < 0 || listen(fd, BACKLOG) < 0)
		return err_sys(err, errno, "making '%s/%s'", dir,
			       KEEP_PASS_NAME);
	*ret_fd = fd;
	fd = -1;
	return 0;
}

static void unlink_pass(const char *data_dir)
{
	cleanup_free char *path =
		mem_printf("%s/run/s/" KEEP_PASS_NAME, data_dir);

	unlink(path);
}

/* Absolute, created when missing, ours to write. Replicas run as users of
 * their own: they may pass through, not list. */
static int take_data_dir(const char *given, char **ret, struct err *err)
{
	static const char *const parts[] = {"run", "run/s", "logs",    "envs",
					    "lib", "blobs", "projects"};
	char real[PATH_MAX];
	struct stat st;
	int rc;

	if (stat(given, &st) == 0 && !S_ISDIR(st.st_mode))
		return err_set(err, E_INVALID,
			       "the data directory '%s' is not a directory "
			       "(choose another with --data DIR)",
			       given);
	rc = file_mkdirs(given, 0711, err);
	if (rc)
		return err_wrap(err,
				"the data directory '%s' cannot be made "
				"(choose another with --data DIR)",
				given);
	if (!realpath(given, real) || stat(real, &st) < 0)
		return err_sys(err, errno, "data directory '%s'", given);
	if (access(real, W_OK | X_OK) < 0)
		return err_sys(err, errno,
			       "the data directory '%s' is not writable for "
			       "this user (choose another with --data DIR)",
			       real);
	/* Replicas' users pass through; nothing else of it is changed, since
	 * it may be a directory that others use too. */
	if (geteuid() == 0 && !(st.st_mode & S_IXOTH) &&
	    chmod(real, (st.st_mode & 07777) | S_IXOTH) < 0)
		return err_sys(err, errno, "data directory '%s'", real);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		cleanup_free char *path = mem_printf("%s/%s", real, parts[i]);

		rc = file_mkdirs(path, 0711, err);
		if (rc)
			return rc;
	}
	*ret = mem_strdup(real);
	return 0;
}

/* Who has written itself into the lock's file; 0: nobody. */
static long lock_holder(int fd)
{
	char who[64];
	ssize_t n = pread(fd, who, sizeof who - 1, 0);

	who[n > 0 ? n : 0] = 0;
	return strtol(who, NULL, 10);
}

/* A keeper that was killed has left a daemon, which shares its lock, ends what
 * is there and then itself. */
static int wait_for_former(int fd, long keeper, const char *dir,
			   struct err *err)
{
	for (int i = 0; i < FORMER_TRIES; i++) {
		pause_10_ms();
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		/* Or another one that starts was faster. */
		if (lock_holder(fd) != keeper)
			break;
	}
	return err_set(err, E_BUSY,
		       "what Soma's process %ld has left still has the data "
		       "directory '%s'; end it ('soma daemon' in the list of "
		       "processes), or choose another with --data DIR",
		       keeper, dir);
}

/* One Soma per directory. The lock goes with its keeper and its daemons. */
static int take_lock(const char *dir, int *ret_fd, struct err *err)
{
	cleanup_free char *path = mem_printf("%s/run/lock", dir);
	cleanup_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	char who[64];
	long keeper;
	ssize_t n;

	if (fd < 0)
		return err_sys(err, errno, "opening '%s'", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		keeper = lock_holder(fd);
		if (keeper <= 0 || kill((pid_t)keeper, 0) == 0 ||
		    errno != ESRCH)
			return err_set(
				err, E_BUSY,
				"another Soma (process %ld) has the "
				"data directory '%s'; stop it, or choose "
				"another with --data DIR",
				keeper, dir);
		if (wait_for_former(fd, keeper, dir, err))
			return err->code;
	}
	n = snprintf(who, sizeof who, "%d\n", (int)getpid());
	if (ftruncate(fd, 0) < 0 || pwrite(fd, who, (size_t)n, 0) != n)
		return err_sys(err, errno, "writing '%s'", path);
	*ret_fd = fd;
	fd = -1;
	return 0;
}

static char *default_dir(void)
{
	const char *home = getenv("HOME");

	if (geteuid() == 0)
		return mem_strdup("/var/lib/soma");
	return mem_printf("%s/.local/share/soma", home ? home : "/tmp");
}

/* ---- settings ---- */

static void say_problem(void *data, const char *line)
{
	(void)data;
	fprintf(stderr, "soma: %s\n", line);
}

/* The daemon reads it again from wherever it is then. */
static int make_absolute(struct settings *s, struct err *err)
{
	const char *given = settings_text(s, SETTING_CONFIG);
	char real[PATH_MAX];

	if (!realpath(given, real))
		return err_sys(err, errno, "the settings file '%s' (--config)",
			       given);
	return settings_set(s, &settings_table[SETTING_CONFIG], "--config",
			    real, FROM_COMMAND_LINE, err);
}

/* From the file that was named. 0, or the exit code. */
static int read_named(struct settings *s)
{
	struct err err = {0};

	if (make_absolute(s, &err))
		return fail(&err);
	return settings_read_file(s, settings_text(s, SETTING_CONFIG), true,
				  say_problem, NULL)
		       ? EXIT_USAGE
		       : 0;
}

/* From the one in the data directory, if it is there. 0, or the exit code. */
static int read_usual(struct settings *s, const char *data_dir)
{
	cleanup_free char *path = settings_default_file(data_dir);

	return settings_read_file(s, path, false, say_problem, NULL)
		       ? EXIT_USAGE
		       : 0;
}

static int serve(struct settings *s)
{
	cleanup_free char *dir = default_dir();
	bool named = settings_text(s, SETTING_CONFIG) != NULL;
	struct keep_opts opts = {.settings = s, .lock = -1};
	struct err err = {0};
	int fds[KEEP_LISTENERS] = {-1, -1, -1}, rc = named ? read_named(s) : 0;
	const char *data = settings_text(s, SETTING_DATA);

	if (rc)
		return rc;
	umask(022);
	if (take_data_dir(data ? data : dir, &opts.data_dir, &err))
		return fail(&err);
	rc = named ? 0 : read_usual(s, opts.data_dir);
	if (!rc) {
		keep_setup_log(s);
		if (take_lock(opts.data_dir, &opts.lock, &err) ||
		    bind_listener("listen", settings_text(s, SETTING_LISTEN),
				  &fds[0], &opts.listen, &err) ||
		    bind_listener("admin", settings_text(s, SETTING_ADMIN),
				  &fds[1], &opts.admin, &err) ||
		    bind_pass(opts.data_dir, &fds[KEEP_PASS], &err))
			rc = fail(&err);
		else
			rc = keep_run(&opts, fds);
	}
	if (fds[KEEP_PASS] >= 0)
		unlink_pass(opts.data_dir);
	for (int i = 0; i < KEEP_LISTENERS; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	if (opts.lock >= 0)
		close(opts.lock);
	free(opts.data_dir);
	free(opts.listen);
	free(opts.admin);
	return rc;
}

static int run(const struct args *a)
{
	struct settings s;
	struct err err = {0};
	int rc = 0;

	settings_init(&s);
	if (settings_read_args(&s, a, &err) || settings_read_env(&s, &err)) {
		fail(&err);
		rc = EXIT_USAGE;
	}
	rc = rc ? rc : serve(&s);
	settings_fini(&s);
	return rc;
}

const struct command *keep_serve(void)
{
	static struct command row = {
		.name = "serve",
		.words = "",
		.summary = "run the daemon, in the foreground",
		.help = "Runs the daemon and the keeper that holds its sockets "
			"and processes. Ends on SIGTERM and Ctrl-C, after the "
			"requests in flight: with exit code 0 when it stopped "
			"in good order, 1 when it failed.\n\n"
			"Every option but --config is a setting of the file, "
			"too, there with '_' for '-'; the command line wins. "
			"SIGHUP reads the file again.",
		.notes = "Some options have variables of the environment, "
			 "which the options outdo: SOMA_DATA, SOMA_LISTEN, "
			 "SOMA_ADMIN_LISTEN.\n\n"
			 "Deploying runs code: whoever has the token in "
			 "DIR/admin.token and reaches the admin address can "
			 "run programs on the machine. Keep it on loopback "
			 "unless you know why not.",
		.fn = run,
	};

	if (!row.flags[0].name)
		settings_flags(row.flags);
	return &row;
}
