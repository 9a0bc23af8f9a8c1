/* split.h: what a TrafficSplitter has sent where, for people. */
#ifndef CLI_SPLIT_H
#define CLI_SPLIT_H

#include "core/json.h"

/* The member "splitter" of an api; null: nothing. */
void split_print(yyjson_val *splitter);

/* How far its canary is, or how that ended. */
void split_print_canary(yyjson_val *canary);

#endif
