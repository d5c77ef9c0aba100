/* SPDX-License-Identifier: Apache-2.0 */
/* The transports of this build: one row each. */
#include <assert.h>
#include <net/transport.h>
#include <string.h>

extern const struct net_transport loop_transport, shm_transport, tcp_transport;

const struct net_transport *const net_transports[] = { &loop_transport, &shm_transport, &tcp_transport, NULL };

static bool filled(const struct net_transport *t)
{
	return t->name && t->help && t->probe && t->open && t->close && t->address && t->reaches && t->connect && t->send && t->recv &&
	       t->advance && t->release && t->progress && t->arm && t->quiesce && t->describe;
}

const struct net_transport *net_find(const char *name)
{
	for (int i = 0; net_transports[i]; i++) {
		assert(filled(net_transports[i]));
		if (!strcmp(net_transports[i]->name, name))
			return net_transports[i];
	}
	return NULL;
}
