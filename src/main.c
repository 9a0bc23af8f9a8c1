/* main.c: one program, six roles: keeper, daemon, launcher, fetcher, reader,
 * CLI. */
#include <stdlib.h>
#include <string.h>

#include "box/box.h"
#include "cli/main.h"
#include "core/mem.h"
#include "daemon/daemon.h"
#include "fetch/fetch.h"
#include "keep/keep.h"
#include "warm/warm.h"

static const struct {
	const char *word;
	int (*main)(int argc, char **argv);
} roles[] = {
	{"daemon", daemon_main},
	{"box", box_main},
	{"fetch", fetch_main},
	{"warm", warm_main},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < ARRAY_LEN(roles); i++)
		if (strcmp(argv[1], roles[i].word) == 0)
			return roles[i].main(argc - 1, argv + 1);
	return cli_main(argc, argv, keep_serve());
}
