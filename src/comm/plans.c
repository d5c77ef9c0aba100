/* SPDX-License-Identifier: Apache-2.0 */
/* The caches of one communicator: schedules (few, kept) and plans (by call; the idle ones are dropped when there are too many). */
#include <base/type.h>
#include <comm/comm.h>
#include <plan/choose.h>
#include <stdlib.h>

static uint32_t bucket_of(const struct call *k)
{
	uint64_t h = k->count * 0x9e3779b97f4a7c15u + (uint64_t)k->coll * 0xc2b2ae3d27d4eb4fu + (uint64_t)(k->type * 31 + k->op) * 0x165667b19e3779f9u +
	             (uint64_t)k->root * 0x27d4eb2f165667c5u;
	return (uint32_t)(h >> 40) % PLAN_BUCKETS;
}

static bool same(const struct plan_entry *e, const struct call *k)
{
	return e->coll == k->coll && e->count == k->count && e->type == k->type && e->op == k->op && e->root == k->root &&
	       (k->op < TUTTI_OPS || (op_legal(k->op, k->type) && e->user_op == op_user_id(k->op)));
}

static int sched_get(struct tutti_comm *c, const struct choice *ch, const struct sched **sched)
{
	const struct problem *p = &ch->problem;
	for (struct sched_entry *e = c->plans.scheds; e; e = e->next)
		if (e->sched->algo == ch->algo && e->sched->root == p->root && e->channels == p->channels && e->pieces == p->pieces) {
			*sched = e->sched;
			return TUTTI_OK;
		}
	struct sched_entry *e = calloc(1, sizeof(*e));
	if (!e)
		return err_set(TUTTI_ERR_NOMEM, "no memory for a schedule");
	int status = sched_build(&e->sched, ch->algo, p, c->rank);
	if (status < 0) {
		free(e);
		return status;
	}
	e->channels = p->channels;
	e->pieces = p->pieces;
	e->next = c->plans.scheds;
	c->plans.scheds = e;
	*sched = e->sched;
	return TUTTI_OK;
}

void plans_drop_idle(struct plans *ps)
{
	for (int b = 0; b < PLAN_BUCKETS; b++)
		for (struct plan_entry **p = &ps->bucket[b], *e; (e = *p);) {
			if (e->plan->live) {
				p = &e->next;
				continue;
			}
			*p = e->next;
			plan_free(e->plan);
			free(e->samples);
			free(e);
			ps->n--;
		}
	ps->last = NULL;
}

static int plan_make(struct tutti_comm *c, const struct call *k, struct plan_entry *e)
{
	bool p2p = k->coll == COLL_SEND || k->coll == COLL_RECV;
	size_t slice = c->config.slice;
	struct query q = { k->coll, c->nranks, k->root, k->count * type_bytes(k->type), op_commutes(k->op), c->world.one_machine, c->shape, c->forced ? c->forced : c->table };
	const struct sched *sched = NULL;
	int status = choose(&e->choice, &q, c->config.algo, slice, p2p ? 1 : c->config.channels);
	if (!status)
		status = sched_get(c, &e->choice, &sched);
	if (status)
		return status;
	struct plan_args a = { k->count, k->type, k->op, k->root, e->choice.slice, p2p };
	return plan_bind(&e->plan, sched, &a);
}

static int entry_make(struct tutti_comm *c, const struct call *k, struct plan_entry **entry)
{
	const struct coll_row *row = &coll_rows[k->coll];
	size_t bytes = k->count * type_bytes(k->type);
	ptrdiff_t shift = (ptrdiff_t)bytes * c->rank;
	struct plan_entry *e = malloc(sizeof(*e));
	if (!e)
		return err_set(TUTTI_ERR_NOMEM, "no memory for a plan");
	*e = (struct plan_entry){ .coll = k->coll, .count = k->count, .type = k->type, .op = k->op, .root = k->root, .user_op = op_user_id(k->op) };
	e->reads = coll_reads(k->coll, k->root, c->rank);
	e->writes = coll_writes(k->coll, k->root, c->rank);
	e->in = bytes * coll_in_blocks(k->coll, c->nranks);
	e->out = bytes * coll_out_blocks(k->coll, c->nranks);
	e->in_place = row->out_shift ? shift : row->in_shift ? -shift : 0;
	e->samples = c->config.explain ? calloc(WATCH_SAMPLES, sizeof(*e->samples)) : NULL;
	int status = plan_make(c, k, e);
	if (status < 0) {
		free(e->samples);
		free(e);
	} else
		*entry = e;
	return status;
}

int plans_get(struct tutti_comm *c, const struct call *k, struct plan_entry **entry)
{
	struct plans *ps = &c->plans;
	if (ps->last && same(ps->last, k)) {
		*entry = ps->last;
		return TUTTI_OK;
	}
	struct plan_entry **bucket = &ps->bucket[bucket_of(k)], *e = *bucket;
	while (e && !same(e, k))
		e = e->next;
	if (!e) {
		int status = call_check(c, k);
		if (!status && ps->n >= PLANS_MAX)
			plans_drop_idle(ps);
		if (!status)
			status = entry_make(c, k, &e);
		if (status < 0)
			return status;
		e->next = *bucket;
		*bucket = e;
		ps->n++;
	}
	*entry = ps->last = e;
	return TUTTI_OK;
}

void plans_free(struct plans *ps)
{
	for (int b = 0; b < PLAN_BUCKETS; b++)
		for (struct plan_entry *e = ps->bucket[b], *next; e; e = next) {
			next = e->next;
			plan_free(e->plan);
			free(e->samples);
			free(e);
		}
	for (struct sched_entry *s = ps->scheds, *next; s; s = next) {
		next = s->next;
		sched_free(s->sched);
		free(s);
	}
}
