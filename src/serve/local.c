#include "serve/local.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>

#include "box/reach.h"
#include "box/stray.h"
#include "core/json.h"
#include "core/mem.h"
#include "keep/proto.h"
#include "loop/log.h"
#include "serve/process_parts.h"

enum { GROUPS_MS = 2000 };

static void on_keeper_message(struct chan *c, const void *data, size_t len,
			      const int *fds, size_t n_fds);
static void on_keeper_end(struct chan *c);

/* The control group of a process that is dead: everything left in it is being
 * killed, which takes the kernel a moment. */
struct ending {
	struct list link;
	char *leaf; /* owned */
	unsigned turns;
};

static void ending_free(struct ending *e)
{
	list_remove(&e->link);
	free(e->leaf);
	free(e);
}

/* A zygote may die while what it has forked is still in its group, and the
 * keeper perhaps still to answer. */
static bool has_forks(const struct local *l, const char *leaf)
{
	for (const struct list *it = l->processes.next; it != &l->processes;
	     it = it->next) {
		const struct process *p = CONTAINER_OF(
			(struct list *)(uintptr_t)it, struct process, link);

		if (p->zygote && p->state != PROCESS_EXITED &&
		    (p->unborn || !list_empty(&p->newborn_link)) &&
		    strcmp(p->zygote, leaf) == 0)
			return true;
	}
	return false;
}

static bool ending_done(struct local *l, struct ending *e)
{
	if (has_forks(l, e->leaf))
		return false;
	cgroup_kill(&l->groups, e->leaf, NULL);
	return cgroup_remove(&l->groups, e->leaf, NULL) == 0 ||
	       ++e->turns > 100;
}

bool local_is_busy(const struct local *l)
{
	return !list_empty(&l->endings) || !list_empty(&l->newborn);
}

void local_tick(struct local *l)
{
	struct list *it, *tmp;

	LIST_EACH (&l->endings, it, tmp) {
		struct ending *e = LIST_ENTRY(it, struct ending, link);

		if (ending_done(l, e))
			ending_free(e);
	}
	local__wean(l);
	local__tick_left(l);
}

void local__end_group(struct local *l, const char *name)
{
	struct ending *e;

	if (l->groups.mode == CGROUP_NONE)
		return;
	e = mem_alloc(sizeof *e);
	e->leaf = mem_strdup(name);
	list_push_back(&l->endings, &e->link);
	if (ending_done(l, e))
		ending_free(e);
}

/* A group of an earlier life, whose process nobody knows any more. */
static void end_unknown_groups(struct local *l)
{
	struct list *it, *tmp;
	size_t n = 0;
	char **names;

	if (l->groups.mode == CGROUP_NONE)
		return;
	names = cgroup_list(&l->groups, &n);
	for (size_t i = 0; i < n; i++) {
		bool known = strcmp(names[i], "soma-main") == 0;

		LIST_EACH (&l->processes, it, tmp) {
			struct process *p =
				LIST_ENTRY(it, struct process, link);

			known = known || strcmp(p->name, names[i]) == 0;
		}
		if (!known)
			local__end_group(l, names[i]);
	}
	cgroup_list_free(names, n);
}

/* Its socket, or the mark that it is warm. */
static bool is_of(const struct process *p, const char *file)
{
	size_t n = strlen(p->name);

	return strncmp(file, p->name, n) == 0 &&
	       (!file[n] || strcmp(file + n, PROCESS_WARM) == 0);
}

/* Those of nobody, likewise. */
static void remove_unknown_sockets(struct local *l)
{
	cleanup_free char *path = mem_printf("%s/run/s", l->data_dir);
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		struct list *it, *tmp;
		bool known = entry->d_name[0] == '.';

		LIST_EACH (&l->processes, it, tmp) {
			struct process *p =
				LIST_ENTRY(it, struct process, link);

			known = known || is_of(p, entry->d_name);
		}
		if (!known)
			unlinkat(l->socket_dir, entry->d_name, 0);
	}
	if (dir)
		closedir(dir);
}

/* ---- messages to the keeper ---- */

void local__tell(struct local *l, uint16_t type, uint64_t id, int32_t arg)
{
	struct keep_head head = {.type = type, .arg = arg, .id = id};

	if (!l->yielded || type == KEEP_HOLDS)
		chan_send(&l->chan, &head, sizeof head, NULL, 0, NULL, 0);
}

static void tell_text(struct local *l, uint16_t type, int32_t arg,
		      const char *text)
{
	struct keep_head head = {.type = type, .arg = arg};

	chan_send(&l->chan, &head, sizeof head, text, text ? strlen(text) : 0,
		  NULL, 0);
}

