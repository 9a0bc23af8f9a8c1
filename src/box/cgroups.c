/* Which control groups this machine has for us, and where; the instance's own
 * group. */
#include "box/cgroup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "box/cgfile.h"
#include "core/mem.h"
#include "core/sha256.h"
#include "core/str.h"

/* Controller of a version 1 tree, by enum cgroup_tree. */
static const char *const controllers[CGROUP_TREES] = {
	NULL, "memory", "cpu", "pids", "freezer",
};

/* Whether `word` is one of the comma-separated words of `list`. */
static bool has_word(const char *list, size_t len, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = list; p + n <= list + len; p++) {
		if ((p == list || p[-1] == ',') && memcmp(p, word, n) == 0 &&
		    (p + n == list + len || p[n] == ','))
			return true;
		p = memchr(p, ',', (size_t)(list + len - p));
		if (!p)
			break;
	}
	return false;
}

/* The group this process is in, out of the text of /proc/self/cgroup: lines
 * "4:memory:/path", and "0::/path" for the unified tree. */
static bool own_group(const char *text, enum cgroup_tree tree,
		      char out[PATH_MAX])
{
	for (const char *p = text; *p;) {
		size_t len = strcspn(p, "\n");
		const char *list = memchr(p, ':', len), *path;

		path = list ? memchr(list + 1, ':',
				     len - (size_t)(list + 1 - p))
			    : NULL;
		if (path) {
			size_t n = (size_t)(path - list - 1);
			size_t m = len - (size_t)(path + 1 - p);
			bool is = tree == CGROUP_TREE_UNIFIED
					  ? n == 0
					  : has_word(list + 1, n,
						     controllers[tree]);

			if (is && m < PATH_MAX) {
				memcpy(out, path + 1, m);
				out[m] = 0;
				return true;
			}
		}
		p += len;
		p += *p == '\n';
	}
	return false;
}

/* Where in the mount `point`, whose root is the group `root`, the group `own`
 * lies; the mount itself when it is not inside, as in containers that see only
 * their own part. The text is the caller's. */
static char *place(const struct cgroups *cg, const char *point,
		   const char *root, const char *own)
{
	const char *below = own;
	size_t n = strlen(root);
	char *path;

	if (n > 1 && strncmp(own, root, n) == 0 &&
	    (own[n] == '/' || own[n] == 0))
		below = own + n;
	path = mem_printf("%s%s%s", cg->root, point,
			  strcmp(below, "/") == 0 ? "" : below);
	if (access(path, F_OK)) {
		free(path);
		path = mem_printf("%s%s", cg->root, point);
	}
	return path;
}

/* One line of mountinfo: "31 23 0:28 ROOT POINT opts ... - TYPE src SUPER". */
static void use_mount(struct cgroups *cg, const char *line, const char *groups)
{
	char root[1024], point[1024], type[32], super[1024], own[PATH_MAX];
	const char *dash = strstr(line, " - ");

	if (!dash ||
	    sscanf(line, "%*s %*s %*s %1023s %1023s", root, point) != 2 ||
	    sscanf(dash, " - %31s %*s %1023s", type, super) != 2)
		return;
	for (enum cgroup_tree t = 0; t < CGROUP_TREES; t++) {
		bool is = t == CGROUP_TREE_UNIFIED
				  ? strcmp(type, "cgroup2") == 0
				  : strcmp(type, "cgroup") == 0 &&
					    has_word(super, strlen(super),
						     controllers[t]);

		/* Only the first mount of a tree: others are copies. */
		if (!is || cg->base[t] || !own_group(groups, t, own))
			continue;
		cg->base[t] = place(cg, point, root, own);
		if (t == CGROUP_TREE_UNIFIED)
			cg->top = mem_printf("%s%s", cg->root, point);
	}
}

/* The whole file, whose size the kernel does not tell. */
static char *slurp(const char *root, const char *path)
{
	cleanup_free char *full = mem_printf("%s%s", root, path);
	FILE *f = fopen(full, "re");
	char *text = NULL;
	size_t cap = 0;

	if (f) {
		/* Neither file holds a NUL. */
		if (getdelim(&text, &cap, 0, f) < 0) {
			free(text);
			text = NULL;
		}
		fclose(f);
	}
	return text ? text : mem_strdup("");
}

static bool lists_memory(const char *dir)
{
	char path[PATH_MAX], text[512];
	int n = snprintf(path, sizeof path, "%s/cgroup.controllers", dir);

	if (n < 0 || (size_t)n >= sizeof path ||
	    cgfile_read(path, text, sizeof text))
		return false;
	for (char *p = text; *p; p++)
		if (*p == ' ' || *p == '\n')
			*p = ',';
	return has_word(text, strlen(text), "memory");
}

static void decide_mode(struct cgroups *cg)
{
	bool v1 = false;

	for (enum cgroup_tree t = CGROUP_TREE_MEMORY; t < CGROUP_TREES; t++) {
		if (cg->base[t] && access(cg->base[t], W_OK)) {
			free(mem_take(&cg->base[t]));
			snprintf(cg->why, sizeof cg->why,
				 "the %s control group is not writable for "
				 "this user",
				 controllers[t]);
		}
		v1 = v1 || cg->base[t];
	}
	if (cg->base[CGROUP_TREE_UNIFIED] &&
	    access(cg->base[CGROUP_TREE_UNIFIED], W_OK)) {
		free(mem_take(&cg->base[CGROUP_TREE_UNIFIED]));
		snprintf(cg->why, sizeof cg->why,
			 "the control group of this process is not delegated "
			 "to this user");
	}
	if (v1)
		cg->mode = CGROUP_V1;
	else if (!cg->base[CGROUP_TREE_UNIFIED])
		cg->mode = CGROUP_NONE;
	else if (lists_memory(cg->base[CGROUP_TREE_UNIFIED]) ||
		 (access(cg->top, W_OK) == 0 && lists_memory(cg->top)))
		cg->mode = CGROUP_V2;
	else
		cg->mode = CGROUP_UNIFIED;
	if (cg->mode == CGROUP_NONE && !cg->why[0])
		snprintf(cg->why, sizeof cg->why,
			 "no control groups are mounted");
	if (cg->mode == CGROUP_UNIFIED)
		snprintf(cg->why, sizeof cg->why,
			 "the unified control groups have no memory "
			 "controller here");
}

