/* chance.h: how probable numbers of failed requests are, if nothing is wrong.
 */
#ifndef POLICY_CHANCE_H
#define POLICY_CHANCE_H

#include <stdint.h>

struct chance_sample {
	uint64_t requests, errors;
};

/* That as many or more of the errors of both are among `its` requests, if who
 * fails is chance: Fisher's exact test, one-sided (R. A. Fisher, Statistical
 * Methods for Research Workers, 5th ed., 1934, 21.02). 1 where the others have
 * no requests, or fail as often. */
double chance_fisher(struct chance_sample its, struct chance_sample others);
/* That as many or more of its requests fail, if each does with probability p:
 * the exact binomial tail (C. J. Clopper, E. S. Pearson, Biometrika 26, 1934).
 */
double chance_binomial(struct chance_sample its, double p);

#endif
