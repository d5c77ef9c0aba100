/* SPDX-License-Identifier: Apache-2.0 */
#include <net/module.h>

const struct net_core net_core = {
	.config_size = sizeof(struct config),
	.op_size = sizeof(struct net_op),
	.err_set = err_set,
	.err_sys = err_sys,
	.err_last = err_last,
	.log_msg = log_msg,
	.net_ep_fail = net_ep_fail,
	.net_mismatch = net_mismatch,
	.net_mem_alive = net_mem_alive,
	.net_mem_frees = net_mem_frees,
	.machine_id = machine_id,
	.copy_bytes = copy_bytes,
};
