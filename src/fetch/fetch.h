/* fetch.h: `soma fetch`: brings what a URL names onto the shelf, whole or not
 * at all, and says as lines of JSON how it goes. Started by the daemon, as a
 * user that owns nothing but the shelf. */
#ifndef FETCH_FETCH_H
#define FETCH_FETCH_H

/* argv[0] is "fetch". The exit code: 0 it is there, 1 failed, 2 wrong
 * arguments. */
int fetch_main(int argc, char **argv);

#endif
