/* upgrade.c: from one daemon to the next, with nobody who connects refused.
 * keeper_parts.h has the states; ARCHITECTURE.md who owns what in each. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "core/mem.h"
#include "keep/child.h"
#include "keep/keeper_parts.h"
#include "loop/log.h"

enum {
	CHECK_MS = 15000, /* to load the program, and to look at the store */
	START_MS = 30000, /* until READY: what replicas need is copied */
	YIELD_MS = 40000, /* longer than the old one waits for what is begun */
	TAKE_MS = 30000,  /* to load the store, and to adopt: nobody accepts */
};

static void on_late(uv_timer_t *timer);

/* ---- how it went ---- */

static void tell(struct keeper *k, int code, const char *text)
{
	struct upgrade *u = &k->upgrade;
	struct tenant *t = k->daemon && k->daemon->pid == u->asker
				   ? k->daemon
				   : tenant_by_pid(&k->retired, u->asker);

	if (u->asker)
		tenant_say(t, KEEP_UPGRADED, 0, code, text, NULL, 0);
	u->asker = 0;
}

static void over(struct keeper *k)
{
	struct upgrade *u = &k->upgrade;

	uv_timer_stop(&u->timer);
	u->state = UPGRADE_NONE;
	u->killed = false;
	candidate_clear(&u->candidate);
}

/* Nothing has changed. text is freed. */
static void refuse(struct keeper *k, char *text)
{
	log_error(NULL, "no upgrade: %s", text);
	tell(k, 1, text);
	free(text);
	over(k);
}

void upgrade_begin(struct keeper *k, const char *program, pid_t asker)
{
	struct upgrade *u = &k->upgrade;
	const char *busy = k->state != RUNNING || !k->serving
				   ? "the daemon is not up yet, or is ending"
				   : "an upgrade is under way already";
	struct err err = {0};

	if (u->state != UPGRADE_NONE || candidate_is_open(&u->candidate) ||
	    k->state != RUNNING || !k->serving) {
		log_warn(NULL, "no upgrade: %s; try again when it is over",
			 busy);
		if (k->daemon && asker == k->daemon->pid)
			tenant_say(k->daemon, KEEP_UPGRADED, 0, 1, busy, NULL,
				   0);
		return;
	}
	u->asker = asker;
	u->candidate.program =
		mem_strdup(program && *program ? program : k->self);
	if (candidate_may_run(&u->candidate, k->opts->data_dir, &err)) {
		refuse(k, mem_strdup(err.msg));
		return;
	}
	if (candidate_start(&u->candidate, &k->loop, k->opts->data_dir)) {
		refuse(k, mem_printf("starting '%s': %s", u->candidate.program,
				     strerror(errno)));
		return;
	}
	u->state = UPGRADE_CHECKING;
	log_info(LOG_F(F_S("program", u->candidate.program)),
		 "upgrade: looking at it");
	uv_timer_start(&u->timer, on_late, CHECK_MS, 0);
}

/* ---- CHECKING is over ---- */

static void start_next(struct keeper *k)
{
	struct upgrade *u = &k->upgrade;

	u->next = tenant_start(k, u->candidate.program, -1, true);
	if (!u->next) {
		refuse(k, mem_printf("starting '%s': %s", u->candidate.program,
				     strerror(errno)));
		return;
	}
	u->state = UPGRADE_STARTING;
	uv_timer_start(&u->timer, on_late, START_MS, 0);
}

static void checked(struct keeper *k, int status)
{
	struct upgrade *u = &k->upgrade;
	struct err err = {0};
	int rc = candidate_ended(&u->candidate, status, &err);

	if (u->state != UPGRADE_CHECKING)
		return;
	if (u->killed)
		refuse(k, mem_printf("'%s' did not say within %d s what it is; "
				     "it was ended",
				     u->candidate.program, CHECK_MS / 1000));
	else if (rc)
		refuse(k, mem_strdup(err.msg));
	else
		start_next(k);
}

/* The new daemon has ended before anything was its. */
static char *why_it_ended(const struct upgrade *u, int status)
{
	cleanup_free char *end = candidate_end_in_words(status);

	if (u->killed && u->state == UPGRADE_YIELDING)
		return mem_printf("the daemon that serves did not let another "
				  "take over within %d s: it hangs, or has "
				  "very much to do; it goes on",
				  YIELD_MS / 1000);
	return mem_printf("the new daemon %s before it could take over (%s); "
			  "its last words are in Soma's log",
			  u->killed ? "took too long and was ended" : "ended",
			  end);
}

