/* SPDX-License-Identifier: Apache-2.0 */
/* Which machine is this? node: TUTTI_NODE, or "" when it is to be found. Nothing is kept; any thread. */
#ifndef BASE_MACHINE_H
#define BASE_MACHINE_H
#include <stddef.h>
#include <stdint.h>

/* Equal for processes that can share memory: of one boot of one kernel, one network and user namespace, one user (so containers are machines of their own); or
 * of equal nodes. */
uint64_t machine_id(const char *node);

/* node, or the host's name. Always ends within cap. */
void machine_name(const char *node, char *text, size_t cap);
#endif
