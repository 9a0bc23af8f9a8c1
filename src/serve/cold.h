/* cold.h: where a replica that was not there came from: the tiers of a cold
 * start, by what is still to be done until the first answer.
 */
#ifndef SERVE_COLD_H
#define SERVE_COLD_H

#include <stdbool.h>

/* In the order of their time. */
enum cold_tier {
	COLD_FROZEN,	     /* a ready replica that was stopped: let it run */
	COLD_ZYGOTE_INIT,    /* forked after `__init__`: it answers at once */
	COLD_ZYGOTE_IMPORTS, /* forked after the user's imports: `__init__` */
	COLD_ZYGOTE_WORKER, /* forked as interpreter and worker: imports, too */
	COLD_PROCESS,	    /* a process started from its program */
	COLD_DISK,	    /* its environment or model had to be made first */
	COLD_TIERS,
};

/* As `X-Soma-Cold`, metrics and `soma get` name it. */
static inline const char *cold_tier_word(enum cold_tier tier)
{
	static const char *const words[COLD_TIERS] = {
		"frozen",	 "zygote-init", "zygote-imports",
		"zygote-worker", "process",	"disk",
	};

	return words[tier];
}

static inline bool cold_tier_is_forked(enum cold_tier tier)
{
	return tier >= COLD_ZYGOTE_INIT && tier <= COLD_ZYGOTE_WORKER;
}

#endif
