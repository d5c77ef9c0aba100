/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who meets whom: the i-th message sent to p on channel c meets p's i-th receive from this rank on c. open.c left the sender's messages
 * with the receiver's rank in `recv`, and the sender's rank where a receive will have its message. So for each rank
 *
 *      messages to it, by (sender, channel, order)   and   its receives, by (sender, channel, order)   are the same row
 */
#include <base/err.h>
#include <model/inner.h>
#include <stdlib.h>

struct end { uint64_t key; uint32_t what; };    /* key: sender, channel, order; what: a message; or where the receive keeps it */

struct matcher {
	struct sim *s;
	uint32_t *first, *to;           /* to[first[r] ... first[r + 1]): messages to rank r */
	struct end *sends, *recvs;
	uint32_t cap_sends, cap_recvs;
};

static int by_key(const void *a, const void *b)
{
	const struct end *x = a, *y = b;
	return (x->key > y->key) - (x->key < y->key);
}

static void sort(struct end *e, uint32_t n)
{
	uint32_t i = 1;
	while (i < n && e[i - 1].key < e[i].key)
		i++;
	if (i < n)
		qsort(e, n, sizeof *e, by_key);
}

static uint64_t key(uint32_t sender, const struct sim_step *x, uint32_t order)
{
	return ((uint64_t)sender << 3 | x->channel) << 32 | order;
}

/* Messages by receiver, in the order of their senders. */
static void deal(struct matcher *z)
{
	struct sim *s = z->s;
	for (uint32_t m = 0; m < s->nmsgs; m++)
		z->first[s->msgs[m].recv + 2]++;
	for (int r = 2; r <= s->nranks + 1; r++)
		z->first[r] += z->first[r - 1];
	for (uint32_t m = 0; m < s->nmsgs; m++)
		z->to[z->first[s->msgs[m].recv + 1]++] = m;
}

/* Where this step keeps its i-th message: its own field, or one of ends. */
static uint32_t *slot(struct sim *s, struct sim_step *x, uint32_t i)
{
	return x->flags & STEP_SET ? &s->ends[x->msg + 1 + i] : &x->msg;
}

static int gather(struct matcher *z, int r, uint32_t *n)
{
	struct sim *s = z->s;
	*n = 0;
	for (uint32_t i = s->base[r]; i < s->base[r + 1]; i++) {
		struct sim_step *x = &s->steps[i];
		for (uint32_t p = 0, np = sim_receives(x->op) ? sim_npeers(s, x) : 0; p < np; p++, ++*n) {
			int status = sim_grow(&z->recvs, &z->cap_recvs, *n + 1ull, sizeof *z->recvs);
			if (status)
				return status;
			z->recvs[*n] = (struct end){ key(*slot(s, x, p), x, *n), i };
			if (x->flags & STEP_SET)
				z->recvs[*n].what = s->nsteps + x->msg + 1 + p;
		}
	}
	return 0;
}

static int meet(struct matcher *z, int r, uint32_t i)
{
	struct sim *s = z->s;
	uint32_t id = z->sends[i].what, where = z->recvs[i].what, step = where;
	struct message *m = &s->msgs[id];
	int from = s->steps[m->send].rank;
	if (z->sends[i].key >> 32 != z->recvs[i].key >> 32)
		return err_set(TUTTI_ERR_INTERNAL, "simulator: rank %d has %s to rank %d on channel %d that the other has not", from,
				z->sends[i].key < z->recvs[i].key ? "a send" : "no send", r, s->steps[m->send].channel);
	if (where >= s->nsteps) {
		uint32_t at = where - s->nsteps;
		s->ends[at] = id;
		m->recv = SIM_NONE;             /* known when the step's set has been gone through, below */
	} else {
		s->steps[step].msg = id;
		m->recv = step;
	}
	return route_message(s, m, from, r);
}

static int match_rank(struct matcher *z, int r)
{
	struct sim *s = z->s;
	uint32_t nrecvs, nsends = z->first[r + 1] - z->first[r];
	int status = gather(z, r, &nrecvs);
	if (!status)
		status = sim_grow(&z->sends, &z->cap_sends, nsends + 1ull, sizeof *z->sends);
	if (status)
		return status;
	if (nsends != nrecvs)
		return err_set(TUTTI_ERR_INTERNAL, "simulator: %u messages are sent to rank %d, which receives %u", nsends, r, nrecvs);
	for (uint32_t i = 0; i < nsends; i++) {
		uint32_t id = z->to[z->first[r] + i];
		const struct sim_step *x = &s->steps[s->msgs[id].send];
		z->sends[i] = (struct end){ key((uint32_t)x->rank, x, i), id };
	}
	sort(z->sends, nsends);
	sort(z->recvs, nrecvs);
	for (uint32_t i = 0; i < nsends && !status; i++)
		status = meet(z, r, i);
	for (uint32_t i = s->base[r]; i < s->base[r + 1] && !status; i++) {
		const struct sim_step *x = &s->steps[i];
		for (uint32_t p = 0, np = sim_receives(x->op) && x->flags & STEP_SET ? sim_npeers(s, x) : 0; p < np; p++)
			s->msgs[s->ends[x->msg + 1 + p]].recv = i;
	}
	return status;
}

int match_messages(struct sim *s)
{
	struct matcher z = { .s = s };
	z.first = calloc((size_t)s->nranks + 2, sizeof *z.first);
	z.to = malloc((s->nmsgs + 1ull) * sizeof *z.to);
	int status = z.first && z.to ? 0 : err_set(TUTTI_ERR_NOMEM, "simulator: no memory for %u messages", s->nmsgs);
	if (!status)
		deal(&z);
	for (int r = 0; r < s->nranks && !status; r++)
		status = match_rank(&z, r);
	free(z.first);
	free(z.to);
	free(z.sends);
	free(z.recvs);
	return status;
}
