/* batching.h: what `soma get API` shows of batches whose size is learned. */
#ifndef CLI_BATCHING_H
#define CLI_BATCHING_H

#include "core/json.h"

/* Of the replicas of the admin API's answer: the curve of the first that has
 * one; nothing if none has. */
void batching_print(yyjson_val *replicas);

#endif
