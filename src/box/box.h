/* box.h: `soma box`, the launcher between the keeper's fork and the exec of a
 * replica or of an environment's build. */
#ifndef BOX_BOX_H
#define BOX_BOX_H

/*
 * Descriptors the keeper places before it execs `soma box`. 3 and 4 reach the
 * program when --keep-fds names them (docs/internals/control-channel.md).
 */
enum {
	BOX_FD_LISTEN = 3,
	BOX_FD_CONTROL = 4,
	BOX_FD_STATUS = 5, /* write end; close-on-exec from the box's start */
	BOX_FD_ENV = 6,	   /* the program's environment, for --env-fd */
};

/*
 * What the status pipe says: end of file without a byte once the program has
 * been exec'ed, else one line
 *     {"step":"need","errno":13,"message":"...","remedy":"..."}
 * and the box exits with one of these. errno is 0 where no system call failed;
 * remedy is "" where there is none to give. Steps: options, parent, session,
 * cgroup, mask, limits, user, home, environment, dir, need, exec.
 */
enum {
	BOX_EXIT_NEED = 126, /* step need: a path the user cannot reach */
	BOX_EXIT_FAIL = 127, /* any other step */
};

/* Marks in the environment of everything the box started (box/stray.h). */
#define BOX_ENV_REPLICA "SOMA_REPLICA"
#define BOX_ENV_INSTANCE "SOMA_INSTANCE"

/* argv[0] is the command's own name, options start at argv[1]; see --help.
 * Returns only on failure, or after --help and --report, with the exit
 * status. */
int box_main(int argc, char **argv);

#endif
