/* terminal.h: whether SIGHUP means that the terminal is gone. */
#ifndef KEEP_TERMINAL_H
#define KEEP_TERMINAL_H

#include <stdbool.h>

/* Whether a terminal is ours; not any more, once it has hung up. */
bool terminal_is_there(void);
/* At start: whether Soma is to end with its terminal. Who starts it with
 * `nohup` wants it to stay. */
bool terminal_ends_us(void);

#endif
