/* SPDX-License-Identifier: Apache-2.0 */
/* What every transport would otherwise write again. */
#include <base/log.h>
#include <net/transport.h>
#include <stdarg.h>
#include <stdio.h>

void net_ep_fail(struct net_ep *ep, int status, const char *fmt, ...)
{
	if (ep->status)
		return;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(ep->why, sizeof(ep->why), fmt, ap);
	va_end(ap);
	ep->status = status;
	if (!ep->iface->dead)
		ep->iface->dead = ep;
}

void net_no_letter(struct net_iface *iface, int peer, const void *bytes, size_t len)
{
	(void)bytes;
	log_msg(LOG_WARN, "%s: a letter of %zu bytes from rank %d, where none is expected", iface->t->name, len, peer);
}

void net_mismatch(struct net_op *op, const struct net_head *got)
{
	const struct net_head *want = &op->head;
	op->ep->got = *got;
	net_ep_fail(op->ep, TUTTI_ERR_MISMATCH, "expected operation #%u, message %u of %zu bytes; got operation #%u, message %u of %zu bytes", want->opnum,
	            want->seq, (size_t)want->len, got->opnum, got->seq, (size_t)got->len);
	net_op_end(op, TUTTI_ERR_MISMATCH);
}
