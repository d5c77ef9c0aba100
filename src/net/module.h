/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loadable transports. The library shows no symbols but tutti_*, so a module gets what it may call in a table, and calls it by the usual names: a file
 * of a module includes this last.
 *
 *      library: net_find -> dlopen -> tutti_module.start(&net_core) -> its struct net_transport
 */
#ifndef NET_MODULE_H
#define NET_MODULE_H
#include <base/log.h>
#include <base/machine.h>
#include <base/type.h>
#include <net/transport.h>

#define NET_MODULE_STRING2(x) #x
#define NET_MODULE_STRING(x) NET_MODULE_STRING2(x)
#define NET_MODULE_VERSION \
	NET_MODULE_STRING(TUTTI_VERSION_MAJOR) "." NET_MODULE_STRING(TUTTI_VERSION_MINOR) "." NET_MODULE_STRING(TUTTI_VERSION_PATCH)

struct net_core {
	size_t config_size, op_size;    /* of the library: the module must agree */
	int (*err_set)(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
	int (*err_sys)(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
	const char *(*err_last)(void);
	void (*log_msg)(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
	void (*net_ep_fail)(struct net_ep *ep, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
	void (*net_mismatch)(struct net_op *op, const struct net_head *got);
	bool (*net_mem_alive)(uint64_t id);
	uint64_t (*net_mem_frees)(void);
	uint64_t (*machine_id)(const char *node);
	void (*copy_bytes)(void *dst, const void *src, size_t n);
};
extern const struct net_core net_core;          /* the library's */

struct net_module {
	size_t size;                    /* sizeof(struct net_module) */
	const char *version;            /* NET_MODULE_VERSION */
	const struct net_transport *(*start)(const struct net_core *core);      /* NULL with a sentence when it does not fit */
};

#ifdef TUTTI_MODULE
extern const struct net_core *core;             /* what start was given (module.c, which is part of every module) */
bool net_module_fits(const struct net_core *given);     /* sets core */
extern __attribute__((visibility("default"))) const struct net_module tutti_module;
/* The others are functions of module.c. */
#define err_set(...) core->err_set(__VA_ARGS__)
#define err_sys(...) core->err_sys(__VA_ARGS__)
#define log_msg(...) core->log_msg(__VA_ARGS__)
#define net_ep_fail(...) core->net_ep_fail(__VA_ARGS__)
#endif
#endif
