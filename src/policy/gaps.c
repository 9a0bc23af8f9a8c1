#include "policy/gaps.h"

#include <string.h>

static const double FADE = 1.0 / 64;
/* What weighs as much as gaps that were seen, and how much of it never ends. */
static const double PRIOR = 4, NEVER = 0.4;

/* Bin i of two for each doubling ends at 1 ms * 2^(i/2); those of clocks, a
 * hundredth behind their time. Of the prior's gaps that end, each of the first
 * 53 has 1/88, divided by the logarithm where a clock's parts it, and a clock's
 * has 5/88 more. */
static const struct {
	double end; /* seconds */
	float prior;
} bins[GAPS_BINS] = {
	/* clang-format off */
	{0.001, 0.011364F}, {0.0014142136, 0.011364F}, {0.002, 0.011364F},
	{0.0028284271, 0.011364F}, {0.004, 0.011364F},
	{0.0056568542, 0.011364F}, {0.008, 0.011364F},
	{0.011313708, 0.011364F}, {0.016, 0.011364F}, {0.022627417, 0.011364F},
	{0.032, 0.011364F}, {0.045254834, 0.011364F}, {0.064, 0.011364F},
	{0.090509668, 0.011364F}, {0.128, 0.011364F}, {0.18101934, 0.011364F},
	{0.256, 0.011364F}, {0.36203867, 0.011364F}, {0.512, 0.011364F},
	{0.72407734, 0.011364F}, {1.024, 0.011364F}, {1.4481547, 0.011364F},
	{2.048, 0.011364F}, {2.8963094, 0.011364F}, {4.096, 0.011364F},
	{5.7926188, 0.011364F}, {8.192, 0.011364F}, {11.585238, 0.011364F},
	{16.384, 0.011364F}, {23.170475, 0.011364F}, {32.768, 0.011364F},
	{46.34095, 0.011364F}, {60.6, 0.065614F}, {65.536, 0.0025675F},
	{92.6819, 0.011364F}, {131.072, 0.011364F}, {185.3638, 0.011364F},
	{262.144, 0.011364F}, {303, 0.061567F}, {370.7276, 0.0066146F},
	{524.288, 0.011364F}, {606, 0.061567F}, {741.4552, 0.0066146F},
	{909, 0.063498F}, {1048.576, 0.0046836F}, {1482.9104, 0.011364F},
	{1818, 0.063498F}, {2097.152, 0.0046836F}, {2965.8208, 0.011364F},
	{3636, 0.063498F}, {4194.304, 0.0046836F}, {5931.6416, 0.011364F},
	{7272, 0.063498F}, {8388.608, 0.0046836F}, {11863.283, 0.011364F},
	{16777.216, 0.011364F}, {23726.566, 0.011364F}, {33554.432, 0.011364F},
	{47453.133, 0.011364F}, {67108.864, 0.011364F}, {94906.266, 0.0F},
	{134217.73, 0.0F}, {189812.53, 0.0F}, {268435.46, 0.0F},
	{379625.06, 0.0F}, {536870.91, 0.0F}, {759250.12, 0.0F},
	/* clang-format on */
};

double gaps_bin_end(uint32_t bin)
{
	return bins[bin].end;
}

static uint32_t bin_of(double gap)
{
	uint32_t low = 0, high = GAPS_BINS - 1;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (gap <= bins[middle].end)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

void gaps_learn(struct gaps *g, double gap)
{
	const float keep = (float)(1 - FADE);
	uint32_t last = bin_of(gap);

	for (uint32_t i = 0; i <= last; i++) {
		g->came[i] = g->came[i] * keep + 1;
		g->ended[i] *= keep;
	}
	g->ended[last] += 1;
}

void gaps_expect(const struct gaps *g, double from, double ret[GAPS_BINS])
{
	uint32_t first = from > 0 ? bin_of(from) + 1 : GAPS_BINS;
	double left = 1, prior = PRIOR;

	memset(ret, 0, GAPS_BINS * sizeof *ret);
	for (uint32_t i = 0; i < GAPS_BINS; i++) {
		double in = PRIOR * (1 - NEVER) * (double)bins[i].prior;
		double ends = left * (g->ended[i] + in) / (g->came[i] + prior);

		ret[i < first ? i : bin_of(bins[i].end - from)] += ends;
		left -= ends;
		prior -= in;
	}
}
