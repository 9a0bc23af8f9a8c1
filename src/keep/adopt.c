#include "keep/adopt.h"

#include <errno.h>
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

/* The pid is a word of a process that runs user code: signals are sent only to
 * what the kernel says is below us, and nobody else's. */
static bool is_ours(struct list *children, pid_t pid)
{
	siginfo_t info;

	return pid > 1 && !child_by_pid(children, pid) &&
	       waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) ==
		       0;
}

int adopt_child(struct list *children, struct adopt_ends *ends,
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
	else if (!is_ours(children, pid)) {
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
