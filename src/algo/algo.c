/* SPDX-License-Identifier: Apache-2.0 */
#include <algo/algo.h>
#include <algo/rows.h>
#include <string.h>

const struct algo algo_table[] = {
#define X(COLL, coll, name, k_of, ordered, help) { #name, COLL_##COLL, k_of, name##_##coll, ordered, help, false },
	ALGO_ROWS(X)
#undef X
#define X(COLL, coll, name, k_of, ordered, help) { #name, COLL_##COLL, k_of, name##_##coll, ordered, help, true },
	HIER_ROWS(X)
#undef X
	{ 0 }
};

const struct algo *algo_find(enum coll coll, const char *name)
{
	for (const struct algo *a = algo_table; a->name; a++)
		if (a->coll == coll && strcmp(a->name, name) == 0)
			return a;
	return NULL;
}
