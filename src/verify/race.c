/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Races. Under the wait rule, a step touches an element only after all the steps that its waits lead to, directly or not, have finished
 * with that element. So a rank is free of races when of any two steps that touch a chunk, and not both to read it, the later one's waits
 * lead to the earlier one. Chunks are compared on the aliased line: what is ordered there is ordered in place and out of place.
 */
#include <verify/world.h>
#include <base/err.h>
#include <stdlib.h>
#include <string.h>

struct access { uint32_t step, next; bool write; };     /* next: index + 1 of an earlier access of that chunk */

struct race {
	const struct world *w;
	const struct sched *s;
	uint32_t words, io, n, cap;
	uint64_t *before;                                /* a row of bits a step: the steps its waits lead to */
	uint32_t *last;                                  /* a chunk: index + 1 of its latest access */
	struct access *log;
};

static const uint64_t *lead(struct race *r, uint32_t i)
{
	uint64_t *row = r->before + (size_t)i * r->words;
	memset(row, 0, r->words * sizeof *row);
	for (int j = 0; j < SCHED_MAX_WAITS; j++) {
		int32_t v = r->s->steps[i].wait[j];
		if (v < 0)
			continue;
		const uint64_t *from = r->before + (size_t)v * r->words;
		for (uint32_t b = 0; b <= (uint32_t)v / 64; b++)
			row[b] |= from[b];
		row[v / 64] |= UINT64_C(1) << v % 64;
	}
	return row;
}

static int touch(struct race *r, uint32_t i, struct span x, bool write, const uint64_t *row)
{
	uint32_t at = x.buf == BUF_SCRATCH ? r->io + x.chunk : sched_alias_chunk(r->s, x);
	for (uint32_t c = at; x.buf && c < at + x.n; c++) {
		for (uint32_t a = r->last[c]; a; a = r->log[a - 1].next) {
			uint32_t j = r->log[a - 1].step;
			if ((write || r->log[a - 1].write) && j != i && !(row[j / 64] >> j % 64 & 1))
				return refute(r->w, "rank %d: race: step %u touches what step %u touches, and its waits do not lead there",
					r->s->rank, i, j);
		}
		r->log[r->n] = (struct access){ i, r->last[c], write };
		r->last[c] = ++r->n;
	}
	return 0;
}

static int sweep(struct race *r)
{
	for (uint32_t i = 0; i < r->s->nsteps; i++) {
		const struct step *x = &r->s->steps[i];
		const uint64_t *row = lead(r, i);
		int status = touch(r, i, x->src, false, row);
		if (!status)
			status = touch(r, i, x->dst, true, row);
		if (status)
			return status;
	}
	return 0;
}

int check_races(const struct world *w, int rank)
{
	const struct sched *s = w->s[rank];
	uint32_t in = coll_in_blocks(s->coll, s->nranks), out = coll_out_blocks(s->coll, s->nranks);
	struct race r = { .w = w, .s = s, .words = s->nsteps / 64 + 1, .io = (in > out ? in : out) * s->k };
	uint64_t touched = 0;
	int status = 0;
	for (uint32_t i = 0; i < s->nsteps; i++)
		touched += (uint64_t)s->steps[i].dst.n + s->steps[i].src.n;
	r.before = malloc(((size_t)s->nsteps * r.words + 1) * sizeof *r.before);
	r.last = calloc((size_t)r.io + s->scratch_chunks + 1, sizeof *r.last);
	r.log = malloc((touched + 1) * sizeof *r.log);
	if (!r.before || !r.last || !r.log)
		status = err_set(TUTTI_ERR_NOMEM, "verify: no memory for %u steps", s->nsteps);
	else
		status = sweep(&r);
	free(r.before);
	free(r.last);
	free(r.log);
	return status;
}