const char *cgroup_instance(const char *data_dir, char out[CGROUP_INSTANCE_MAX])
{
	cleanup_free char *real = realpath(data_dir, NULL);
	const char *path = real ? real : data_dir;
	char hex[SHA256_HEX];
	struct sha256 h;

	sha256_init(&h);
	sha256_add(&h, path, strlen(path));
	sha256_hex(&h, hex);
	snprintf(out, CGROUP_INSTANCE_MAX, "soma-%.12s", hex);
	return out;
}

/* Where the instance is already, or where it will be: see cgroups_prepare. */
static void settle_unified(struct cgroups *cg)
{
	char **base = &cg->base[CGROUP_TREE_UNIFIED];
	char *last = *base ? strrchr(*base, '/') : NULL;
	cleanup_free char *here = NULL, *there = NULL;

	if (!last)
		return;
	if (strcmp(last + 1, CGFILE_MAIN) == 0)
		*last = 0;
	here = mem_printf("%s/%s", *base, cg->instance);
	there = mem_printf("%s/%s", cg->top, cg->instance);
	if (access(here, F_OK) && access(there, F_OK) == 0) {
		free(*base);
		*base = mem_strdup(cg->top);
	}
}

void cgroups_init(struct cgroups *cg, const char *instance, const char *root)
{
	cleanup_free char *groups = slurp(root, "/proc/self/cgroup");
	cleanup_free char *mounts = slurp(root, "/proc/self/mountinfo");
	char *save = NULL;

	*cg = (struct cgroups){.mode = CGROUP_NONE};
	snprintf(cg->root, sizeof cg->root, "%s", root);
	snprintf(cg->instance, sizeof cg->instance, "%s", instance);
	for (char *line = strtok_r(mounts, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		use_mount(cg, line, groups);
	settle_unified(cg);
	decide_mode(cg);
}

void cgroups_fini(struct cgroups *cg)
{
	for (enum cgroup_tree t = 0; t < CGROUP_TREES; t++)
		free(mem_take(&cg->base[t]));
	free(mem_take(&cg->top));
}

const char *cgroup_mode_name(enum cgroup_mode mode)
{
	static const char *const names[] = {
		[CGROUP_NONE] = "none",
		[CGROUP_UNIFIED] = "unified",
		[CGROUP_V1] = "v1",
		[CGROUP_V2] = "v2",
	};

	return names[mode];
}

int cgroups_remove(struct cgroups *cg, struct err *err)
{
	char path[PATH_MAX];
	int sys = 0;

	for (enum cgroup_tree t = 0; t < CGROUP_TREES; t++) {
		int rc = 0;

		if (cgfile_path(cg, t, "", NULL, path))
			rc = cgfile_remove(cg, path, 0);
		if (rc)
			sys = rc;
	}
	if (!sys)
		return 0;
	return err_set(err, sys == EBUSY || sys == ENOTEMPTY ? E_BUSY : E_IO,
		       "removing control group %s: %s", cg->instance,
		       strerror(sys));
}

struct names {
	char **name; /* owned */
	size_t n;
};

static int on_leaf(const char *path, void *arg)
{
	const char *name = strrchr(path, '/') + 1;
	struct names *names = arg;

	for (size_t i = 0; i < names->n; i++)
		if (strcmp(names->name[i], name) == 0)
			return 0;
	names->name =
		mem_grow(names->name, (names->n + 1) * sizeof *names->name);
	names->name[names->n++] = mem_strdup(name);
	return 0;
}

char **cgroup_list(struct cgroups *cg, size_t *ret_n)
{
	struct names names = {.n = 0};
	char path[PATH_MAX];

	for (enum cgroup_tree t = 0; t < CGROUP_TREES; t++)
		if (cgfile_path(cg, t, "", NULL, path))
			cgfile_each_dir(path, on_leaf, &names);
	*ret_n = names.n;
	return names.name;
}

void cgroup_list_free(char **names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(names[i]);
	free(names);
}

/* One look at every leaf. */
static void end_leaves(struct cgroups *cg)
{
	size_t n;
	char **names = cgroup_list(cg, &n);

	for (size_t i = 0; i < n; i++) {
		if (cgroup_remove(cg, names[i], NULL) == 0)
			continue;
		cgroup_kill(cg, names[i], NULL);
		cgroup_remove(cg, names[i], NULL);
	}
	cgroup_list_free(names, n);
}

int cgroups_end(struct cgroups *cg, unsigned max_ms, struct err *err)
{
	const struct timespec pause = {0, 5 * 1000 * 1000};
	int rc;

	if (cg->mode == CGROUP_NONE)
		return 0;
	for (unsigned ms = 0;; ms += 5) {
		end_leaves(cg);
		rc = cgroups_remove(cg, err);
		if (!rc || ms >= max_ms)
			return rc;
		nanosleep(&pause, NULL);
	}
}
