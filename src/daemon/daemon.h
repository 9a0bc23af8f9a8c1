/* daemon.h: the daemon: gateway and control plane, wired together. */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

/* `soma daemon`, started by the keeper. The process' exit code;
 * DAEMON_EXIT_CONFIG for what starting it again won't mend. */
enum { DAEMON_EXIT_CONFIG = 78 };
int daemon_main(int argc, char **argv);

#endif
