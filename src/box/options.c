#include "box/options.h"

#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "box/box.h"
#include "core/mem.h"
#include "core/str.h"

enum kind { OPT_TEXT, OPT_NUMBER, OPT_LIST, OPT_FLAG };

struct option {
	const char *name;
	const char *arg; /* NULL: a flag */
	enum kind kind;
	size_t at; /* offset in struct box_options */
	int64_t min, max;
	const char *text;
};

#define AT(field) offsetof(struct box_options, field)

static const struct option table[] = {
	{"--name", "ID", OPT_TEXT, AT(name), 0, 0,
	 "replica id; SOMA_REPLICA in the program's environment"},
	{"--instance", "NAME", OPT_TEXT, AT(instance), 0, 0,
	 "which Soma this is; SOMA_INSTANCE in the program's environment"},
	{"--dir", "DIR", OPT_TEXT, AT(dir), 0, 0,
	 "working directory, entered as the program's user"},
	{"--uid", "N", OPT_NUMBER, AT(uid), 0, UINT32_MAX - 1,
	 "run as this user; 0 or absent: stay. Skipped when not root"},
	{"--gid", "N", OPT_NUMBER, AT(gid), 0, UINT32_MAX - 1,
	 "run as this group; absent with --uid: the same number"},
	{"--home", "DIR", OPT_TEXT, AT(home), 0, 0,
	 "HOME, with TMPDIR in DIR/tmp; made when absent, owned by the user"},
	{"--cgroup", "PATH", OPT_TEXT, AT(cgroup), 0, 0,
	 "group to make and join: soma-<instance>/<replica>, below the "
	 "group the box is in; what the machine does not allow is left out"},
	{"--mem-limit", "BYTES", OPT_NUMBER, AT(mem_limit), 0, INT64_MAX,
	 "memory and swap the group may use together; 0: no limit"},
	{"--cpu-millis", "N", OPT_NUMBER, AT(cpu_millis), 0, 1024 * 1000,
	 "processors reserved, in thousandths: weight of the group when "
	 "processors are short, and the thread-count variables (rounded up) "
	 "that the environment does not set itself. Not a limit"},
	{"--cpu-weight", "N", OPT_NUMBER, AT(cpu_weight), 0, 1024 * 1000,
	 "weight of the group, where it is not what is reserved"},
	{"--cpus", "LIST", OPT_TEXT, AT(cpus), 0, 0,
	 "run on these processors only (0-3,8): a limit, set by nothing else"},
	{"--oom-score-adj", "N", OPT_NUMBER, AT(oom_score_adj), -1000, 1000,
	 "how early the kernel chooses it when memory is out"},
	{"--nofile", "N", OPT_NUMBER, AT(nofile), 0, 1 << 30,
	 "open files; lowered to what the hard limit allows when not root"},
	{"--keep-fds", "LIST", OPT_TEXT, AT(keep_fds), 0, 0,
	 "descriptors the program inherits beside 0, 1 and 2 (3,4); all "
	 "others are closed"},
	{"--need", "PATH", OPT_LIST, AT(needs), 0, 0,
	 "must be readable by the program's user, a directory searchable "
	 "too; may be repeated"},
	{"--mask", "DIR", OPT_LIST, AT(masks), 0, 0,
	 "the program sees an empty directory here, in a mount namespace of "
	 "its own, but for what --bind names; may be repeated"},
	{"--bind", "PATH", OPT_LIST, AT(binds), 0, 0,
	 "below a --mask and seen all the same; may be repeated"},
	{"--parent-pid", "PID", OPT_NUMBER, AT(parent_pid), 1, INT_MAX,
	 "end at once unless this is the parent; dies with the parent"},
	{"--status-fd", "FD", OPT_NUMBER, AT(status_fd), 3, INT_MAX,
	 "pipe that gets one JSON line on failure (5)"},
	{"--env-fd", "FD", OPT_NUMBER, AT(env_fd), 3, INT_MAX,
	 "the program's environment, K=V each ended by a NUL: the box itself "
	 "obeys none of it. Absent: what the box was given"},
	{"--report", NULL, OPT_FLAG, AT(report), 0, 0,
	 "say what this machine allows, and end"},
	{"--help", NULL, OPT_FLAG, AT(help), 0, 0, "say this, and end"},
};

