/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From places in the order they were added to the tree as topo.h promises it. The builder's owner is its one user; a struct topo never
 * changes.
 */
#include <base/err.h>
#include <stdlib.h>
#include <string.h>
#include <topo/inner.h>

const char *const topo_kinds[TOPO_KINDS] = { "fabric", "switch", "node", "package", "numa", "core", "rank", "nic", "gpu" };

static bool room(struct build *b)
{
	int cap = b->cap ? 2 * b->cap : 64;
	struct topo_place *p;

	if (b->n < b->cap)
		return true;
	if (b->n >= TOPO_PLACES_MAX) {
		b->status = err_set(TUTTI_ERR_CONFIG, "topology: expected at most %d places", TOPO_PLACES_MAX);
		return false;
	}
	if (!(p = realloc(b->place, (size_t)cap * sizeof *p))) {
		b->status = err_set(TUTTI_ERR_NOMEM, "no memory for a topology of %d places", cap);
		return false;
	}
	b->place = p;
	b->cap = cap;
	return true;
}

int build_add(struct build *b, int parent, enum topo_kind kind, const char *name, struct edge edge)
{
	struct topo_place *p;
	int depth = parent < 0 ? 0 : b->place[parent].depth + 1;

	if (b->status || !room(b))
		return -1;
	if (depth >= TOPO_DEPTH) {
		b->status = err_set(TUTTI_ERR_CONFIG, "topology: expected fewer than %d floors", TOPO_DEPTH);
		return -1;
	}
	p = &b->place[b->n];
	memset(p, 0, sizeof *p);
	p->kind = (uint8_t)kind;
	p->depth = (uint8_t)depth;
	p->parent = parent;
	p->bandwidth = edge.bandwidth;
	p->latency = edge.latency;
	snprintf(p->name, sizeof p->name, "%s", name);
	for (char *c = p->name; *c; c++)                /* names come from files and other machines, and go to terminals */
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	return b->n++;
}

int build_rank(struct build *b, int parent, int rank, struct edge edge)
{
	int p = build_add(b, parent, TOPO_RANK, "", edge);

	if (p >= 0) {
		b->place[p].index = rank;
		b->nranks++;
	}
	return p;
}

/* ---- the order of a walk ---------------------------------------------------------------------------------------- */

/* A place's subtree takes the places after its elder siblings' subtrees. to[i]: where place i goes. */
static void walk_order(const struct build *b, int32_t *to, int32_t *size, int32_t *next)
{
	for (int i = 0; i < b->n; i++)
		size[i] = 1;
	for (int i = b->n - 1; i > 0; i--)
		size[b->place[i].parent] += size[i];
	to[0] = 0;
	next[0] = 1;
	for (int i = 1; i < b->n; i++) {
		int parent = b->place[i].parent;

		to[i] = next[parent];
		next[parent] += size[i];
		next[i] = to[i] + 1;
	}
}

static int reorder(const struct build *b, struct topo_place *place)
{
	int32_t *to = malloc(3 * (size_t)b->n * sizeof *to);

	if (!to)
		return err_set(TUTTI_ERR_NOMEM, "no memory for a topology of %d places", b->n);
	walk_order(b, to, to + b->n, to + 2 * (size_t)b->n);
	for (int i = 0; i < b->n; i++) {
		struct topo_place *p = &place[to[i]];

		*p = b->place[i];
		p->parent = i ? to[p->parent] : -1;
		p->end = to[i] + (to + b->n)[i];
	}
	free(to);
	return TUTTI_OK;
}

/* ---- what hangs where ------------------------------------------------------------------------------------------- */

/* Each rank once; its number stood in index. */
static int find_ranks(const struct topo_place *place, int n, int nranks, int32_t *rank, int32_t *node)
{
	int32_t here = 0;

	memset(rank, -1, (size_t)nranks * sizeof *rank);
	for (int i = 0; i < n; i++) {
		int r = place[i].index;

		if (i >= place[here].end)
			here = 0;
		if (place[i].kind == TOPO_NODE)
			here = i;
		if (place[i].kind != TOPO_RANK)
			continue;
		if (r < 0 || r >= nranks || rank[r] >= 0)
			return err_set(TUTTI_ERR_INTERNAL, "topology: rank %d of %d is there twice, or too large", r, nranks);
		rank[r] = i;
		node[r] = here;
	}
	return TUTTI_OK;
}

static void number(struct topo_place *place, int n)
{
	for (int p = 0; p < n; p++) {
		int32_t seen[TOPO_KINDS] = { 0 };

		for (int c = p + 1; c < place[p].end; c = place[c].end)
			place[c].index = seen[place[c].kind]++;
	}
	place[0].index = 0;
}

