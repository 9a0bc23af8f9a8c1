/* birth.c: a process that a zygote has forked, until it is one like the others:
 * known to the keeper, and in a control group of its own.
 *
 *   FORK to the zygote ── FORKED ── ADOPT to the keeper ── SPAWNED ─ ─ ─ group
 *   unborn                unborn                           running, newborn
 *
 * The first three take a millisecond, and its READY may come before any of
 * them. To be moved to another group takes the kernel longer than all of it,
 * and holds up forks meanwhile: that is done in the pool, a while later.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "core/json.h"
#include "core/mem.h"
#include "keep/proto.h"
#include "loop/log.h"
#include "serve/process_parts.h"

enum { NEWBORN_MS = 1000 };

static struct process *unborn_of(struct process *zygote, uint32_t number)
{
	struct list *it, *tmp;

	LIST_EACH (&zygote->local->processes, it, tmp) {
		struct process *p = LIST_ENTRY(it, struct process, link);

		if (p->unborn && !p->forked && p->state != PROCESS_EXITED &&
		    (uint32_t)p->id == number &&
		    strcmp(p->zygote, zygote->name) == 0)
			return p;
	}
	return NULL;
}

/* The keeper gets it, with what the next daemon is to have of it. */
static void ask_keeper(struct process *p, pid_t pid)
{
	struct keep_head head = {.type = KEEP_ADOPT, .arg = pid, .id = p->id};
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	cleanup_free char *text = NULL;
	uv_os_fd_t log = -1;
	size_t len;
	int fds[2];

	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_str(doc, root, "mark", p->zygote);
	yyjson_mut_obj_add_str(doc, root, "meta", p->meta);
	yyjson_mut_obj_add_int(doc, root, "uid", (int64_t)p->uid);
	text = json_write(doc, &len);
	if (p->log_open)
		uv_fileno((uv_handle_t *)&p->log, &log);
	fds[0] = log;
	fds[1] = p->control_open ? p->control.fd : -1;
	/* One that has closed either is on its way out. */
	chan_send(&p->local->chan, &head, sizeof head, text, len, fds,
		  log >= 0 && fds[1] >= 0 ? 2 : 0);
}

void process__forked(struct process *zygote, uint32_t number,
		     struct str payload)
{
	cleanup_json yyjson_doc *doc = json_parse(payload.p, payload.n, NULL);
	yyjson_val *root = yyjson_doc_get_root(doc);
	struct process *p = unborn_of(zygote, number);
	int64_t pid = json_int(root, "pid", 0);

	if (!p)
		return;
	p->forked = true;
	zygote->forks--;
	zygote->forks_since = uv_now(p->local->loop);
	if (pid > 1 && pid <= INT32_MAX)
		ask_keeper(p, (pid_t)pid);
	else
		process__dead(p, mem_printf("it could not be forked: %s",
					    json_str(root, "error",
						     "no reason given")));
}

void process__born(struct process *p, int32_t answer)
{
	if (answer <= 0) {
		process__dead(p, mem_printf("the keeper does not find it: %s",
					    strerror(-answer)));
		return;
	}
	p->unborn = false;
	p->pid = answer;
	p->state = PROCESS_RUNNING;
	p->started_ms = (int64_t)uv_now(p->local->loop);
	if (p->local->groups.mode != CGROUP_NONE)
		list_push_back(&p->local->newborn, &p->newborn_link);
	if (p->first_sign)
		process_signal(p, p->first_sign);
}

void process__adopt_forked(struct process *p, yyjson_val *meta)
{
	const char *zygote = json_str(meta, "zygote", NULL);

	if (!zygote)
		return;
	p->zygote = mem_strdup(zygote);
	p->limits = (struct cgroup_limits){
		.mem_bytes = json_int(meta, "mem_limit", 0),
		.cpu_millis = json_int(meta, "cpu_millis", 0)};
	/* Whether the last daemon came to it nobody knows; twice does no harm.
	 */
	if (p->local->groups.mode != CGROUP_NONE)
		list_push_back(&p->local->newborn, &p->newborn_link);
}

void process__end_unborn(struct process *zygote)
{
	struct list *it, *tmp;

	zygote->forks = 0;
	/* One that is there all the same finds its control channel closed; of
	 * those that it has told of the keeper knows. */
	LIST_EACH (&zygote->local->processes, it, tmp) {
		struct process *p = LIST_ENTRY(it, struct process, link);

		if (p->unborn && !p->forked && p->state != PROCESS_EXITED &&
		    strcmp(p->zygote, zygote->name) == 0)
			process__dead(p, mem_strdup("its zygote ended before "
						    "it was forked"));
	}
}

/* ---- its control group ---- */

struct weaning {
	uv_work_t work;
	struct process *p; /* lives until we are done: one of its handles */
	pid_t pid;
};

void process__weaned(struct process *p)
{
	list_remove(&p->newborn_link);
}

static void on_wean(uv_work_t *work)
{
	struct weaning *w = work->data;
	struct cgroups *groups = &w->p->local->groups;

	/* What the machine does not allow was said of the zygote already. */
	cgroup_create(groups, w->p->name, &w->p->limits, NULL);
	cgroup_join(groups, w->p->name, w->pid, NULL);
}

static void on_weaned(uv_work_t *work, int status)
{
	struct weaning *w = work->data;
	struct process *p = w->p;

	(void)status;
	free(w);
	process__weaned(p);
	/* Its group was ended before it was made. */
	if (p->state == PROCESS_EXITED)
		local__end_group(p->local, p->name);
	process__handle_closed(p);
}

void local__wean(struct local *l)
{
	int64_t now = (int64_t)uv_now(l->loop);
	struct list *it, *tmp;

	LIST_EACH (&l->newborn, it, tmp) {
		struct process *p =
			LIST_ENTRY(it, struct process, newborn_link);
		struct weaning *w;

		if (p->weaning || now - p->started_ms < NEWBORN_MS)
			continue;
		w = mem_alloc(sizeof *w);
		w->work.data = w;
		w->p = p;
		w->pid = p->pid;
		if (uv_queue_work(l->loop, &w->work, on_wean, on_weaned)) {
			free(w);
			continue;
		}
		p->weaning = true;
		p->handles++;
	}
}
