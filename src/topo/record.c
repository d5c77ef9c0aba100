/* SPDX-License-Identifier: Apache-2.0 */
/* From records, one a rank, to the tree of the job. They come from other ranks: record_check is their one check, before all else. */
#include <base/err.h>
#include <stdlib.h>
#include <string.h>
#include <topo/inner.h>

static bool number_is_legal(int16_t n) { return n >= -1; }

static bool nic_is_legal(const struct topo_record_nic *x)
{
	int most = x->family == '4' ? 32 : x->family == '6' ? 128 : x->family == 'I' ? 64 : x->family ? -1 : 255;

	return memchr(x->name, 0, sizeof x->name) && number_is_legal(x->package) && number_is_legal(x->numa) && x->prefix <= most;
}

int record_check(const struct topo_record *r, int rank)
{
	bool legal = r->magic == TOPO_RECORD_MAGIC && r->nnics <= TOPO_RECORD_NICS && r->ngpus <= TOPO_RECORD_GPUS &&
		memchr(r->host, 0, sizeof r->host) && number_is_legal(r->package) && number_is_legal(r->numa) && number_is_legal(r->core);

	for (int i = 0; legal && i < r->nnics; i++)
		legal = nic_is_legal(&r->nic[i]);
	for (int i = 0; legal && i < r->ngpus; i++)
		legal = number_is_legal(r->gpu[i].package) && number_is_legal(r->gpu[i].numa);
	if (legal)
		return TUTTI_OK;
	return err_set(TUTTI_ERR_MISMATCH, "rank %d sent a description of its machine that this version cannot read: is it another version "
		       "of tutti?", rank);
}

/* ---- machines --------------------------------------------------------------------------------------------------- */

struct job {
	const struct topo_record *all;
	int nranks, nhosts;
	int32_t *order;                 /* ranks by machine, and of one machine in order */
	struct host *host;
	struct build build;
};

struct keyed { uint64_t machine; int32_t rank; };

static int by_machine(const void *a, const void *b)
{
	const struct keyed *x = a, *y = b;

	return x->machine != y->machine ? (x->machine > y->machine ? 1 : -1) : (x->rank > y->rank) - (x->rank < y->rank);
}

static int by_first_rank(const void *a, const void *b)
{
	const struct host *x = a, *y = b;

	return (x->ranks[0] > y->ranks[0]) - (x->ranks[0] < y->ranks[0]);
}

static int find_hosts(struct job *j)
{
	struct keyed *key = malloc((size_t)j->nranks * sizeof *key);

	j->order = malloc((size_t)j->nranks * sizeof *j->order);
	j->host = calloc((size_t)j->nranks, sizeof *j->host);
	if (!key || !j->order || !j->host) {
		free(key);
		return err_set(TUTTI_ERR_NOMEM, "no memory for a topology of %d ranks", j->nranks);
	}
	for (int r = 0; r < j->nranks; r++)
		key[r] = (struct keyed){ j->all[r].machine, r };
	qsort(key, (size_t)j->nranks, sizeof *key, by_machine);
	for (int i = 0; i < j->nranks; i++) {
		j->order[i] = key[i].rank;
		if (!i || key[i].machine != key[i - 1].machine)
			j->host[j->nhosts++] = (struct host){ .machine = key[i].machine, .ranks = j->order + i };
		j->host[j->nhosts - 1].nranks++;
	}
	free(key);
	qsort(j->host, (size_t)j->nhosts, sizeof *j->host, by_first_rank);
	return TUTTI_OK;
}

/* Processes in containers of one machine may see different ones. */
int host_nics(const struct topo_record *all, const struct host *h, const struct topo_record_nic *list[HOST_NICS])
{
	int n = 0;

	for (int i = 0; i < h->nranks; i++)
		for (int k = 0; k < all[h->ranks[i]].nnics; k++) {
			const struct topo_record_nic *x = &all[h->ranks[i]].nic[k];
			int same = 0;

			while (same < n && strcmp(list[same]->name, x->name))
				same++;
			if (same == n && n < HOST_NICS)
				list[n++] = x;
		}
	return n;
}

/* ---- what hangs at a node --------------------------------------------------------------------------------------- */

enum { FLOORS = 3, GPUS = TOPO_RECORD_GPUS };

struct item {
	int16_t at[FLOORS];             /* package, NUMA node, core; -1: none */
	int order, rank;                /* order: NICs, GPUs, ranks */
	const struct topo_record_nic *nic;
};