/* The speed below which a NIC of this node is for other things: a quarter of the fastest. */
static double slow(const struct topo_place *place, int node)
{
	double fastest = 0;

	for (int i = node; i < place[node].end; i++)
		if (place[i].kind == TOPO_NIC && place[i].bandwidth > fastest)
			fastest = place[i].bandwidth;
	return fastest / 4;
}

/* list: the usable NICs, in order; before[p]: how many of them stand before place p. */
static void list_nics(const struct topo_place *place, int n, int32_t *before, int32_t *list)
{
	int32_t found = 0;
	double least = slow(place, 0);

	for (int i = 0; i < n; i++) {
		before[i] = found;
		if (place[i].kind == TOPO_NODE)
			least = slow(place, i);
		if (place[i].kind == TOPO_NIC && !(place[i].bandwidth > 0 && place[i].bandwidth < least))
			list[found++] = i;
	}
	before[n] = found;
}

/* From the rank upwards, the first place with NICs below it decides; its ranks take them in turn. */
static int find_nics(const struct topo_place *place, int n, int nranks, const int32_t *rank, const int32_t *node, int32_t *nic)
{
	int32_t *before = calloc(3 * (size_t)n + 1, sizeof *before), *list, *turn;

	if (!before)
		return err_set(TUTTI_ERR_NOMEM, "no memory for a topology of %d places", n);
	list = before + n + 1;
	turn = list + n;
	list_nics(place, n, before, list);
	for (int r = 0; r < nranks; r++) {
		int p = rank[r], have = 0;

		while (p != node[r] && !have) {
			p = place[p].parent;
			have = before[place[p].end] - before[p];
		}
		nic[r] = have ? list[before[p] + turn[p]++ % have] : -1;
	}
	free(before);
	return TUTTI_OK;
}

/* ---- finishing -------------------------------------------------------------------------------------------------- */

void topo_free(struct topo *t)
{
	if (!t)
		return;
	free((void *)t->place);
	free((void *)t->rank);
	free(t);
}

static int finish(struct build *b, struct topo **out)
{
	struct topo *t = calloc(1, sizeof *t);
	struct topo_place *place = malloc((size_t)b->n * sizeof *place);
	int32_t *rank = malloc(3 * (size_t)b->nranks * sizeof *rank), *node = rank + b->nranks, *nic = node + b->nranks;
	int status = t && place && rank ? reorder(b, place) : err_set(TUTTI_ERR_NOMEM, "no memory for a topology of %d places", b->n);

	if (!status)
		status = find_ranks(place, b->n, b->nranks, rank, node);
	if (!status) {
		number(place, b->n);
		status = find_nics(place, b->n, b->nranks, rank, node, nic);
	}
	if (status) {
		free(t);
		free(place);
		free(rank);
		return status;
	}
	*t = (struct topo){ b->n, b->nranks, place, rank, node, nic };
	*out = t;
	return TUTTI_OK;
}

int build_finish(struct build *b, struct topo **t)
{
	int status = b->status;

	if (!status && (b->nranks < 1 || b->nranks > TOPO_RANKS_MAX))
		status = err_set(TUTTI_ERR_CONFIG, "topology: expected 1..%d ranks, got %d", TOPO_RANKS_MAX, b->nranks);
	if (!status)
		status = finish(b, t);
	free(b->place);
	*b = (struct build){ .status = status };
	return status;
}

/* ---- a part of one ---------------------------------------------------------------------------------------------- */

/* number: of a place; of a rank's, what it is called in the part; -1: it is left out. */
static void number_part(const struct topo *t, const int *ranks, int n, int32_t *number)
{
	memset(number, -1, (size_t)t->nplaces * sizeof *number);
	for (int i = 0; i < n; i++)
		number[t->rank[ranks[i]]] = i;
	for (int32_t p = t->nplaces - 1; p > 0; p--)
		if (number[p] >= 0)
			number[t->place[p].parent] = 0;
}

int topo_part(struct topo **part, const struct topo *t, const int *ranks, int n)
{
	struct build b = { 0 };
	int32_t *number = malloc((size_t)t->nplaces * sizeof *number);

	if (!number)
		return err_set(TUTTI_ERR_NOMEM, "no memory for a part of a topology of %d places", t->nplaces);
	number_part(t, ranks, n, number);
	for (int32_t p = 0; p < t->nplaces && !b.status; p++) {         /* a place's number becomes its place in b */
		const struct topo_place *x = &t->place[p];
		struct edge edge = { x->bandwidth, x->latency };
		int parent = p ? number[x->parent] : -1;
		bool device = x->kind == TOPO_NIC || x->kind == TOPO_GPU;

		if (p && (parent < 0 || (number[p] < 0 && !device)))
			continue;
		number[p] = x->kind == TOPO_RANK ? build_rank(&b, parent, number[p], edge) : build_add(&b, parent, (enum topo_kind)x->kind, x->name, edge);
	}
	free(number);
	return build_finish(&b, part);
}