int local_open(struct local *l, uv_loop_t *loop, const char *data_dir,
	       int keeper_fd, struct err *err)
{
	cleanup_free char *dir = mem_printf("%s/run/s", data_dir);
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	struct err why = {0};
	int rc;

	if (n < 0)
		return err_sys(err, errno, "reading /proc/self/exe");
	self[n] = 0;
	/* What this daemon runs was replaced: replicas are started by the
	 * program that has its name now. */
	if (n > 10 && strcmp(self + n - 10, " (deleted)") == 0)
		self[n - 10] = 0;
	l->loop = loop;
	l->data_dir = data_dir;
	l->keeper = getppid();
	l->root = geteuid() == 0;
	l->next_id = 1;
	list_init(&l->processes);
	l->adopting = true;
	l->socket_dir = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (l->socket_dir < 0)
		return err_sys(err, errno, "opening '%s'", dir);
	rc = chan_open(&l->chan, loop, keeper_fd, on_keeper_message,
		       on_keeper_end);
	if (rc) {
		close(l->socket_dir);
		return err_set(err, E_INTERNAL, "channel to the keeper: %s",
			       uv_strerror(rc));
	}
	l->self = mem_strdup(self);
	l->blocked = l->root ? box_blocked_ancestor(data_dir) : NULL;
	list_init(&l->endings);
	list_init(&l->newborn);
	cgroup_instance(data_dir, l->instance);
	cgroups_init(&l->groups, l->instance, "");
	if (cgroups_prepare(&l->groups, &why))
		log_info(LOG_F(F_S("mode", cgroup_mode_name(l->groups.mode))),
			 "control groups: %s, going on without", why.msg);
	/* Replicas together are as many programs as can compute at once: beside
	 * others of this machine they are not one. */
	cgroup_weigh(&l->groups, "", 1000LL * sysconf(_SC_NPROCESSORS_ONLN));
	local__tell(l, KEEP_HELLO, 0, 0);
	return 0;
}

void local_serving(struct local *l)
{
	local__tell(l, KEEP_SERVING, 0, 0);
}

void local_upgrade(struct local *l, const char *program)
{
	tell_text(l, KEEP_UPGRADE, 0, program);
}

void local_leave(struct local *l)
{
	struct list *it, *tmp;

	l->yielded = true;
	LIST_EACH (&l->processes, it, tmp)
		process__leave(LIST_ENTRY(it, struct process, link));
}

void local_yielded(struct local *l, const char *why_not)
{
	tell_text(l, KEEP_YIELDED, why_not != NULL, why_not);
}

void local_holds(struct local *l, const struct process *p, unsigned n,
		 unsigned placed)
{
	unsigned most = KEEP_HOLDS_MOST;

	local__tell(l, KEEP_HOLDS, p->id,
		    (int32_t)(MIN(placed, most) << KEEP_HOLDS_SHIFT |
			      MIN(n, most)));
}

void local_settings(struct local *l, const char *dump, size_t len)
{
	struct keep_head head = {.type = KEEP_SETTINGS};

	chan_send(&l->chan, &head, sizeof head, dump, len, NULL, 0);
}

void local_close(struct local *l)
{
	assert(list_empty(&l->processes));
	if (chan_is_open(&l->chan))
		chan_close(&l->chan, NULL);
	while (!list_empty(&l->endings))
		ending_free(LIST_ENTRY(l->endings.next, struct ending, link));
	/* Busy when a launcher is just dying: the next start clears it away. */
	cgroups_remove(&l->groups, NULL);
	cgroups_fini(&l->groups);
	close(l->socket_dir);
	free(l->self);
	free(l->blocked);
}

static void on_keeper_end(struct chan *c)
{
	struct local *l = CONTAINER_OF(c, struct local, chan);

	l->on_keeper_lost(l);
}

void local_kill_all(struct local *l)
{
	struct list *it, *tmp;

	LIST_EACH (&l->processes, it, tmp) {
		struct process *p = LIST_ENTRY(it, struct process, link);

		if (p->pid > 1)
			kill(-p->pid, SIGKILL);
		cgroup_kill(&l->groups, p->name, NULL);
	}
	box_kill_strays(l->instance, NULL);
	/* Also those of processes that nobody here has heard of. */
	cgroups_end(&l->groups, GROUPS_MS, NULL);
}

/* The socket's directory may lie deeper than a socket address is long; the
 * way by descriptor never does. */
char *local_socket_path(struct local *l, const char *name)
{
	return mem_printf("/proc/self/fd/%d/%s", l->socket_dir, name);
}

