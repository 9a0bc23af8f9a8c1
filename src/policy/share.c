#include "policy/share.h"

#include "core/mem.h"

int64_t share_millis(int64_t cpu_millis, unsigned replicas, unsigned processes,
		     unsigned running)
{
	int64_t each = cpu_millis > 0 ? cpu_millis : SHARE_DEFAULT_MILLIS;
	int64_t n = MAX(replicas, 1u);
	int64_t among = MAX((int64_t)running, n * MAX(processes, 1u));

	return MAX(each * n / among, 1);
}
