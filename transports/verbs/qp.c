/* SPDX-License-Identifier: Apache-2.0 */
/* Queue pairs. wr_id is the struct verbs_qp, odd for writes. It outlives the queue pair: endpoints are freed when no completion is looked at any more. */
#include "verbs.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { BATCH = 16, INLINE_WANTED = 256 };

/* ---- life ----------------------------------------------------------------------------------------------------------- */

/* Room in the completion queue for one more queue pair. */
static int cq_grow(struct verbs_iface *s, struct verbs_rail *l)
{
	int need = l->used + s->send_depth + s->recv_depth, want = l->cqe;
	if (need > l->most_cqe)
		return err_set(TUTTI_ERR_UNSUPPORTED, "%s completes at most %d writes at once; one more endpoint needs %d", l->port.device, l->most_cqe, need);
	while (want < need)
		want = want > l->most_cqe / 2 ? l->most_cqe : 2 * want;
	if (want > l->cqe && ibv_resize_cq(l->cq, want))
		return err_sys("cannot make a completion queue of %d on %s", want, l->port.device);
	l->cqe = l->cq->cqe;
	return TUTTI_OK;
}

static struct ibv_qp *create(struct verbs_iface *s, struct verbs_rail *l, struct verbs_qp *q)
{
	struct ibv_qp_init_attr a = {
		.qp_context = q, .send_cq = l->cq, .recv_cq = l->cq, .qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = (uint32_t)s->send_depth, .max_recv_wr = (uint32_t)s->recv_depth, .max_send_sge = 1, .max_recv_sge = 1 },
	};
	struct ibv_qp *qp = NULL;
	for (uint32_t size = INLINE_WANTED; !qp; size /= 2) {   /* devices refuse what is too much */
		a.cap.max_inline_data = size;
		qp = ibv_create_qp(l->pd, &a);
		if (!size)
			break;
	}
	l->inline_max = a.cap.max_inline_data;
	return qp;
}

static int repost(struct verbs_qp *q, unsigned n)
{
	struct ibv_recv_wr wr[BATCH], *bad;
	for (unsigned i = 0; i < n; i++)
		wr[i] = (struct ibv_recv_wr){ .wr_id = (uintptr_t)q, .next = i + 1 < n ? &wr[i + 1] : NULL };
	return n ? ibv_post_recv(q->qp, wr, &bad) : 0;
}

static int qp_make(struct verbs_iface *s, struct verbs_qp *q, int rail)
{
	struct verbs_rail *l = &s->rail[rail];
	struct ibv_qp_attr a = { .qp_state = IBV_QPS_INIT, .port_num = (uint8_t)l->port.port, .qp_access_flags = IBV_ACCESS_REMOTE_WRITE };
	int status = cq_grow(s, l);
	if (status < 0)
		return status;
	q->rail = rail;
	if (getrandom(&q->psn, sizeof(q->psn), 0) != sizeof(q->psn))
		return err_sys("getrandom");
	q->psn &= 0xffffff;
	q->signalled = calloc((size_t)s->send_depth, sizeof(*q->signalled));
	if (!q->signalled)
		return err_set(TUTTI_ERR_NOMEM, "no memory for a queue pair");
	q->qp = create(s, l, q);
	l->used += q->qp ? s->send_depth + s->recv_depth : 0;
	if (!q->qp || ibv_modify_qp(q->qp, &a, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS))
		return err_sys("cannot make a queue pair on %s:%d (is `ulimit -l` large enough?)", l->port.device, l->port.port);
	for (int i = 0; i < s->recv_depth; i += BATCH)
		if (repost(q, s->recv_depth - i < BATCH ? (unsigned)(s->recv_depth - i) : BATCH))
			return err_sys("cannot post receives on %s:%d", l->port.device, l->port.port);
	return TUTTI_OK;
}

int verbs_qps_make(struct verbs_ep *e)
{
	int status = TUTTI_OK;
	for (int i = 0; i < e->rails && !status; i++) {
		e->qp[i].e = e;
		status = qp_make(verbs_of(e), &e->qp[i], i);
	}
	return status;
}

