#include "sim/draw.h"

#include <math.h>

/* SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
 * generators", 2014). */
static uint64_t next(struct draw *d)
{
	uint64_t z = d->state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

struct draw draw_begin(uint64_t seed, struct str name)
{
	struct draw d = {0xcbf29ce484222325u};

	/* FNV-1a. */
	for (size_t i = 0; i < name.n; i++)
		d.state = (d.state ^ (unsigned char)name.p[i]) * 0x100000001b3u;
	d.state ^= seed;
	next(&d);
	return d;
}

double draw_unit(struct draw *d)
{
	return (double)(next(d) >> 11) * 0x1p-53;
}

double draw_exp(struct draw *d)
{
	return -log(1 - draw_unit(d));
}
