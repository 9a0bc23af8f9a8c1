/* command.h: the table of commands, and what they end with. */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include "core/args.h"

/* Exit codes: part of the interface (cli_exits has their meaning). */
enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1,
	CLI_USAGE = 2,
	CLI_UNREACHABLE = 3,
	CLI_NOTFOUND = 4,
	CLI_CONFIG = 5,
};

/* A word and what it means. NULL ends a list. */
struct meaning {
	const char *word, *text;
};
extern const struct meaning cli_exits[], cli_environment[];

/* All commands in the order that help lists them; NULL behind the last. */
const struct command *command_at(size_t i);
/* NULL: there is none. */
const struct command *command_find(const char *name);
/* The name that was meant, or NULL. */
const char *command_near(const char *name);
/* `soma serve`, whose row and work are another layer's. NULL: not here. */
void command_set_serve(const struct command *serve);

/* One file each. */
int cmd_init(const struct args *a);
int cmd_deploy(const struct args *a);
int cmd_patch(const struct args *a); /* deploy.c */
int cmd_get(const struct args *a);
int cmd_logs(const struct args *a);
int cmd_predict(const struct args *a);
int cmd_delete(const struct args *a);
int cmd_refresh(const struct args *a);
int cmd_history(const struct args *a);
int cmd_rollback(const struct args *a);
int cmd_scale(const struct args *a);
int cmd_upgrade(const struct args *a);
int cmd_promote(const struct args *a);
int cmd_explain(const struct args *a);
int cmd_models(const struct args *a);
int cmd_secret(const struct args *a);
int cmd_completion(const struct args *a);
int cmd_doctor(const struct args *a);
int cmd_schema(const struct args *a);
int cmd_simulate(const struct args *a);
int cmd_version(const struct args *a);
int cmd_help(const struct args *a);

#endif