static enum ibv_mtu mtu_of(int bytes)
{
	enum ibv_mtu m = IBV_MTU_256;
	while (m < IBV_MTU_4096 && 256 << m <= bytes)   /* IBV_MTU_256 is 1 */
		m++;
	return m;
}

static int to_receive(struct verbs_ep *e, struct verbs_qp *q)
{
	struct verbs_iface *s = verbs_of(e);
	const struct verbs_port *p = &s->rail[q->rail].port;
	const struct verbs_place *to = &e->place.rail[q->rail];
	int mine = verbs_mtu(s, p), mtu = mine < to->mtu ? mine : to->mtu;
	struct ibv_qp_attr a = {
		.qp_state = IBV_QPS_RTR, .path_mtu = mtu_of(mtu), .dest_qp_num = e->its.qpn[q->rail], .rq_psn = e->its.psn[q->rail],
		.max_dest_rd_atomic = 1, .min_rnr_timer = 12,
		.ah_attr = { .dlid = to->lid, .sl = (uint8_t)s->config->verbs_sl, .port_num = (uint8_t)p->port, .is_global = !p->infiniband },
	};
	if (a.ah_attr.is_global) {
		a.ah_attr.grh = (struct ibv_global_route){ .sgid_index = (uint8_t)p->gids[p->gid].index, .hop_limit = 64,
			                                   .traffic_class = (uint8_t)s->config->verbs_tclass };
		memcpy(a.ah_attr.grh.dgid.raw, to->gid, sizeof(to->gid));
	}
	return ibv_modify_qp(q->qp, &a, IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
	                     IBV_QP_MIN_RNR_TIMER);
}

