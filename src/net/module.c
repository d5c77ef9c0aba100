/* SPDX-License-Identifier: Apache-2.0 */
/* Part of every loadable transport: the library's functions, by its table. */
#include <net/module.h>

const struct net_core *core;

bool net_module_fits(const struct net_core *given)
{
	core = given;
	if (given->config_size == sizeof(struct config) && given->op_size == sizeof(struct net_op))
		return true;
	err_set(TUTTI_ERR_UNSUPPORTED, "its module was built from other sources than the library");
	return false;
}

const char *err_last(void) { return core->err_last(); }
void net_mismatch(struct net_op *op, const struct net_head *got) { core->net_mismatch(op, got); }
bool net_mem_alive(uint64_t id) { return core->net_mem_alive(id); }
uint64_t net_mem_frees(void) { return core->net_mem_frees(); }
uint64_t machine_id(const char *node) { return core->machine_id(node); }
void copy_bytes(void *dst, const void *src, size_t n) { core->copy_bytes(dst, src, n); }