bool upgrade_on_exit(struct keeper *k, pid_t pid, int status)
{
	struct upgrade *u = &k->upgrade;

	if (u->candidate.pid && pid == u->candidate.pid) {
		checked(k, status);
		return true;
	}
	if (!u->next || u->next->pid != pid)
		return false;
	tenant_free(mem_take(&u->next));
	/* YIELDING: the old one may have yielded by now; then
	 * upgrade_on_yielded finds nobody, and starts what served. */
	if (u->state == UPGRADE_STARTING || u->state == UPGRADE_YIELDING)
		refuse(k, why_it_ended(u, status));
	return true;
}

/* ---- from one to the other ---- */

void upgrade_on_ready(struct keeper *k, struct tenant *t)
{
	struct upgrade *u = &k->upgrade;

	if (u->state != UPGRADE_STARTING || t != u->next)
		return;
	u->state = UPGRADE_YIELDING;
	uv_timer_start(&u->timer, on_late, YIELD_MS, 0);
	/* The old one died meanwhile. */
	if (!k->daemon) {
		upgrade_on_death(k);
		return;
	}
	tenant_say(k->daemon, KEEP_YIELD, 0, 0, NULL, NULL, 0);
}

/* The file that the process runs, wherever its name leads by now. */
static int file_of(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
	return open(path, O_PATH | O_CLOEXEC);
}

static void hand_over(struct keeper *k)
{
	struct upgrade *u = &k->upgrade;

	u->state = UPGRADE_TAKING;
	uv_timer_start(&u->timer, on_late, TAKE_MS, 0);
	keeper__instal(k, mem_take(&u->next));
	tenant_say(k->daemon, KEEP_GO, 0, 0, NULL, NULL, 0);
}

static void set_fallback(struct keeper *k, int fd)
{
	if (k->fallback >= 0)
		close(k->fallback);
	k->fallback = fd;
}

void upgrade_on_yielded(struct keeper *k, struct tenant *t, const char *why)
{
	struct upgrade *u = &k->upgrade;

	if (t != k->daemon)
		return;
	if (why) {
		if (u->next)
			kill(u->next->pid, SIGKILL);
		if (u->state == UPGRADE_YIELDING)
			refuse(k, mem_strdup(why));
		return;
	}
	k->daemon = NULL;
	list_push_back(&k->retired, &t->link);
	/* For the case that what comes now does not get to serve. */
	set_fallback(k, file_of(t->pid));
	if (u->next && u->state == UPGRADE_YIELDING)
		hand_over(k);
	else
		keeper__instal(k, NULL); /* which starts one */
}

void upgrade_on_serving(struct keeper *k)
{
	struct upgrade *u = &k->upgrade;

	if (u->state != UPGRADE_TAKING)
		return;
	free(k->self);
	k->self = mem_take(&u->candidate.program);
	set_fallback(k, -1);
	log_info(LOG_F(F_S("version", u->candidate.version),
		       F_I("pid", (int64_t)k->daemon->pid)),
		 "upgraded: a new daemon serves");
	tell(k, 0, u->candidate.version);
	over(k);
}

bool upgrade_on_death(struct keeper *k)
{
	struct upgrade *u = &k->upgrade;

	/* Its connections are lost; what it had asked for is in the store. */
	if (u->state == UPGRADE_YIELDING && u->next) {
		hand_over(k);
		return true;
	}
	if (u->state == UPGRADE_TAKING)
		refuse(k, mem_printf("the new daemon %s; one is started from "
				     "the program that served before",
				     u->killed ? "took too long to take over "
						 "and was ended"
					       : "ended before it served"));
	return false;
}

static void on_late(uv_timer_t *timer)
{
	struct keeper *k = CONTAINER_OF(timer, struct keeper, upgrade.timer);
	struct upgrade *u = &k->upgrade;

	u->killed = true;
	candidate_kill(&u->candidate);
	if (u->next)
		kill(u->next->pid, SIGKILL);
	/* Everybody waits for it. */
	if (u->state == UPGRADE_TAKING && k->daemon)
		kill(k->daemon->pid, SIGKILL);
}

void upgrade_init(struct keeper *k)
{
	uv_timer_init(&k->loop, &k->upgrade.timer);
	candidate_init(&k->upgrade.candidate);
	list_init(&k->retired);
	k->fallback = -1;
}

void upgrade_stop(struct keeper *k)
{
	struct upgrade *u = &k->upgrade;

	candidate_kill(&u->candidate);
	if (u->next)
		kill(u->next->pid, SIGKILL);
	if (u->state == UPGRADE_CHECKING || u->state == UPGRADE_STARTING ||
	    u->state == UPGRADE_YIELDING)
		refuse(k, mem_strdup("Soma is stopping"));
}

void upgrade_close(struct keeper *k)
{
	struct list *it, *tmp;

	tenant_free(mem_take(&k->upgrade.next));
	LIST_EACH (&k->retired, it, tmp)
		tenant_free(LIST_ENTRY(it, struct tenant, link));
	set_fallback(k, -1);
	over(k);
	candidate_fini(&k->upgrade.candidate);
}
