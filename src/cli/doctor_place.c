/* Where a daemon is or would be: its addresses, its directory. */
#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cli/doctor.h"
#include "core/mem.h"

static const uint64_t SPACE_NEEDED = 100ull << 20, SPACE_WANTED = 5ull << 30;

void doctor_daemon(struct doctor *d, struct finding *f)
{
	struct answer an;
	CURLcode rc = admin_try(&d->ad, "GET", "/v1/info", NULL, &an);
	yyjson_val *info = answer_root(&an);

	if (rc != CURLE_OK) {
		finding_set(f, DOCTOR_WARNING, "none answers at %s", d->ad.url);
	} else if (an.status == 200 && json_str(info, "version", NULL)) {
		const char *version = json_str(info, "version", "");
		bool same = strcmp(version, SOMA_VERSION) == 0;

		d->daemon_runs = true;
		d->data_url = mem_strdup(json_str(info, "data_url", NULL));
		free(d->data_dir);
		d->data_dir = mem_strdup(json_str(info, "data_dir", "/"));
		finding_set(f, same ? DOCTOR_OK : DOCTOR_WARNING,
			    "version %s at %s", version, d->ad.url);
		if (!same) {
			finding_add(f, "this program is " SOMA_VERSION);
			snprintf(f->remedy, sizeof f->remedy,
				 "start it anew with this program, or use the "
				 "program that it was started with");
		}
	} else if (an.status == 401) {
		d->daemon_runs = true;
		finding_set(f, DOCTOR_WARNING,
			    "answers at %s, and wants its token", d->ad.url);
		snprintf(f->remedy, sizeof f->remedy,
			 "run this as the user who runs the daemon, or set "
			 "SOMA_TOKEN to the line in admin.token of its data "
			 "directory");
	} else {
		finding_set(f, DOCTOR_WARNING,
			    "what answers at %s is not its admin address",
			    d->ad.url);
	}
	answer_fini(&an);
}

/* The deepest folder of path that is there. */
static char *existing(const char *path)
{
	char *at = mem_strdup(path), *slash;
	struct stat st;

	while (stat(at, &st) != 0 && errno == ENOENT &&
	       (slash = strrchr(at, '/')))
		slash[slash == at ? 1 : 0] = '\0';
	if (stat(at, &st) != 0 && !strchr(at, '/')) {
		free(at);
		at = mem_strdup(".");
	}
	return at;
}

void doctor_data(struct doctor *d, struct finding *f)
{
	cleanup_free char *at = existing(d->data_dir);
	bool there = strcmp(at, d->data_dir) == 0;
	struct statvfs vfs;
	struct statfs fs;
	struct stat st;

	finding_set(f, DOCTOR_OK, "%s%s", d->data_dir,
		    there ? "" : ", to be made");
	if (stat(at, &st) != 0)
		finding_set(f, DOCTOR_MISSING, "%s cannot be looked at: %s",
			    d->data_dir, strerror(errno));
	else if (!S_ISDIR(st.st_mode))
		finding_set(f, DOCTOR_MISSING, "%s: %s is not a folder",
			    d->data_dir, at);
	else if (access(at, W_OK | X_OK) != 0)
		finding_set(f, DOCTOR_MISSING,
			    "%s: this user may not write in %s", d->data_dir,
			    at);
	else if (statvfs(at, &vfs) == 0 && vfs.f_flag & ST_RDONLY)
		finding_set(f, DOCTOR_MISSING, "%s is on a read-only disk",
			    d->data_dir);
	else if (statvfs(at, &vfs) == 0 && vfs.f_flag & ST_NOEXEC)
		finding_set(f, DOCTOR_MISSING,
			    "%s is on a disk where nothing can be executed "
			    "(noexec)",
			    d->data_dir);
	else if (statfs(at, &fs) == 0 && fs.f_type == NFS_SUPER_MAGIC)
		finding_set(f, DOCTOR_WARNING,
			    "%s is on NFS, where SQLite's locks may not hold",
			    d->data_dir);
}

void doctor_space(struct doctor *d, struct finding *f)
{
	cleanup_free char *at = existing(d->data_dir);
	struct statvfs vfs;
	uint64_t left;
	char text[32];

	if (statvfs(at, &vfs) != 0) {
		finding_set(f, DOCTOR_WARNING, "cannot be told of %s: %s", at,
			    strerror(errno));
		return;
	}
	left = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	finding_set(f,
		    left < SPACE_NEEDED	  ? DOCTOR_MISSING
		    : left < SPACE_WANTED ? DOCTOR_WARNING
					  : DOCTOR_OK,
		    "%s left", str_human_bytes(left, text));
}

/* 0, or why nobody could listen at "HOST:PORT". */
static int try_address(const char *address)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				 .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	cleanup_free char *host = mem_strdup(address);
	char *port = strrchr(host, ':'), *name = host;
	struct addrinfo *found;
	int one = 1, sys = 0;
	cleanup_close int fd = -1;

	if (!port)
		return EINVAL;
	*port++ = '\0';
	if (name[0] == '[' && port[-2] == ']') {
		port[-2] = '\0';
		name++;
	}
	if (getaddrinfo(name, port, &hints, &found) != 0)
		return EADDRNOTAVAIL;
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* As the daemon does: what waits after a close is no hindrance. */
	if (fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
	    bind(fd, found->ai_addr, found->ai_addrlen) != 0 ||
	    listen(fd, 1) != 0)
		sys = errno;
	freeaddrinfo(found);
	return sys;
}

static void look_at(struct finding *f, const char *variable,
		    const char *address)
{
	const char *given = getenv(variable);
	int sys;

	if (given && *given)
		address = given;
	sys = try_address(address);
	if (sys == 0)
		finding_set(f, DOCTOR_OK, "%s is free", address);
	else if (sys == EADDRINUSE)
		finding_set(f, DOCTOR_MISSING, "%s is taken", address);
	else
		finding_set(f, DOCTOR_MISSING, "%s cannot be listened on: %s",
			    address, strerror(sys));
}

void doctor_listen(struct doctor *d, struct finding *f)
{
	if (d->daemon_runs)
		finding_set(f, DOCTOR_OK, "%s",
			    d->data_url ? d->data_url : "the daemon's");
	else
		look_at(f, "SOMA_LISTEN", "127.0.0.1:8000");
}

void doctor_admin(struct doctor *d, struct finding *f)
{
	if (d->daemon_runs)
		finding_set(f, DOCTOR_OK, "%s", d->ad.url);
	else
		look_at(f, "SOMA_ADMIN_LISTEN", "127.0.0.1:8002");
}
