#include "policy/share.h"

#include "core/mem.h"

int64_t share_millis(int64_t cpu_millis, unsigned processes, bool beyond)
{
	int64_t each = cpu_millis > 0 ? cpu_millis : SHARE_DEFAULT_MILLIS;

	each /= MAX(processes, 1u);
	return MAX(beyond ? each / SHARE_BEYOND : each, 1);
}

void share_credit(struct share_credit *c, int64_t used_us, int64_t span_us,
		  int64_t claim, int64_t claims, unsigned processors)
{
	const int64_t most = SHARE_CREDIT_MS * INT64_C(1000);
	double part = processors * (double)claim / (double)MAX(claims, claim);

	if (!c->begun)
		*c = (struct share_credit){
			.begun = true, .light = true, .us = most};
	c->us += (int64_t)(part / 2 * (double)span_us) - used_us;
	c->us = MIN(MAX(c->us, 0), most);
	/* Once spent, half of it is to be there again: a weight that comes and
	 * goes is worth nothing. */
	c->light = c->us >= (c->light ? 1 : most / 2);
}

bool share_is_brisk(bool light, uint64_t service_ns)
{
	return light && service_ns >= SHARE_BRISK_US * UINT64_C(1000);
}
