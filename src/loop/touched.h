/* touched.h: the pages that a fork writes to before its first answer.
 *
 * A page that it shares with its zygote is copied when it writes to it, which
 * costs a trap into the kernel for each. Those of the first fork are noted,
 * once it has answered, where the zygote's later forks see them; these have
 * them copied in a few calls, for two thirds of what the traps would cost. What
 * a fork does not write to after all has been copied in vain. */
#ifndef LOOP_TOUCHED_H
#define LOOP_TOUCHED_H

/* In the zygote, before the first fork. Without memory, or before Linux 5.14,
 * nothing is noted. */
void touched_init(void);
/* In a fork, before anything else. */
void touched_ahead(void);
/* In a fork that has answered for the first time: notes them, if nobody has.
 * Takes a millisecond or two then. */
void touched_note(void);

#endif