/* ---- what the keeper says ---- */

static struct process *by_id(struct local *l, uint64_t id)
{
	struct list *it, *tmp;

	LIST_EACH (&l->processes, it, tmp) {
		struct process *p = LIST_ENTRY(it, struct process, link);

		if (p->id == id)
			return p;
	}
	return NULL;
}

static void adopt(struct local *l, const struct keep_head *head,
		  struct str meta, const int *fds, size_t n_fds)
{
	cleanup_free char *text = mem_strndup(meta.p, meta.n);
	cleanup_json yyjson_doc *doc = json_parse(meta.p, meta.n, NULL);
	yyjson_val *root = yyjson_doc_get_root(doc);
	struct process *p = process__new(
		l, head->id, json_str(root, "name", "unknown"), text);
	cleanup_free char *path = local_socket_path(l, p->name);

	p->pid = head->arg;
	p->state = PROCESS_RUNNING;
	p->launched = true;
	process__adopt_forked(p, root);
	l->next_id = MAX(l->next_id, head->id + 1);
	if (access(path, F_OK) == 0)
		p->socket = mem_take(&path);
	process__find_warm(p);
	if (n_fds > 0)
		process__hear_log(p, fds[0]);
	if (n_fds > 1)
		process__hear_control(p, fds[1]);
	/* Without its log it would block one day, and without its channel be
	 * taken for stuck. */
	if (!p->log_open || (n_fds > 1 && !p->control_open) ||
	    !l->on_adopt(l, p, text))
		process_abandon(p);
}

/* handle: a pidfd of one that was forked, or -1; the callee's. */
static void spawned(struct local *l, const struct keep_head *head, int handle)
{
	struct process *p = by_id(l, head->id);

	if (p && p->zygote) {
		process__born(p, head->arg, handle);
		return;
	}
	if (handle >= 0)
		close(handle);
	if (!p)
		return;
	if (head->arg > 0) {
		p->pid = head->arg;
		p->state = PROCESS_RUNNING;
		return;
	}
	process__dead(p, mem_printf("cannot start a process: %s",
				    strerror(-head->arg)));
}

static void held(struct local *l, struct process *p, unsigned arg)
{
	unsigned n = arg & ((1 << KEEP_HOLDS_SHIFT) - 1);

	if (p && !process__held(p, n))
		l->on_held(l, p, n, arg >> KEEP_HOLDS_SHIFT);
}

static void on_keeper_message(struct chan *c, const void *data, size_t len,
			      const int *fds, size_t n_fds)
{
	struct local *l = CONTAINER_OF(c, struct local, chan);
	struct keep_head head;
	struct process *p;

	if (len < sizeof head)
		return;
	memcpy(&head, data, sizeof head);
	if (l->yielded && head.type != KEEP_STOP &&
	    head.type != KEEP_UPGRADED) {
		while (n_fds)
			close(fds[--n_fds]);
		return;
	}
	switch (head.type) {
	case KEEP_LISTENER:
		if (n_fds == 1)
			l->on_listener(l, head.arg, fds[0]);
		else
			log_error(NULL, "a listener did not arrive: out of "
					"file descriptors");
		break;
	case KEEP_CHILD:
		adopt(l, &head,
		      (struct str){(const char *)data + sizeof head,
				   len - sizeof head},
		      fds, n_fds);
		break;
	case KEEP_END:
		l->adopting = false;
		local__end_left(l);
		end_unknown_groups(l);
		remove_unknown_sockets(l);
		l->on_adopted_all(l);
		break;
	case KEEP_SPAWNED:
		spawned(l, &head, n_fds ? fds[0] : -1);
		break;
	case KEEP_EXIT:
		p = by_id(l, head.id);
		if (p)
			process__dead(p, process__cause(p, head.arg));
		else
			local__tell(l, KEEP_FORGET, head.id, 0);
		break;
	case KEEP_STOP:
		l->on_stop(l);
		break;
	case KEEP_YIELD:
		l->on_yield(l);
		break;
	case KEEP_UPGRADED:
		l->on_upgraded(l, head.arg == 0,
			       (struct str){(const char *)data + sizeof head,
					    len - sizeof head});
		break;
	case KEEP_HELD:
		held(l, by_id(l, head.id), (unsigned)head.arg);
		break;
	case KEEP_RELOAD:
		if (l->on_reload)
			l->on_reload(l);
		break;
	default:
		log_warn(LOG_F(F_I("type", head.type)),
			 "unknown message from the keeper, ignoring");
	}
}
