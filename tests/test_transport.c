/* SPDX-License-Identifier: Apache-2.0 */
/* Behaviour of every transport: whole messages. */
#include "transport_harness.h"
#include <criterion/criterion.h>
#include <string.h>

EVERY_TRANSPORT(a_message_arrives)
{
	struct world w;
	struct net_op s, r;
	char in[5] = "hallo", out[5];
	world_open(&w, transport, 2);
	recv_post(&r, w.ep[1][0], 0, out, 5);
	send_post(&s, w.ep[0][1], 0, in, 5);
	until(&w, s.complete && r.complete);
	well(&s);
	well(&r);
	need(!memcmp(in, out, 5), "%.5s", out);
	world_close(&w);
}
