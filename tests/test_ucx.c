/* SPDX-License-Identifier: Apache-2.0 */
/* The letters of the ucx transport, as a broken or hostile rank may write them: each is that rank's failure, and nothing else's. */
#include <criterion/criterion.h>
#include <string.h>
#include "transport_harness.h"

/* As transports/ucx/ucx.h has it. */
enum { HERE = 0x75637801, BYTES = 384 };
struct letter { uint32_t kind, total, at, len; uint64_t token; unsigned char bytes[BYTES]; };

/* From rank 1 to rank 0, who has called it. The low bits of a right token are the receiver's rank. */
static const struct { const char *what; uint32_t kind, total, at, len; uint64_t token; size_t bytes; } letters[] = {
	{ "too short", HERE, 100, 0, 100, 256u << 24, 40 },
	{ "none at all", HERE, 100, 0, 100, 256u << 24, 0 },
	{ "too long", HERE, 100, 0, 100, 256u << 24, NET_LETTER_MAX },
	{ "of another kind", HERE + 7, 100, 0, 100, 256u << 24, sizeof(struct letter) },
	{ "of no bytes", HERE, 1, 0, 0, 256u << 24, sizeof(struct letter) },
	{ "of an address of no bytes", HERE, 0, 0, 0, 256u << 24, sizeof(struct letter) },
	{ "of an address without end", HERE, UINT32_MAX, 0, BYTES, 256u << 24, sizeof(struct letter) },
	{ "of more bytes than the address", HERE, 10, 0, 11, 256u << 24, sizeof(struct letter) },
	{ "of more bytes than there are", HERE, 4000, 0, BYTES + 1, 256u << 24, sizeof(struct letter) },
	{ "that begins later", HERE, 4000, BYTES, BYTES, 256u << 24, sizeof(struct letter) },
	{ "that wraps", HERE, 4000, 0, UINT32_MAX, 256u << 24, sizeof(struct letter) },
	{ "for another rank", HERE, 100, 0, 100, 256u << 24 | 5, sizeof(struct letter) },
};

static void sent_by_a_stranger(size_t i)
{
	unsigned char bytes[NET_LETTER_MAX] = { 0 };
	struct letter l = { letters[i].kind, letters[i].total, letters[i].at, letters[i].len, letters[i].token, { 0 } };
	struct party w;
	struct net_op r;
	uint32_t out = 0;
	party_open(&w, "ucx", 3);
	memcpy(bytes, &l, sizeof(l));
	recv_post(&r, w.ep[0][1], 0, &out, 4);
	w.f[0]->t->letter(w.f[0], 1, bytes, letters[i].bytes);
	until(&w, r.complete)
		;
	need(r.status == TUTTI_ERR_PEER, "a letter %s: %s", letters[i].what, err_name(r.status));
	need(strstr(w.ep[0][1]->why, "letter"), "a letter %s: %s", letters[i].what, w.ep[0][1]->why);
	need(!w.ep[0][2]->status, "a letter %s: rank 2 suffers", letters[i].what);
	party_close(&w);
}

Test(ucx, letters_that_cannot_be_read_are_the_peers_failure)
{
	for (size_t i = 0; i < sizeof(letters) / sizeof(*letters); i++)
		sent_by_a_stranger(i);
}

/* The first letter says how much there is; later ones may not say otherwise. */
Test(ucx, letters_that_disagree_are_the_peers_failure)
{
	struct letter l = { HERE, 400, 0, BYTES, 256u << 24, { 0 } };
	struct party w;
	party_open(&w, "ucx", 2);
	w.f[0]->t->letter(w.f[0], 1, &l, sizeof(l));
	l.total = 60000;
	l.at = BYTES;
	w.f[0]->t->letter(w.f[0], 1, &l, sizeof(l));
	until(&w, w.ep[0][1]->status)
		;
	need(w.ep[0][1]->status == TUTTI_ERR_PEER, "%s", err_name(w.ep[0][1]->status));
	party_close(&w);
}
