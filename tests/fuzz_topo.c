/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Topologies in words, files of switches, and other ranks' records: refused in words, or a tree that keeps its promises. The first byte
 * chooses; records are mostly right at first, for few random bytes would be.
 */
#include <base/err.h>
#include <stdlib.h>
#include <string.h>
#include <topo/inner.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RANKS = 6, FEW = 4096 };

static void must(bool true_of_it)
{
	if (!true_of_it)
		abort();
}

static void walk(const struct topo *t)
{
	int32_t *unit = malloc((size_t)t->nranks * sizeof *unit);
	struct topo_hop hop[TOPO_PATH];
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	must(unit && f && t->nranks >= 1 && t->place[0].end == t->nplaces);
	for (int p = 1; p < t->nplaces; p++)
		must(t->place[p].parent < p && t->place[p].end > p && t->place[p].end <= t->place[t->place[p].parent].end);
	for (int r = 0; r < t->nranks; r++) {
		must(t->place[t->rank[r]].kind == TOPO_RANK && (t->nic[r] == -1 || t->place[t->nic[r]].kind == TOPO_NIC));
		must(topo_path(t, 0, r, hop) <= TOPO_PATH && topo_common(t, r, 0) <= t->rank[r]);
	}
	for (int level = 0, below = t->nranks, n; (n = topo_units(t, level, unit)) != 0; level++, below = n)
		must(n > 1 && n < below);
	topo_print(f, t);
	topo_svg(f, t);
	must(!fclose(f) && len > 0);
	free(text);
	free(unit);
}

static void try_text(const char *text)
{
	struct topo *t;

	if (topo_parse(&t, text)) {
		must(strstr(err_last(), "expected") && strstr(err_last(), "column"));
		return;
	}
	if (t->nplaces <= FEW)
		walk(t);
	topo_free(t);
}

static void records(struct topo_record *all)
{
	memset(all, 0, RANKS * sizeof *all);
	for (int r = 0; r < RANKS; r++) {
		all[r].magic = TOPO_RECORD_MAGIC;
		all[r].machine = (uint64_t)r / 2;
		all[r].nnics = all[r].ngpus = 1;
		snprintf(all[r].host, sizeof all[r].host, "h%d", r / 2);
		snprintf(all[r].nic[0].name, sizeof all[r].nic[0].name, "eth0");
		all[r].nic[0].family = '4';
		all[r].nic[0].prefix = 24;
		all[r].nic[0].addr[0] = 10;
	}
}

/* Triples: two bytes say where, the third what. */
static void try_records(const uint8_t *data, size_t size)
{
	struct topo_record *all = malloc(RANKS * sizeof *all);
	struct topo *t;

	records(all);
	for (; size >= 3; data += 3, size -= 3)
		((uint8_t *)all)[(data[0] | data[1] << 8) % (RANKS * sizeof *all)] = data[2];
	if (!topo_from_records(&t, all, RANKS, "")) {
		walk(t);
		topo_free(t);
	}
	free(all);
}

static void try_fabric(const char *text, size_t size)
{
	static char path[64];
	struct topo_record all[RANKS];
	struct topo *t;
	FILE *f;

	snprintf(path, sizeof path, "/tmp/tutti-fuzz-%ld", (long)getpid());
	f = fopen(path, "w");
	must(f && fwrite(text, 1, size, f) == size && !fclose(f));
	records(all);
	if (topo_from_records(&t, all, RANKS, path)) {
		must(strstr(err_last(), "expected"));
	} else {
		walk(t);
		topo_free(t);
	}
	unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (!size)
		return 0;
	text = malloc(size);                    /* on the heap, without a byte more */
	memcpy(text, data + 1, size - 1);
	text[size - 1] = 0;
	if (data[0] % 3 == 0)
		try_text(text);
	else if (data[0] % 3 == 1)
		try_records(data + 1, size - 1);
	else
		try_fabric(text, size - 1);
	free(text);
	return 0;
}
