/* A host that has loaded its model and serves nothing: it waits on its control
 * channel and is forked, each time into a replica. It has one thread and no
 * loop; an engine that has made threads, or opened what a fork would share, is
 * not forked. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/mem.h"
#include "host/host.h"
#include "loop/fork.h"

enum { WHY_MAX = 400 };

/* ---- whether it is safe ---- */

static bool has_threads(char why[WHY_MAX])
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *e;
	bool found = false;

	while (dir && !found && (e = readdir(dir))) {
		char path[300], name[64] = "";
		FILE *f;

		if (!isdigit((unsigned char)e->d_name[0]) ||
		    strtol(e->d_name, NULL, 10) == getpid())
			continue;
		snprintf(path, sizeof path, "/proc/self/task/%s/comm",
			 e->d_name);
		f = fopen(path, "re");
		if (f && fgets(name, sizeof name, f))
			name[strcspn(name, "\n")] = 0;
		if (f)
			fclose(f);
		snprintf(why, WHY_MAX, "a thread of the engine's runs (%s)",
			 name);
		found = true;
	}
	if (dir)
		closedir(dir);
	return found;
}

/* Files are closed by who has read them, and stay mapped without; what is still
 * open has a state that all would share. */
static bool is_shared(int fd, char why[WHY_MAX])
{
	char path[64], name[300];
	struct stat st;
	ssize_t n;

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	n = readlink(path, name, sizeof name - 1);
	if (n < 0 || fstat(fd, &st) < 0 || S_ISDIR(st.st_mode))
		return false;
	name[n] = 0;
	if (strcmp(name, "/dev/null") == 0 ||
	    (S_ISREG(st.st_mode) && fcntl(fd, F_GETFL) & O_APPEND))
		return false;
	snprintf(why, WHY_MAX, "the engine has %s open (descriptor %d)", name,
		 fd);
	return true;
}

static bool has_open(int control, char why[WHY_MAX])
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *e;
	bool found = false;

	while (dir && !found && (e = readdir(dir))) {
		int fd = atoi(e->d_name);

		if (fd > STDERR_FILENO && fd != control && fd != dirfd(dir))
			found = is_shared(fd, why);
	}
	if (dir)
		closedir(dir);
	return found;
}

/* ---- being one ---- */

static void no_progress(void *data, const char *text)
{
	(void)data;
	(void)text; /* nobody waits for it */
}

_Noreturn static void say_and_end(int control, enum frame_type type,
				  const char *text, int code)
{
	fork_send(control, type, 0, text, strlen(text));
	_exit(code);
}

static void load(struct host *h, int control)
{
	struct err err = {0};

	h->plugin.progress = no_progress;
	crash_watch(control, h->config.engine);
	if (!plugin_open(&h->plugin, &h->config, &err) &&
	    h->config.max_batch_size > 1)
		batch_check_ports(h->plugin.ports, config_batch_key(&h->config),
				  &err);
	crash_forget();
	if (err.code)
		say_and_end(control, FRAME_FAILED, control_failure(&err), 1);
}

static void look(int control)
{
	char why[WHY_MAX], text[WHY_MAX + 64];

	if (!has_threads(why) && !has_open(control, why))
		return;
	for (char *p = why; *p; p++)
		if (*p == '"' || *p == '\\' || (unsigned char)*p < ' ')
			*p = '?';
	snprintf(text, sizeof text,
		 "{\"level\":\"init\",\"why\":\"with the model loaded %s\"}",
		 why);
	say_and_end(control, FRAME_UNSAFE, text, 0);
}

/* In the child: the listener and the channel are its own. */
static int become_replica(struct host *h, int control,
			  const struct fork_order *o)
{
	fork_settle(o);
	close(control);
	h->listener = o->fds[FORK_LISTENER];
	return o->fds[FORK_CONTROL];
}

int zygote_wait(struct host *h, int control)
{
	static const char ready[] = "{\"level\":\"init\"}";
	struct fork_order o;

	load(h, control);
	look(control);
	fork_init();
	fork_send(control, FRAME_READY, 0, ready, strlen(ready));
	while (fork_receive(control, &o) && o.head.type != FRAME_STOP) {
		pid_t pid = -EMFILE;

		if (o.head.type == FRAME_FORK) {
			if (fork_is_complete(&o))
				pid = fork_twice();
			if (pid == 0)
				return become_replica(h, control, &o);
			fork_tell(control, o.head.arg, pid);
		}
		if (o.head.type == FRAME_PING)
			fork_send(control, FRAME_PONG, o.head.arg, NULL, 0);
		if (o.head.type == FRAME_QUERY)
			fork_send(control, FRAME_READY, 0, ready,
				  strlen(ready));
		fork_close(&o);
	}
	_exit(0);
}
