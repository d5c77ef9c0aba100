/* SPDX-License-Identifier: Apache-2.0 */
/* Groups in measured distances. */
#include <base/err.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <topo/topo.h>

/* Nodes of one team are near (base), others far; every pair somewhat off, by up to noise (0.3: 30 %). */
struct world { const char *team; double near, far, noise; const char *lost; };

static double distance(void *ctx, int a, int b)
{
	const struct world *w = ctx;
	unsigned seed = (unsigned)(a * 1009 + b * 9176 + 1);
	double off = 1 + w->noise * (rand_r(&seed) % 1000) / 1000.0;

	if (w->lost && (w->lost[a] == 'x' || w->lost[b] == 'x'))
		return b % 2 ? NAN : 0;
	return (w->team[a] == w->team[b] ? w->near : w->far) * off;
}

static void groups(const char *team, double near, double far, double noise, const char *lost, const char *expected)
{
	struct world w = { team, near, far, noise, lost };
	int32_t group[32];
	int n = (int)strlen(team), count = topo_group(n, distance, &w, 2, group), most = 0;
	char got[33] = "";

	for (int i = 0; i < n; i++) {
		got[i] = (char)('0' + group[i]);
		most = group[i] > most ? group[i] : most;
	}
	cr_expect_str_eq(got, expected, "%s: %s", team, got);
	cr_expect_eq(count, most + 1);
}

Test(topo_group, a_clear_gap)
{
	groups("aaaabbbb", 1e-6, 5e-6, 0.5, NULL, "00001111");
	groups("abababab", 1e-6, 5e-6, 0.5, NULL, "01010101");
	groups("cabbaccab", 1e-6, 3e-6, 0.3, NULL, "012210012");
	groups("ab", 1, 9, 0, NULL, "00");                              /* two nodes: no gap between one distance and itself */
	groups("aab", 1, 9, 0, NULL, "001");
	groups("a", 1, 9, 0, NULL, "0");
}

Test(topo_group, no_clear_gap)
{
	groups("aaaabbbb", 1e-6, 1.5e-6, 0.0, NULL, "00000000");
	groups("aaaaaaaa", 1e-6, 5e-6, 0.9, NULL, "00000000");
	groups("aabcdefg", 1e-6, 5e-6, 0.1, NULL, "00000000");          /* one lucky pair is no structure */
}

Test(topo_group, what_is_not_known_is_far)
{
	groups("aaaaaaaa", 1e-6, 5e-6, 0.5, ".....x..", "00000100");
	groups("aaaabbbb", 1e-6, 5e-6, 0.5, "xxxxxxxx", "00000000");
}

/* A chain of near neighbours is one group, however long. */
static double line(void *ctx, int a, int b)
{
	(void)ctx;
	return fabs((double)(a + (a > 7 ? 10 : 0)) - (b + (b > 7 ? 10 : 0)));
}

Test(topo_group, chains_hold_together)
{
	int32_t group[16];

	cr_assert_eq(topo_group(16, line, NULL, 2, group), 2);
	for (int i = 0; i < 16; i++)
		cr_expect_eq(group[i], i > 7);
}

/* Of two directions the longer counts. */
static double one_way(void *ctx, int a, int b)
{
	(void)ctx;
	return a / 4 == b / 4 || a > b ? 1 : 4;
}

Test(topo_group, both_ways_count)
{
	int32_t group[8];

	cr_assert_eq(topo_group(8, one_way, NULL, 2, group), 2);
	cr_assert(group[3] == 0 && group[4] == 1);
}
