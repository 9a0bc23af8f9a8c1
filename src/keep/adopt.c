#include "keep/adopt.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/json.h"
#include "core/mem.h"

void adopt_note_end(struct adopt_ends *ends, pid_t pid, int status)
{
	ends->last[ends->at].pid = pid;
	ends->last[ends->at].status = status;
	ends->at = (ends->at + 1) % ADOPT_ENDS;
}

/* Takes its end out, the newest of that pid. */
static bool take_end(struct adopt_ends *ends, pid_t pid, int *ret_status)
{
	for (unsigned i = 1; i <= ADOPT_ENDS; i++) {
		unsigned at = (ends->at + ADOPT_ENDS - i) % ADOPT_ENDS;

		if (ends->last[at].pid != pid)
			continue;
		*ret_status = ends->last[at].status;
		ends->last[at].pid = 0;
		return true;
	}
	return false;
}

/* All four of its user ids. It is our child and not waited for, so that the
 * number is nobody else's meanwhile. */
static bool runs_as(pid_t pid, int64_t uid)
{
	char path[64], line[256];
	long long id[4] = {-1, -1, -1, -1};
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (fgets(line, sizeof line, f))
		if (sscanf(line, "Uid: %lld %lld %lld %lld", &id[0], &id[1],
			   &id[2], &id[3]) == 4)
			break;
	fclose(f);
	return id[0] == uid && id[1] == uid && id[2] == uid && id[3] == uid;
}

/* The pid is a word of a process that runs user code, which may name any: what
 * is adopted is what the kernel says is below us, runs as the user that the
 * zygote's forks run as, and is nobody else's; never the daemon. */
static bool is_ours(struct list *children, pid_t daemon, pid_t pid, int64_t uid)
{
	siginfo_t info;

	return pid > 1 && pid != daemon && !child_by_pid(children, pid) &&
	       waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) ==
		       0 &&
	       runs_as(pid, uid);
}

int adopt_child(struct list *children, struct adopt_ends *ends, pid_t daemon,
		const struct keep_head *head, struct str payload,
		const int *fds, size_t n_fds)
{
	cleanup_json yyjson_doc *doc = json_parse(payload.p, payload.n, NULL);
	yyjson_val *root = yyjson_doc_get_root(doc);
	pid_t pid = head->arg;
	bool dead = false;
	int status = 0, rc = 0;
	struct child *c;

	if (n_fds != 2)
		rc = -EMFILE; /* some did not fit into our table */
	else if (!is_ours(children, daemon, pid, json_int(root, "uid", -1))) {
		dead = pid > 1 && take_end(ends, pid, &status);
		rc = dead ? 0 : -ESRCH;
	}
	if (rc) {
		while (n_fds)
			close(fds[--n_fds]);
		return rc;
	}
	c = mem_alloc(sizeof *c);
	c->id = head->id;
	c->pid = dead ? 0 : pid;
	c->status = status;
	c->log_fd = fds[0];
	c->control = fds[1];
	c->name = mem_strdup(json_str(root, "mark", "?"));
	c->meta = mem_strdup(json_str(root, "meta", ""));
	list_push_back(children, &c->link);
	return 0;
}
