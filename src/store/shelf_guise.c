/* shelf_guise.c: whose rights a shelf is worked on with. */
#include <assert.h>
#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/mem.h"
#include "store/shelf_parts.h"

/* Of this thread alone: the C library would change all threads'. */
static int set_groups(size_t n, const gid_t *groups)
{
	return (int)syscall(SYS_setgroups, n, groups);
}

static void keep_groups(struct shelf_guise *g)
{
	int n = getgroups(0, NULL);

	assert(n >= 0);
	g->groups = mem_alloc(((size_t)n + 1) * sizeof *g->groups);
	g->n_groups = getgroups(n, g->groups);
	assert(g->n_groups >= 0);
}

bool shelf__wear(struct shelf_guise *g, const struct shelf *s)
{
	*g = (struct shelf_guise){0};
	if (s->uid == 0 || (uid_t)setfsuid((uid_t)-1) == s->uid)
		return true;
	prctl(PR_GET_PDEATHSIG, &g->death_signal);
	keep_groups(g);
	g->dumpable = s->dumpable;
	g->worn = true;
	if (set_groups(0, NULL) != 0) {
		g->n_groups = 0; /* he still has them */
		return false;
	}
	setfsgid((gid_t)s->uid);
	setfsuid(s->uid); /* the right to pass over modes goes with it */
	return (uid_t)setfsuid((uid_t)-1) == s->uid;
}

void shelf__take_off(struct shelf_guise *g)
{
	int sys = errno;

	if (!g->worn)
		return;
	g->worn = false;
	setfsuid(0);
	setfsgid(0);
	/* Without its own rights nothing that this thread does is right. */
	if ((uid_t)setfsuid((uid_t)-1) != 0 ||
	    (g->n_groups > 0 &&
	     set_groups((size_t)g->n_groups, g->groups) != 0))
		abort();
	/* The kernel takes both away from who changes his user. */
	if (g->death_signal)
		prctl(PR_SET_PDEATHSIG, g->death_signal);
	if (g->dumpable)
		prctl(PR_SET_DUMPABLE, 1);
	free(mem_take(&g->groups));
	errno = sys;
}

struct shelf_guise shelf__worn(const struct shelf *s)
{
	struct shelf_guise g;
	bool worn = shelf__wear(&g, s);

	assert(worn); /* it could be at shelf_open_as */
	return g;
}
