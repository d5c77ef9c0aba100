/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of the collectives and what they promise. Constant; any thread. */
#include <sched/coll.h>
#include <string.h>

const struct coll_row coll_rows[COLLS] = {
#define X(NAME, name, ...) [COLL_##NAME] = { #name, __VA_ARGS__ },
	COLL_ROWS(X)
#undef X
};

int coll_from_name(const char *name)
{
	for (int c = 0; c < COLLS; c++)
		if (strcmp(coll_rows[c].name, name) == 0)
			return c;
	return -1;
}

bool coll_reads(enum coll c, int root, int rank)
{
	switch (c) {
	case COLL_BROADCAST:
	case COLL_SCATTER:
		return rank == root;
	case COLL_BARRIER:
	case COLL_RECV:
		return false;
	default:
		return true;
	}
}

bool coll_writes(enum coll c, int root, int rank)
{
	switch (c) {
	case COLL_REDUCE:
	case COLL_GATHER:
		return rank == root;
	case COLL_BARRIER:
	case COLL_SEND:
		return false;
	default:
		return true;
	}
}

struct coll_expect coll_expect(enum coll c, int nranks, int root, int rank, uint32_t b)
{
	if (b >= coll_out_blocks(c, nranks) || !coll_writes(c, root, rank))
		return (struct coll_expect){ COLL_NONE, 0 };
	switch (c) {
	case COLL_ALL_REDUCE:
	case COLL_REDUCE:
		return (struct coll_expect){ COLL_ALL, 0 };
	case COLL_REDUCE_SCATTER:
		return (struct coll_expect){ COLL_ALL, (uint32_t)rank };
	case COLL_ALL_GATHER:
	case COLL_GATHER:
		return (struct coll_expect){ (int)b, 0 };
	case COLL_SCATTER:
		return (struct coll_expect){ root, (uint32_t)rank };
	case COLL_ALL_TO_ALL:
		return (struct coll_expect){ (int)b, (uint32_t)rank };
	default:                                        /* broadcast, recv */
		return (struct coll_expect){ root, 0 };
	}
}
