/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that moves with fewer copies. */
#include <comm/comm.h>
#include <stdint.h>
#include <stdlib.h>

int tutti_mem_alloc(void **ptr, size_t bytes)
{
	const struct net_mem *m;
	if (!ptr)
		return err_set(TUTTI_ERR_INVALID, "ptr: expected a place for the address, got NULL");
	int status = net_mem_new(bytes, &m);
	if (!status)
		*ptr = m->base;
	return status;
}

int tutti_mem_free(void *ptr)
{
	const struct net_mem *m = ptr ? net_mem_find(ptr, 1) : NULL;
	if (ptr && (!m || m->base != ptr || m->fd < 0))
		return err_set(TUTTI_ERR_INVALID, "ptr: expected an address from tutti_mem_alloc, got %p", ptr);
	net_mem_free(m);
	return TUTTI_OK;
}

int tutti_register(struct tutti_comm *c, void *ptr, size_t bytes, struct tutti_mem **mem)
{
	if (!c || !ptr || !mem)
		return err_set(TUTTI_ERR_INVALID, "%s: expected a pointer, got NULL", !c ? "comm" : !ptr ? "ptr" : "mem");
	if (!bytes || bytes > UINTPTR_MAX - (uintptr_t)ptr)
		return err_set(TUTTI_ERR_INVALID, "bytes: expected 1..%zu from %p on, got %zu", (size_t)(UINTPTR_MAX - (uintptr_t)ptr), ptr, bytes);
	struct tutti_mem *m = malloc(sizeof(*m));
	if (!m)
		return err_set(TUTTI_ERR_NOMEM, "no memory for a registration");
	*m = (struct tutti_mem){ .next = c->registered };
	int status = net_mem_adopt(ptr, bytes, &m->region);
	if (status < 0) {
		free(m);
		return comm_error(c, status);
	}
	c->registered = m;
	*mem = m;
	return TUTTI_OK;
}

int tutti_deregister(struct tutti_comm *c, struct tutti_mem *mem)
{
	struct tutti_mem **p = c ? &c->registered : NULL;
	while (p && *p && *p != mem)
		p = &(*p)->next;
	if (!p || !*p)
		return err_set(TUTTI_ERR_INVALID, "mem: expected a registration of this communicator, got %p", (void *)mem);
	*p = mem->next;
	net_mem_free(mem->region);
	free(mem);
	return TUTTI_OK;
}
