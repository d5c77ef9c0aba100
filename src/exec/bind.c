/* SPDX-License-Identifier: Apache-2.0 */
/* From chunks to bytes. */
#include <base/type.h>
#include <exec/plan.h>
#include <exec/run.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the call's signature: legible for what people get wrong ------------------------------------------------------- */

enum { SIG_COUNT_BITS = 34, SIG_ROOT_BITS = 12, SIG_HASH_BITS = 6 };

uint64_t plan_sig(const struct sched *sched, const struct plan_args *args)
{
	const struct coll_row *row = &coll_rows[sched->coll];
	uint64_t op = !row->reduces ? 0 : args->op < TUTTI_OPS ? (uint64_t)args->op : 15;
	uint64_t extra = row->reduces && args->op >= TUTTI_OPS ? op_user_id(args->op) * 0x9e3779b97f4a7c15u >> 32 : 0;
	uint64_t root = row->rooted && !args->p2p ? (uint64_t)args->root : 0;
	uint64_t coll = args->p2p ? COLL_SEND : sched->coll;
	uint64_t sig = coll;
	sig = sig << 4 | (uint64_t)args->type;
	sig = sig << 4 | op;
	sig = sig << SIG_HASH_BITS | (((args->p2p ? 0 : sched->hash) ^ extra) & ((1u << SIG_HASH_BITS) - 1));
	sig = sig << SIG_ROOT_BITS | (root & ((1u << SIG_ROOT_BITS) - 1));
	return sig << SIG_COUNT_BITS | (args->count & ((1ull << SIG_COUNT_BITS) - 1));
}