/* The option that `arg` is, with its value's start when it is "--x=value". */
static const struct option *find(const char *arg, const char **ret_value)
{
	size_t n = strcspn(arg, "=");

	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		if (strlen(table[i].name) != n ||
		    memcmp(table[i].name, arg, n) != 0)
			continue;
		*ret_value = arg[n] ? arg + n + 1 : NULL;
		return &table[i];
	}
	return NULL;
}

static bool number(const char *text, int64_t *ret)
{
	bool minus = text[0] == '-';
	uint64_t v;

	if (!str_u64(str_of(text + minus), &v) || v > INT64_MAX)
		return false;
	*ret = minus ? -(int64_t)v : (int64_t)v;
	return true;
}

static int store(struct box_options *o, const struct option *opt,
		 const char *value, struct fail *f)
{
	void *field = (char *)o + opt->at;
	struct box_list *list = field;
	int64_t v;

	switch (opt->kind) {
	case OPT_FLAG:
		*(bool *)field = true;
		break;
	case OPT_TEXT:
		*(const char **)field = value;
		break;
	case OPT_NUMBER:
		if (!number(value, &v) || v < opt->min || v > opt->max)
			return fail_set(f, "options", 0,
					"%s wants a number from %lld to %lld, "
					"not '%s'",
					opt->name, (long long)opt->min,
					(long long)opt->max, value);
		*(int64_t *)field = v;
		break;
	case OPT_LIST:
		if (list->n == ARRAY_LEN(list->item))
			return fail_set(f, "options", 0,
					"%s is given more than %zu times",
					opt->name, list->n);
		if (value[0] != '/')
			return fail_set(f, "options", 0,
					"%s wants an absolute path, not '%s'",
					opt->name, value);
		list->item[list->n++] = value;
		break;
	}
	return 0;
}

int options_parse(struct box_options *o, int argc, char **argv, struct fail *f)
{
	*o = (struct box_options){.status_fd = BOX_FD_STATUS};
	for (int i = 1; i < argc; i++) {
		const struct option *opt;
		const char *value;

		if (strcmp(argv[i], "--") == 0) {
			o->program = i + 1 < argc ? argv + i + 1 : NULL;
			break;
		}
		opt = find(argv[i], &value);
		if (!opt || (!opt->arg && value))
			return fail_set(f, "options", 0,
					"unknown option '%s' (soma box --help "
					"lists them)",
					argv[i]);
		if (opt->arg && !value) {
			if (i + 1 == argc)
				return fail_set(f, "options", 0, "%s wants %s",
						opt->name, opt->arg);
			value = argv[++i];
		}
		if (store(o, opt, value, f))
			return -1;
		if (opt->at == AT(oom_score_adj))
			o->has_oom_score_adj = true;
	}
	if (o->uid && !o->gid)
		o->gid = o->uid;
	if (!o->program && !o->help && !o->report)
		return fail_set(f, "options", 0,
				"no program to run: soma box OPTIONS -- "
				"PROGRAM ARGS...");
	return 0;
}

/* `text` in lines of at most 54 columns behind a margin of 24. */
static void print_wrapped(FILE *out, const char *text)
{
	while (*text) {
		size_t n = strlen(text);

		if (n > 54) {
			n = 54;
			while (n > 1 && text[n] != ' ')
				n--;
		}
		fprintf(out, "%.*s\n", (int)n, text);
		text += n;
		while (*text == ' ')
			text++;
		if (*text)
			fprintf(out, "%24s", "");
	}
}

void options_help(FILE *out)
{
	fputs("usage: soma box OPTIONS -- PROGRAM ARGS...\n\n"
	      "Starts PROGRAM as the keeper starts every replica: own "
	      "session,\n"
	      "user, group of processes and limits, and nothing inherited "
	      "that\nwas not named.\n\n",
	      out);
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		char head[64];

		snprintf(head, sizeof head, "%s %s", table[i].name,
			 table[i].arg ? table[i].arg : "");
		fprintf(out, "  %-21s ", head);
		print_wrapped(out, table[i].text);
	}
	fprintf(out,
		"\nExit status: PROGRAM's own; %d when a --need is not met; "
		"%d when\nPROGRAM could not be started for another reason.\n",
		BOX_EXIT_NEED, BOX_EXIT_FAIL);
}
