/* process_warm.c: that a process has answered its warm-up requests, for the
 * next daemon: a file beside its socket says so. What the keeper has of it was
 * written when it was started. */
#include <fcntl.h>
#include <unistd.h>

#include "core/mem.h"
#include "serve/process_parts.h"

static char *warm_path(const struct process *p)
{
	cleanup_free char *name = mem_printf("%s" PROCESS_WARM, p->name);

	return local_socket_path(p->local, name);
}

void process__find_warm(struct process *p)
{
	cleanup_free char *path = warm_path(p);

	p->warm = access(path, F_OK) == 0;
}

void process_keep_warm(struct process *p)
{
	cleanup_free char *path = warm_path(p);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	/* Without it the next daemon asks once more. */
	p->warm = fd >= 0;
	if (fd >= 0)
		close(fd);
}

bool process_is_warm(const struct process *p)
{
	return p->warm;
}

void process__forget_warm(const struct process *p)
{
	cleanup_free char *path = p->warm ? warm_path(p) : NULL;

	if (path)
		unlink(path);
}
