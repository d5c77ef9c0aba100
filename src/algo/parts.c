/* SPDX-License-Identifier: Apache-2.0 */
#include <algo/parts.h>

uint32_t k_one(const struct problem *p)
{
	(void)p;
	return 1;
}

uint32_t k_pieces(const struct problem *p)
{
	return (uint32_t)p->pieces;
}

uint32_t k_channels(const struct problem *p)
{
	return (uint32_t)p->channels;
}

uint32_t k_shards(const struct problem *p)
{
	return (uint32_t)p->channels * (uint32_t)p->nranks;
}

void each_channel(struct recorder *w, const struct problem *p, const struct group *g, uint32_t width, builder *build)
{
	for (int c = 0; c < p->channels; c++) {
		struct group part = *g;
		part.chunk0 += (uint32_t)c * width;
		rec_channel(w, c);
		build(w, p, &part);
	}
}
