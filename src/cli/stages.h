/* stages.h: what 'soma get API' says of slots and stages. */
#ifndef CLI_STAGES_H
#define CLI_STAGES_H

#include "core/json.h"

/* Of one API object of the admin API. */
void stages_print(yyjson_val *api);

#endif
