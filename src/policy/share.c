#include "policy/share.h"

#include "core/mem.h"

int64_t share_millis(int64_t cpu_millis, unsigned processes, bool beyond)
{
	int64_t each = cpu_millis > 0 ? cpu_millis : SHARE_DEFAULT_MILLIS;

	each /= MAX(processes, 1u);
	return MAX(beyond ? each / SHARE_BEYOND : each, 1);
}
