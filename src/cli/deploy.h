/* deploy.h: what deploys a project, for commands that ask for a new revision in
 * another way. */
#ifndef CLI_DEPLOY_H
#define CLI_DEPLOY_H

#include "cli/admin.h"
#include "cli/command.h"

/* Posts to that path of the admin API, which answers with one api's new
 * revision; follows its rollout by the flags of `soma deploy`, --force aside.
 * body may be NULL. Returns the exit code. */
int deploy_anew(const struct args *a, const char *path,
		const struct body *body);

#endif
