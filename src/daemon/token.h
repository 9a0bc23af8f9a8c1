/* token.h: the admin API's token, and how the CLI finds it. */
#ifndef DAEMON_TOKEN_H
#define DAEMON_TOKEN_H

#include "core/err.h"

/* Reads DATA/admin.token, or makes it (mode 0600). free() the token. */
int token_get(const char *data_dir, char **ret, struct err *err);
/* Leaves DATA/run/admin.json and the user's ~/.config/soma/daemons/PORT.json;
 * warns where it cannot. */
void token_announce(const char *data_dir, const char *admin_url,
		    const char *data_url);

#endif
