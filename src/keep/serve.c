/* serve.c: `soma serve` up to the moment it becomes the keeper. */
#include "keep/keep.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/mem.h"
#include "core/str.h"
#include "loop/file.h"
#include "loop/log.h"

enum { BACKLOG = 4096, EXIT_USAGE = 2 };

static const char help[] =
	"Usage: soma serve [OPTIONS]\n"
	"\n"
	"Serves models until it is stopped (Ctrl-C or SIGTERM drains first).\n"
	"\n"
	"Options:\n"
	"  --data DIR          where everything is kept (default: "
	"/var/lib/soma\n"
	"                      as root, else ~/.local/share/soma; or "
	"SOMA_DATA)\n"
	"  --listen HOST:PORT  where predictions are served (default:\n"
	"                      127.0.0.1:8000; or SOMA_LISTEN)\n"
	"  --admin HOST:PORT   where Soma itself is commanded, with the token "
	"of\n"
	"                      DIR/admin.token (default: 127.0.0.1:8002; or\n"
	"                      SOMA_ADMIN_LISTEN). Deploying runs code: keep "
	"it\n"
	"                      on loopback unless you know why not\n"
	"  --log-level LEVEL   debug, info, warning or error (default: info)\n"
	"  --log-format FORMAT text or json (default: text on a terminal)\n"
	"  --access-log on|off one line a request in DIR/logs/access.jsonl\n"
	"                      (default: on)\n"
	"  --help              this text\n"
	"\n"
	"Exit codes: 0 stopped in good order, 1 failed, 2 wrong usage.\n";

static int fail(const struct err *err)
{
	fprintf(stderr, "soma: %s\n", err->msg);
	return 1;
}

/* "HOST:PORT" or "[V6]:PORT" into a bound, listening socket; ret_text is the
 * address as bound (port 0 resolved). */
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
	uint64_t n;
	cleanup_close int fd = -1;

	if (!port || !port[1] || port == host)
		return err_set(err, E_INVALID,
			       "--%s wants HOST:PORT such as 127.0.0.1:8000, "
			       "not '%s'",
			       what, address);
	*port++ = 0;
	if (!str_u64(str_of(port), &n) || n > 65535)
		return err_set(err, E_INVALID,
			       "--%s: '%s' is no port (0 to 65535); --%s wants "
			       "HOST:PORT such as 127.0.0.1:8000",
			       what, port, what);
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
		if (bind(fd, found->ai_addr, found->ai_addrlen) < 0 ||
		    listen(fd, BACKLOG) < 0)
			sys = errno;
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

/* One Soma per directory. The lock goes with the process. */
static int take_lock(const char *dir, int *ret_fd, struct err *err)
{
	cleanup_free char *path = mem_printf("%s/run/lock", dir);
	cleanup_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	char who[64];
	ssize_t n;

	if (fd < 0)
		return err_sys(err, errno, "opening '%s'", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		n = read(fd, who, sizeof who - 1);
		who[n > 0 ? n : 0] = 0;
		who[strcspn(who, "\n")] = 0;
		return err_set(err, E_BUSY,
			       "another Soma (process %s) has the data "
			       "directory '%s'; stop it, or choose another "
			       "with --data DIR",
			       who[0] ? who : "unknown", dir);
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
	const char *home = getenv("HOME"), *env = getenv("SOMA_DATA");

	if (env && *env)
		return mem_strdup(env);
	if (geteuid() == 0)
		return mem_strdup("/var/lib/soma");
	return mem_printf("%s/.local/share/soma", home ? home : "/tmp");
}

static const char *env_or(const char *name, const char *fallback)
{
	const char *value = getenv(name);

	return value && *value ? value : fallback;
}

struct args {
	const char *data, *listen, *admin, *level, *format, *access;
};

static bool is_level(const char *word)
{
	enum log_level level;

	return log_level_of(word, &level);
}

static bool is_format(const char *word)
{
	return strcmp(word, "json") == 0 || strcmp(word, "text") == 0;
}

static bool is_on_off(const char *word)
{
	return strcmp(word, "on") == 0 || strcmp(word, "off") == 0;
}

/* What an option's value must be, and where it goes; a row of `options` each,
 * by number. */
static const struct value {
	size_t at;
	bool (*is_right)(const char *word); /* NULL: looked at later */
	const char *wants;
} values[] = {
	{offsetof(struct args, data), NULL, NULL},
	{offsetof(struct args, listen), NULL, NULL},
	{offsetof(struct args, admin), NULL, NULL},
	{offsetof(struct args, level), is_level,
	 "debug, info, warning or error"},
	{offsetof(struct args, format), is_format, "text or json"},
	{offsetof(struct args, access), is_on_off, "on or off"},
};

static const struct option options[] = {
	{"data", required_argument, NULL, 0},
	{"listen", required_argument, NULL, 0},
	{"admin", required_argument, NULL, 0},
	{"log-level", required_argument, NULL, 0},
	{"log-format", required_argument, NULL, 0},
	{"access-log", required_argument, NULL, 0},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

/* 0 go on, else the exit code plus one. */
static int read_args(struct args *a, int argc, char **argv)
{
	int c, i;

	optind = 1;
	while ((c = getopt_long(argc, argv, "h", options, &i)) != -1) {
		if (c == 'h') {
			fputs(help, stdout);
			return 1;
		}
		if (c != 0) {
			fputs("Try 'soma serve --help'.\n", stderr);
			return EXIT_USAGE + 1;
		}
		if (values[i].is_right && !values[i].is_right(optarg)) {
			fprintf(stderr, "soma: --%s wants %s, not '%s'\n",
				options[i].name, values[i].wants, optarg);
			return EXIT_USAGE + 1;
		}
		*(const char **)((char *)a + values[i].at) = optarg;
	}
	if (optind < argc) {
		fprintf(stderr, "soma: serve takes no argument '%s'\n",
			argv[optind]);
		return EXIT_USAGE + 1;
	}
	return 0;
}

int keep_serve_main(int argc, char **argv)
{
	cleanup_free char *dir = default_dir();
	struct args a = {dir,
			 env_or("SOMA_LISTEN", "127.0.0.1:8000"),
			 env_or("SOMA_ADMIN_LISTEN", "127.0.0.1:8002"),
			 "info",
			 NULL,
			 "on"};
	struct keep_opts opts = {0};
	enum log_level level = LOG_INFO;
	struct err err = {0};
	int fds[2] = {-1, -1}, lock = -1, rc = read_args(&a, argc, argv);

	if (rc)
		return rc - 1;
	log_level_of(a.level, &level);
	opts.log_json = a.format ? strcmp(a.format, "json") == 0 : -1;
	log_setup("keeper", level, opts.log_json);
	umask(022);
	if (take_data_dir(a.data, &opts.data_dir, &err) ||
	    take_lock(opts.data_dir, &lock, &err) ||
	    bind_listener("listen", a.listen, &fds[0], &opts.listen, &err) ||
	    bind_listener("admin", a.admin, &fds[1], &opts.admin, &err)) {
		rc = fail(&err);
	} else {
		opts.log_level = a.level;
		opts.access_log = a.access;
		rc = keep_run(&opts, fds);
	}
	for (int i = 0; i < 2; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	if (lock >= 0)
		close(lock);
	free(opts.data_dir);
	free(opts.listen);
	free(opts.admin);
	return rc;
}
