/* birth.c: a process that a zygote has forked, until it is one like the others:
 * known to the keeper, and in a control group of its own.
 *
 *   FORK to the zygote ── FORKED ── ADOPT to the keeper ── SPAWNED ─ ─ ─ group
 *   unborn                unborn                           running, newborn
 *
 * The first three take a millisecond, and its READY may come before any of
 * them. To be moved to another group takes the kernel longer than all of it (it
 * waits for all processors once, some 8 ms, be it for one or for many), and
 * holds up forks meanwhile. So it is done in the pool, and a while later;
 * sooner of those that still run user code then, for what it takes is to be
 * their own. One with a limit waits for its CONFIG until it has been moved:
 * what it takes is its own from the first byte.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/json.h"
#include "core/mem.h"
#include "keep/proto.h"
#include "loop/log.h"
#include "serve/process_parts.h"

enum { NEWBORN_MS = 1000 };

static void wean(struct process *p);

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
	yyjson_mut_obj_add_str(doc, root, "mark", p->name);
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

static void close_handle(struct process *p)
{
	if (p->handle >= 0)
		close(p->handle);
	p->handle = -1;
}

void process__born(struct process *p, int32_t answer, int handle)
{
	p->handle = handle;
	if (answer <= 0) {
		process__dead(p, mem_printf("the keeper does not find it: %s",
					    strerror(-answer)));
		return;
	}
	p->unborn = false;
	p->pid = answer;
	p->state = PROCESS_RUNNING;
	p->started_ms = (int64_t)uv_now(p->local->loop);
	if (p->local->groups.mode == CGROUP_NONE) {
		close_handle(p);
	} else {
		list_push_back(&p->local->newborn, &p->newborn_link);
		if (p->config)
			wean(p);
	}
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
	p->heard = true; /* by the last daemon, perhaps */
	/* Whether that came to moving it nobody knows; twice does no harm. Nor
	 * does a number that is another's by now: nobody has forked since. */
	if (p->pid <= 1 || p->local->groups.mode == CGROUP_NONE)
		return;
	p->handle = (int)syscall(SYS_pidfd_open, p->pid, 0);
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

		if (!p->unborn || p->forked || p->state == PROCESS_EXITED ||
		    strcmp(p->zygote, zygote->name) != 0)
			continue;
		if (p->control_open)
			chan_drain(&p->control);
		p->forked = p->said > 1;
		if (p->forked)
			ask_keeper(p, p->said);
		else
			process__dead(p, mem_strdup("its zygote ended before "
						    "it was forked"));
	}
}

/* ---- its control group ---- */

struct weaning {
	uv_work_t work;
	struct process *p; /* lives until we are done: one of its handles */
	struct err err;
};

void process__weaned(struct process *p)
{
	list_remove(&p->newborn_link);
}

static void on_wean(uv_work_t *work)
{
	struct weaning *w = work->data;
	struct process *p = w->p;
	struct cgroups *groups = &p->local->groups;

	/* What the machine does not allow was said of the zygote already. */
	cgroup_create(groups, p->name, &p->limits, NULL);
	cgroup_move(groups, p->zygote, p->name, p->pid, p->handle, &w->err);
}

/* It is in its group, or stays where it is. */
static void begin(struct process *p)
{
	cleanup_free char *config = mem_take(&p->config);

	if (config && p->state == PROCESS_RUNNING)
		process_send(p, FRAME_CONFIG, 0, config);
}

static void on_weaned(uv_work_t *work, int status)
{
	struct weaning *w = work->data;
	struct process *p = w->p;

	(void)status;
	p->weaning = false;
	close_handle(p);
	/* Then the zygote's group lives as long as it does. */
	p->stays = w->err.code == E_FORBIDDEN;
	if (p->stays)
		log_warn(LOG_F(F_S("process", p->name)), "%s%s", w->err.msg,
			 p->limits.mem_bytes ? "; mem_limit is not enforced"
					     : ", ignoring");
	else
		process__weaned(p);
	free(w);
	begin(p);
	/* Its group was ended before it was made. */
	if (p->state == PROCESS_EXITED)
		local__end_group(p->local, p->name);
	process__handle_closed(p);
}

/* If the pool has no room it is for the next turn. */
static void wean(struct process *p)
{
	struct weaning *w = mem_alloc(sizeof *w);

	w->work.data = w;
	w->p = p;
	if (uv_queue_work(p->local->loop, &w->work, on_wean, on_weaned)) {
		free(w);
		return;
	}
	p->weaning = true;
	p->handles++;
}

void local__wean(struct local *l)
{
	int64_t now = (int64_t)uv_now(l->loop);
	struct list *it, *tmp;

	LIST_EACH (&l->newborn, it, tmp) {
		struct process *p =
			LIST_ENTRY(it, struct process, newborn_link);

		int64_t after = p->soon ? PROCESS_BEGUN_MS : NEWBORN_MS;

		if (!p->weaning && !p->stays &&
		    (p->config || now - p->started_ms >= after))
			wean(p);
	}
}