int plan_sig_words(uint64_t sig, char *buf, size_t cap)
{
	unsigned long long count = sig & ((1ull << SIG_COUNT_BITS) - 1);
	unsigned root = (unsigned)(sig >> SIG_COUNT_BITS) & ((1u << SIG_ROOT_BITS) - 1);
	unsigned rest = (unsigned)(sig >> (SIG_COUNT_BITS + SIG_ROOT_BITS + SIG_HASH_BITS));
	unsigned op = rest & 15, type = rest >> 4 & 15, coll = rest >> 8;
	if (coll >= COLLS || type >= TUTTI_TYPES)
		return snprintf(buf, cap, "something this version does not know (%016llx)", (unsigned long long)sig);
	const struct coll_row *row = &coll_rows[coll];
	char tail[32] = "";
	if (row->rooted && coll != COLL_SEND && coll != COLL_RECV)
		snprintf(tail, sizeof(tail), ", root %u", root);
	return snprintf(buf, cap, "%s %s%s%s, count %llu%s", row->name, tutti_type_name((enum tutti_type)type), row->reduces ? " " : "",
	                row->reduces ? tutti_op_name(op == 15 ? TUTTI_OPS : (int)op) : "", count, tail);
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

struct binder {
	struct plan *plan;
	const struct sched *s;
	const struct plan_args *a;
};

static size_t elem_bytes(const struct binder *b, uint32_t chunk) { return sched_elem(b->a->count, b->s->k, chunk) * b->plan->esize; }

static void bind_operand(const struct binder *b, struct bound *x, struct span sp, uint8_t *buf, size_t *at)
{
	*buf = sp.buf;
	if (sp.buf == BUF_NONE)
		return;
	*at = elem_bytes(b, sp.chunk);
	x->len = elem_bytes(b, sp.chunk + sp.n) - *at;
	x->operand[x->noperands++] = (struct place){ sp.buf == BUF_SCRATCH, elem_bytes(b, sched_alias_chunk(b->s, sp)) };
}

static void bind_peers(const struct binder *b, struct bound *x, const struct step *st)
{
	if (st->peer < 0)
		return;
	if (st->flags & STEP_SET) {
		const struct sched_set *set = &b->s->sets[st->peer];
		x->peers = b->s->members + set->first;
		x->npeers = set->n;
	} else {
		x->peers = &st->peer;
		x->npeers = 1;
	}
	x->op0 = b->plan->nops;
	b->plan->nops += x->npeers;
	if (st->flags & STEP_SET)
		while (x->own_place < x->npeers && x->peers[x->own_place] < b->s->rank)
			x->own_place++;
	else
		x->own_place = st->flags & STEP_REVERSED ? 1 : 0;
}

static void bind_step(const struct binder *b, struct bound *x, const struct step *st)
{
	bool avg = st->flags & STEP_FINAL && b->a->op == TUTTI_AVG && coll_rows[b->s->coll].reduces;
	*x = (struct bound){ .op = st->op, .flags = st->flags, .channel = b->a->p2p ? NET_CHANNELS - 1 : st->channel, .scale = avg ? b->s->nranks : 1 };
	memcpy(x->wait, st->wait, sizeof(x->wait));
	bind_operand(b, x, st->dst, &x->dst_buf, &x->dst);
	bind_operand(b, x, st->src, &x->src_buf, &x->src);
	bind_peers(b, x, st);
	x->user = !(x->op == STEP_SEND && x->src_buf == BUF_SCRATCH);
}

/* ---- waits ------------------------------------------------------------------------------------------------------- */

/* How one operand of a waiting step lies to what j touches. */
static enum wait_kind operand_kind(struct place a, size_t len, const struct bound *j)
{
	bool covered = false, mapped = false;
	for (int i = 0; i < j->noperands; i++) {
		struct place p = j->operand[i];
		bool apart = p.scratch != a.scratch || p.at >= a.at + len || a.at >= p.at + j->len;
		if (apart)
			continue;
		if (p.at == a.at && j->len >= len)
			covered = true;
		else
			mapped = true;
	}
	return mapped ? WAIT_MAPPED : covered ? WAIT_SAME : WAIT_WHOLE;
}

static enum wait_kind kind_of(const struct bound *x, const struct bound *j)
{
	enum wait_kind kind = WAIT_NONE;
	for (int i = 0; i < x->noperands; i++) {
		enum wait_kind k = operand_kind(x->operand[i], x->len, j);
		if (k == WAIT_WHOLE)
			return WAIT_WHOLE;
		if (k > kind)
			kind = k;
	}
	return x->len && j->len && kind ? kind : WAIT_WHOLE;    /* nothing is touched: only completion counts */
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static void bind_queues(struct plan *p)
{
	uint32_t *at = p->order;
	for (uint32_t q = 0; q < PLAN_QUEUES; q++) {
		struct queue *to = &p->queue[p->nqueues];
		to->steps = at;
		to->n = 0;
		for (uint32_t i = 0; i < p->nsteps; i++)
			if (p->steps[i].channel * 2u + (p->steps[i].op == STEP_SEND) == q) {
				p->steps[i].queue = p->nqueues;
				p->steps[i].nth = to->n;
				at[to->n++] = i;
			}
		at += to->n;
		if (to->n)
			p->queue_id[p->nqueues++] = (uint8_t)q;
	}
}

int plan_bind(struct plan **plan, const struct sched *s, const struct plan_args *a)
{
	struct plan *p = calloc(1, sizeof(*p));
	struct binder b = { p, s, a };
	if (!p)
		return err_set(TUTTI_ERR_NOMEM, "no memory for a plan");
	p->sched = s;
	p->coll = s->coll;
	p->count = a->count;
	p->type = a->type;
	p->op = a->op;
	p->root = a->root;
	p->p2p = a->p2p;
	p->esize = type_bytes(a->type);
	p->eshift = __builtin_ctzll(p->esize);
	p->slice = a->slice < NET_GRAIN ? NET_GRAIN : a->slice;
	p->sig = plan_sig(s, a);
	p->nsteps = s->nsteps;
	p->steps = calloc(s->nsteps + 1, sizeof(*p->steps));
	p->order = calloc(s->nsteps + 1, sizeof(*p->order));
	if (!p->steps || !p->order) {
		plan_free(p);
		return err_set(TUTTI_ERR_NOMEM, "no memory for a plan of %u steps", s->nsteps);
	}
	p->in_bytes = elem_bytes(&b, coll_in_blocks(s->coll, s->nranks) * s->k);
	p->out_bytes = elem_bytes(&b, coll_out_blocks(s->coll, s->nranks) * s->k);
	p->scratch_bytes = elem_bytes(&b, s->scratch_chunks);
	for (uint32_t i = 0; i < s->nsteps; i++) {
		struct bound *x = &p->steps[i];
		bind_step(&b, x, &s->steps[i]);
		p->nuser += x->user;
		for (; x->nwaits < SCHED_MAX_WAITS && x->wait[x->nwaits] >= 0; x->nwaits++)
			x->wait_kind[x->nwaits] = (uint8_t)kind_of(x, &p->steps[x->wait[x->nwaits]]);
	}
	bind_queues(p);
	*plan = p;
	return TUTTI_OK;
}

void plan_free(struct plan *p)
{
	if (!p)
		return;
	while (p->idle) {
		struct run *r = p->idle;
		p->idle = r->next;
		free(r);
	}
	free(p->steps);
	free(p->order);
	free(p);
}