static int to_send(struct verbs_ep *e, struct verbs_qp *q)
{
	const struct config *c = verbs_of(e)->config;
	struct ibv_qp_attr a = { .qp_state = IBV_QPS_RTS, .timeout = (uint8_t)c->verbs_timeout, .retry_cnt = (uint8_t)c->verbs_retry, .rnr_retry = 0,
		                 .sq_psn = q->psn, .max_rd_atomic = 1 };
	return ibv_modify_qp(q->qp, &a, IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
}

int verbs_qps_connect(struct verbs_ep *e)
{
	char to[64];
	for (int i = 0; i < e->rails; i++) {
		errno = to_receive(e, &e->qp[i]);
		if (!errno)
			errno = to_send(e, &e->qp[i]);
		if (errno)
			return err_sys("no route from %s:%d to %s", verbs_of(e)->rail[i].port.device, verbs_of(e)->rail[i].port.port,
			               verbs_gid_text(e->place.rail[i].gid, to, sizeof(to)));
	}
	return TUTTI_OK;
}

/* To the error state first: then nothing of the peer's is accepted any more, whatever the destruction waits for. */
void verbs_qps_destroy(struct verbs_ep *e)
{
	for (int i = 0; i < VERBS_RAILS; i++) {
		struct verbs_qp *q = &e->qp[i];
		if (!q->qp)
			continue;
		ibv_modify_qp(q->qp, &(struct ibv_qp_attr){ .qp_state = IBV_QPS_ERR }, IBV_QP_STATE);
		if (ibv_destroy_qp(q->qp))
			log_msg(LOG_WARN, "verbs: a queue pair cannot be destroyed");
		verbs_of(e)->rail[i].used -= verbs_of(e)->send_depth + verbs_of(e)->recv_depth;
		q->qp = NULL;
	}
}

/* ---- writing -------------------------------------------------------------------------------------------------------- */

static bool has_room(struct verbs_ep *e, struct verbs_qp *q, unsigned spare, unsigned reserve)
{
	if (!q->qp || q->posted - q->completed + spare >= (unsigned)verbs_of(e)->send_depth)
		return false;
	if (q->immediates - q->room + reserve >= e->its.receives) {
		uint64_t seen = atomic_load_explicit(&e->box->consumed[q->rail], memory_order_acquire);
		if (seen >= q->room && seen <= q->immediates)
			q->room = seen;
	}
	return q->immediates - q->room + reserve < e->its.receives;
}

bool verbs_room(struct verbs_ep *e, int rail) { return has_room(e, &e->qp[rail], VERBS_SPARE, VERBS_RESERVE); }

int verbs_pick(struct verbs_ep *e)
{
	int best = -1;
	double soonest = 0;
	for (int i = 0; i < e->rails; i++) {
		const struct verbs_qp *q = &e->qp[i];
		double rate = verbs_of(e)->rail[i].port.gbits, when = (double)(q->bytes - q->bytes_done + 1) / (rate > 0 ? rate : 1);
		if (verbs_room(e, i) && (best < 0 || when < soonest)) {
			best = i;
			soonest = when;
		}
	}
	return best;
}

bool verbs_write(struct verbs_ep *e, const struct verbs_write *w)
{
	struct verbs_qp *q = &e->qp[w->rail];
	const struct verbs_iface *s = verbs_of(e);
	struct ibv_sge sge = { (uintptr_t)w->from, (uint32_t)w->len, w->lkey };
	struct ibv_send_wr *bad, wr = { .wr_id = (uintptr_t)q | 1, .sg_list = &sge, .num_sge = 1, .opcode = IBV_WR_RDMA_WRITE_WITH_IMM,
		                        .imm_data = htonl(w->imm), .wr.rdma = { w->to, w->rkey } };
	bool signal = w->signal || ++q->silent >= VERBS_SIGNAL;
	wr.send_flags = (signal ? IBV_SEND_SIGNALED : 0) | (w->len <= s->rail[w->rail].inline_max ? IBV_SEND_INLINE : 0);
	int error = ibv_post_send(q->qp, &wr, &bad);
	if (error) {
		char why[128];
		snprintf(why, sizeof(why), "%s refuses a write: %s", s->rail[w->rail].port.device, strerror(error));
		verbs_lost(e, TUTTI_ERR_SYSTEM, why);
		return false;
	}
	q->posted++;
	q->immediates++;
	if (signal) {
		q->signalled[q->asked++ % (unsigned)s->send_depth] = q->posted;
		q->silent = 0;
	}
	return true;
}

static bool tell_on(struct verbs_ep *e, int rail, const void *field, size_t len, enum verbs_imm kind, int channel, bool signal)
{
	size_t at = (size_t)((const char *)field - (const char *)e->mirror);
	struct verbs_write w = { .rail = rail, .from = field, .lkey = e->boxes.mr[rail]->lkey, .len = len, .to = e->its.box + at,
		                 .rkey = e->its.rkey[rail], .imm = (uint32_t)kind << 28 | (uint32_t)channel << 24, .signal = signal };
	return verbs_write(e, &w);
}

bool verbs_tell(struct verbs_ep *e, const void *field, size_t len, enum verbs_imm kind, int channel, bool signal)
{
	return tell_on(e, 0, field, len, kind, channel, signal);
}

/* Tell the peer what has been seen, once a quarter of what it may send. */
static void tell_consumed(struct verbs_ep *e, struct verbs_qp *q)
{
	struct verbs_iface *s = verbs_of(e);
	if (q->consumed - q->told < (unsigned)s->recv_depth / 4 || !e->ready || e->state == VERBS_DEAD)
		return;
	if (!has_room(e, q, 1, 1)) {
		s->owing = true;
		return;
	}
	q->told = q->consumed;
	atomic_store_explicit(&e->mirror->consumed[q->rail], q->told, memory_order_relaxed);
	tell_on(e, q->rail, (const void *)&e->mirror->consumed[q->rail], sizeof(uint64_t), VERBS_CREDIT, 0, false);
}

static void tell_owed(struct verbs_iface *s)
{
	s->owing = false;
	for (struct verbs_ep *e = s->eps; e; e = e->next)
		for (int i = 0; i < e->rails && e->state == VERBS_UP; i++)
			tell_consumed(e, &e->qp[i]);
}

/* ---- completions ---------------------------------------------------------------------------------------------------- */

static const struct { enum ibv_wc_status status; const char *words; } meanings[] = {
	{ IBV_WC_RETRY_EXC_ERR, "no answer after all retries: its process has died, or the link or a switch on the way is down" },
	{ IBV_WC_RNR_RETRY_EXC_ERR, "it had no receive left, which credits should prevent" },
	{ IBV_WC_REM_ACCESS_ERR, "it refused the access: its memory is not registered (any more)" },
	{ IBV_WC_REM_INV_REQ_ERR, "it refused the request" },
	{ IBV_WC_REM_OP_ERR, "its device failed" },
	{ IBV_WC_LOC_PROT_ERR, "this device refused local memory: it is not registered (any more)" },
	{ IBV_WC_LOC_LEN_ERR, "a message is too long for this device" },
	{ IBV_WC_WR_FLUSH_ERR, "the queue pair failed before" },
};

static void failed(struct verbs_qp *q, enum ibv_wc_status status)
{
	const struct verbs_port *p = &verbs_of(q->e)->rail[q->rail].port;
	const char *words = ibv_wc_status_str(status);
	char why[160];
	for (size_t i = 0; i < sizeof(meanings) / sizeof(*meanings); i++)
		if (meanings[i].status == status)
			words = meanings[i].words;
	snprintf(why, sizeof(why), "%s (%s:%d, GID %d)", words, p->device, p->port, p->ngids ? p->gids[p->gid].index : 0);
	verbs_lost(q->e, TUTTI_ERR_PEER, why);
}

static void came(struct verbs_qp *q, uint32_t imm, uint32_t len)
{
	struct verbs_ep *e = q->e;
	unsigned kind = imm >> 28, channel = imm >> 24 & 15;
	bool fits = channel < NET_CHANNELS && kind >= VERBS_MESSAGE && kind <= VERBS_CREDIT;
	if (fits && kind == VERBS_MESSAGE)
		verbs_rx_arrived(&e->rx[channel]);
	else if (fits && kind == VERBS_ADVERT)
		e->tx[channel].adverts++;
	else if (fits && kind == VERBS_DATA)
		fits = verbs_rx_piece(&e->rx[channel], imm & VERBS_NUMBER, len);
	if (!fits) {
		verbs_lost(e, TUTTI_ERR_PEER, "it wrote what does not belong there");
		return;
	}
	if (++q->unposted == BATCH) {
		if (repost(q, BATCH)) {
			verbs_lost(e, TUTTI_ERR_SYSTEM, "receives cannot be posted");
			return;
		}
		q->unposted = 0;
		q->consumed += BATCH;
		tell_consumed(e, q);
	}
}

static void completed(struct verbs_iface *s, const struct ibv_wc *wc)
{
	struct verbs_qp *q = (struct verbs_qp *)(uintptr_t)(wc->wr_id & ~1ull);
	if (!q->qp)
		return;                 /* destroyed: what it left in the queue */
	if (wc->status != IBV_WC_SUCCESS)
		failed(q, wc->status);
	else if (wc->wr_id & 1)
		q->completed = q->signalled[q->answered++ % (unsigned)s->send_depth];
	else
		came(q, ntohl(wc->imm_data), wc->byte_len);
}

void verbs_rail_failed(struct verbs_iface *s, int rail, const char *why)
{
	for (struct verbs_ep *e = s->eps; e; e = e->next)
		if (rail < e->rails)
			verbs_lost(e, TUTTI_ERR_SYSTEM, why);
}

static int rail_poll(struct verbs_iface *s, int rail)
{
	struct ibv_wc wc[BATCH];
	int n = ibv_poll_cq(s->rail[rail].cq, BATCH, wc);
	for (int i = 0; i < n; i++)
		completed(s, &wc[i]);
	if (n < 0)
		verbs_rail_failed(s, rail, "the completion queue has failed");
	return n > 0 ? n : 0;
}

/* In turns of a batch a rail, so that no rail gets far ahead of another. */
int verbs_poll(struct verbs_iface *s)
{
	enum { ROUNDS = 8 };
	int moved = 0, n = 1;
	for (int round = 0; round < ROUNDS && n; round++) {
		n = 0;
		for (int i = 0; i < s->rails; i++)
			n += rail_poll(s, i);
		moved |= n > 0;
	}
	if (s->owing)
		tell_owed(s);
	return moved;
}
