/* SPDX-License-Identifier: Apache-2.0 */
/* Words for what the simulator has found. */
#include <plan/explain.h>
#include <stdio.h>
#include <string.h>

static int nodes_of(const struct topo *t)
{
	int n = 0;
	for (int p = 0; p < t->nplaces; p++)
		n += t->place[p].kind == TOPO_NODE;
	return n;
}

/* "2 x 7/8", when it is such a part for n machines or ranks; otherwise "1.31 x". */
static int share(char *buf, size_t cap, double ratio, int nodes, int ranks)
{
	const int of[] = { nodes, ranks };
	for (int i = 0; i < 2; i++)
		for (int times = 1; times <= 2; times++) {
			double exact = of[i] > 1 ? times * (of[i] - 1.0) / of[i] : 0;
			if (exact > 0 && ratio / exact > 0.995 && ratio / exact < 1.005)
				return snprintf(buf, cap, "%s%d/%d of", times == 2 ? "2 x " : "", of[i] - 1, of[i]);
		}
	return snprintf(buf, cap, "%.3g x", ratio);
}

int explain_limit(char *buf, size_t cap, const struct sim_result *r, uint64_t bytes, const struct topo *topo)
{
	bool core = !strncmp(r->busiest, "core", 4), memory = !strncmp(r->busiest, "memory", 6);
	char part[48];
	if (r->busy < 0.5)
		return snprintf(buf, cap, "latency: %s, the busiest, is busy %.0f %% of the time", r->busiest, r->busy * 100);
	if (core && r->passes * (double)bytes < 1e9 * r->seconds)       /* no core is as slow as that with bytes */
		return snprintf(buf, cap, "%s, busy %.0f %%: with messages and steps, not their bytes", r->busiest, r->busy * 100);
	if (core || memory || !bytes)
		return snprintf(buf, cap, "%s, busy %.0f %%: %.3g passes over the bytes", r->busiest, r->busy * 100, r->passes);
	share(part, sizeof part, (double)r->node_bytes / (double)bytes, nodes_of(topo), topo->nranks);
	return snprintf(buf, cap, "%s, busy %.0f %%: %s the bytes cross it", r->busiest, r->busy * 100, part);
}
