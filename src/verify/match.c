/* SPDX-License-Identifier: Apache-2.0 */
/* Which send meets which receive; and, for a barrier, who has heard of whom. */
#include <verify/world.h>
#include <base/err.h>
#include <stdlib.h>
#include <string.h>

struct fifo { uint32_t head, tail; };                   /* message + 1; 0: none */

static int peer_of(const struct world *w, uint32_t g, uint32_t i)
{
	const struct sched *s = w->s[w->rank[g]];
	const struct step *x = step_at(w, g);
	return x->flags & STEP_SET ? s->members[s->sets[x->peer].first + i] : x->peer;
}

static struct fifo *fifo_of(const struct world *w, struct fifo *f, int from, int to, int channel)
{
	return &f[((size_t)channel * (size_t)w->n + (size_t)from) * (size_t)w->n + (size_t)to];
}

static void add_sends(struct world *w, struct fifo *f, uint32_t g)
{
	for (uint32_t i = 0; i < msgs_of(w, g); i++) {
		int to = peer_of(w, g, i);
		struct fifo *q = fifo_of(w, f, w->rank[g], to, step_at(w, g)->channel);
		uint32_t m = w->nmsgs++;
		w->msgs[m] = (struct msg){ g, 0, 0, w->rank[g], to };
		w->ends[w->first_end[g] + i] = m;
		if (q->head)
			w->msgs[q->tail - 1].next = m + 1;
		else
			q->head = m + 1;
		q->tail = m + 1;
	}
}

static int add_receives(struct world *w, struct fifo *f, uint32_t g)
{
	const struct step *x = step_at(w, g);
	for (uint32_t i = 0; i < msgs_of(w, g); i++) {
		int from = peer_of(w, g, i), to = w->rank[g];
		struct fifo *q = fifo_of(w, f, from, to, x->channel);
		if (!q->head)
			return refute(w, "rank %d step %u receives from %d on channel %d, which sends it nothing more", to, g - w->base[to],
					from, x->channel);
		struct msg *m = &w->msgs[q->head - 1];
		struct span a = step_at(w, m->send)->src, b = x->dst;
		w->ends[w->first_end[g] + i] = q->head - 1;
		q->head = m->next;
		m->recv = g;
		if (a.n != b.n || a.chunk % w->s[from]->k != b.chunk % w->s[to]->k)
			return refute(w, "rank %d step %u sends pieces [%u,+%u), but rank %d step %u receives [%u,+%u)", from,
				m->send - w->base[from], a.chunk % w->s[from]->k, a.n, to, g - w->base[to], b.chunk % w->s[to]->k, b.n);
	}
	return 0;
}

static int match(struct world *w, struct fifo *f, size_t nfifos)
{
	for (uint32_t g = 0; g < w->nsteps; g++)
		if (step_at(w, g)->op == STEP_SEND)
			add_sends(w, f, g);
	for (uint32_t g = 0; g < w->nsteps; g++) {
		int status = receives(step_at(w, g)) ? add_receives(w, f, g) : 0;
		if (status)
			return status;
	}
	for (size_t i = 0; i < nfifos; i++)
		if (f[i].head) {
			const struct msg *m = &w->msgs[f[i].head - 1];
			return refute(w, "rank %d step %u sends to %d, which does not receive it", m->from, m->send - w->base[m->from],
					m->to);
		}
	return 0;
}

int world_match(struct world *w)
{
	int channels = 1;
	uint32_t ends = 0;
	for (int r = 0; r < w->n; r++)
		if (w->s[r]->nchannels > channels)
			channels = w->s[r]->nchannels;
	for (uint32_t g = 0; g < w->nsteps; g++) {
		const struct step *x = step_at(w, g);
		w->first_end[g] = ends;
		if (x->op == STEP_SEND || receives(x))
			ends += x->flags & STEP_SET ? w->s[w->rank[g]]->sets[x->peer].n : 1;
	}
	w->first_end[w->nsteps] = ends;
	size_t nfifos = (size_t)channels * (size_t)w->n * (size_t)w->n;
	struct fifo *f = calloc(nfifos, sizeof *f);
	w->ends = malloc((ends + 1) * sizeof *w->ends);
	w->msgs = malloc((ends + 1) * sizeof *w->msgs);
	int status = f && w->ends && w->msgs ? match(w, f, nfifos) : err_set(TUTTI_ERR_NOMEM, "verify: no memory for %u messages", ends);
	free(f);
	return status;
}

/* ---- barrier --------------------------------------------------------------------------------------------------- */

/* row |= this rank, and what the steps that g waits for know. */
static void hear(const struct world *w, uint32_t g, const uint64_t *know, size_t words, uint64_t *row)
{
	int r = w->rank[g];
	row[r / 64] |= UINT64_C(1) << r % 64;
	for (int j = 0; j < SCHED_MAX_WAITS; j++)
		for (size_t b = 0; step_at(w, g)->wait[j] >= 0 && b < words; b++)
			row[b] |= know[(w->base[r] + (uint32_t)step_at(w, g)->wait[j]) * words + b];
}

static int all_heard(const struct world *w, const uint64_t *know, size_t words)
{
	for (int r = 0; r < w->n; r++)
		for (int q = 0; q < w->n; q++) {
			bool heard = q == r;
			for (uint32_t g = w->base[r]; g < w->base[r + 1] && !heard; g++)
				heard = know[g * words + (size_t)q / 64] >> q % 64 & 1;
			if (!heard)
				return refute(w, "barrier: rank %d may leave before rank %d has come", r, q);
		}
	return 0;
}

int check_barrier(const struct world *w)
{
	size_t words = (size_t)w->n / 64 + 1;
	uint64_t *know = calloc((size_t)w->nsteps * words + 1, sizeof *know);
	if (!know)
		return err_set(TUTTI_ERR_NOMEM, "verify: no memory for %u steps", w->nsteps);
	for (uint32_t i = 0; i < w->nsteps; i++) {
		uint32_t g = w->order[i];
		hear(w, g, know, words, know + g * words);
		for (uint32_t e = 0; receives(step_at(w, g)) && e < msgs_of(w, g); e++)
			hear(w, w->msgs[w->ends[w->first_end[g] + e]].send, know, words, know + g * words);
	}
	int status = all_heard(w, know, words);
	free(know);
	return status;
}