static int by_place(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	for (int f = 0; f < FLOORS; f++)
		if (x->at[f] != y->at[f])
			return x->at[f] > y->at[f] ? 1 : -1;
	return (x->order > y->order) - (x->order < y->order);
}

static int list_items(const struct job *j, const struct host *h, struct item *item)
{
	const struct topo_record_nic *nic[HOST_NICS];
	const struct topo_record *most = &j->all[h->ranks[0]];
	int nnics = host_nics(j->all, h, nic), n = 0;

	for (int i = 0; i < nnics; i++, n++)
		item[n] = (struct item){ { nic[i]->package, nic[i]->numa, -1 }, n, -1, nic[i] };
	for (int i = 1; i < h->nranks; i++)
		if (j->all[h->ranks[i]].ngpus > most->ngpus)
			most = &j->all[h->ranks[i]];
	for (int i = 0; i < most->ngpus; i++, n++)
		item[n] = (struct item){ { most->gpu[i].package, most->gpu[i].numa, -1 }, n, -1, NULL };
	for (int i = 0; i < h->nranks; i++, n++) {
		const struct topo_record *r = &j->all[h->ranks[i]];

		item[n] = (struct item){ { r->package, r->numa, r->core }, n, h->ranks[i], NULL };
	}
	qsort(item, (size_t)n, sizeof *item, by_place);
	return n;
}

/* Items come in order, so a place is new when it, or one above it, differs from the last item's. */
static void hang(struct build *b, int node, const struct item *item, int n)
{
	static const enum topo_kind kinds[FLOORS] = { TOPO_PACKAGE, TOPO_NUMA, TOPO_CORE };
	const struct edge none = { 0, 0 };
	int place[FLOORS] = { -1, -1, -1 };

	for (int i = 0; i < n && !b->status; i++) {
		int parent = node;
		bool same = i > 0;

		for (int f = 0; f < FLOORS; f++) {
			same = same && item[i].at[f] == item[i - 1].at[f];
			if (item[i].at[f] < 0)
				continue;
			if (!same)
				place[f] = build_add(b, parent, kinds[f], "", none);
			parent = place[f];
		}
		if (b->status)
			return;
		if (item[i].rank >= 0)
			build_rank(b, parent, item[i].rank, none);
		else if (item[i].nic)
			build_add(b, parent, TOPO_NIC, item[i].nic->name, (struct edge){ item[i].nic->mbits * 1e6 / 8, 0 });
		else
			build_add(b, parent, TOPO_GPU, "", none);
	}
}

static void add_hosts(struct job *j, struct item *item)
{
	for (int i = 0; i < j->nhosts && !j->build.status; i++) {
		const struct host *h = &j->host[i];
		int node = build_add(&j->build, h->parent, TOPO_NODE, j->all[h->ranks[0]].host, (struct edge){ 0, 0 });

		if (node >= 0)
			hang(&j->build, node, item, list_items(j, h, item));
	}
}

static int build_job(struct job *j, const char *fabric)
{
	struct item *item = malloc(((size_t)j->nranks + HOST_NICS + GPUS) * sizeof *item);
	int status = item ? find_hosts(j) : err_set(TUTTI_ERR_NOMEM, "no memory for a topology of %d ranks", j->nranks);

	if (!status) {
		build_add(&j->build, -1, TOPO_FABRIC, "", (struct edge){ 0, 0 });
		status = j->build.status ? j->build.status : fabric_attach(&j->build, fabric, j->all, j->host, j->nhosts);
	}
	if (!status)
		add_hosts(j, item);
	free(item);
	return status;
}

int topo_from_records(struct topo **t, const struct topo_record *all, int nranks, const char *fabric)
{
	struct job j = { .all = all, .nranks = nranks };
	int status = TUTTI_OK;

	if (nranks < 1 || nranks > TOPO_RANKS_MAX)
		return err_set(TUTTI_ERR_INVALID, "topology: expected 1..%d ranks, got %d", TOPO_RANKS_MAX, nranks);
	for (int r = 0; r < nranks && !status; r++)
		status = record_check(&all[r], r);
	if (!status)
		status = build_job(&j, fabric);
	if (status)
		j.build.status = status;
	status = build_finish(&j.build, t);
	free(j.order);
	free(j.host);
	return status;
}
