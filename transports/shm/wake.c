/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sleeping: the rank's bell says that it sleeps, peers that publish something ring its eventfd. The argument for no lost wake-up stands
 * in layout.h.
 */
#define _GNU_SOURCE
#include "shm.h"
#include <linux/membarrier.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

static int membarrier(int command) { return (int)syscall(SYS_membarrier, command, 0, 0); }

/* This process takes part in others' barriers from now on, and can make one. */
bool shm_membarrier_ready(void)
{
	return membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) == 0 && membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED) == 0;
}

static bool sending(const struct shm_iface *s)
{
	for (const struct shm_end *end = s->active; end; end = end->next)
		if (end->sends)
			return true;
	return false;
}

int shm_arm(struct net_iface *iface)
{
	struct shm_iface *s = (struct shm_iface *)iface;
	if (s->unsettled && shm_dialling(s))    /* a full queue tells nobody when it has space */
		return NET_BUSY;
	s->sleeps += 4;
	atomic_store_explicit(&s->bell->asleep, s->sleeps | SHM_ASLEEP | (sending(s) ? SHM_SENDING : 0), memory_order_relaxed);
	shm_fence(memory_order_seq_cst);
	if (s->membarrier)
		membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED);
	s->armed = 2;
	return s->epfd;
}

void shm_disarm(struct shm_iface *s)
{
	atomic_store_explicit(&s->bell->asleep, s->sleeps, memory_order_relaxed);
	shm_poll(s);
}

void shm_ring(struct shm_ep *e, uint32_t asleep)
{
	e->rung = asleep;
	eventfd_write(e->bell_fd, 1);   /* fails only when it is readable already */
}
