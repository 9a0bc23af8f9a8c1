/* users.h: the users that a daemon of root's starts processes as. None of them
 * is anybody: they have no name, no home, and no group but their own. */
#ifndef SERVE_USERS_H
#define SERVE_USERS_H

enum {
	/* Reads what comes from outside, writes the models, and runs nothing
	 * that others wrote. Not that of builds, which do. */
	USER_FETCH = 61182,
	USER_BUILD = 61183,
	/* Replicas, one for each api: the range that systemd gives to such
	 * users. */
	USER_API_FIRST = 61184,
	USER_API_LAST = 65519,
};

#endif
