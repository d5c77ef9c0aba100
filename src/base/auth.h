/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is on the other end of a stream socket? Both ends prove that they hold the job's key, and bind the proof to who they say they are:
 *
 *      dialler                                        acceptor
 *      hello   magic, version, purpose, rank, nonce  ------>
 *              <------  reply  magic, version, rank, nonce, tag(key, "acceptor" | all of the above)
 *      proof   tag(key, "dialler" | all of the above) ----->
 *
 * tag = crypto_auth (libsodium), compared in constant time. Three fixed-size frames; nothing is parsed before its size is there, nothing is
 * believed before its tag is checked. The machine below never blocks: the caller polls the descriptor and calls auth_step again.
 * Without a key (auth_key.none) tags are of a zero key: who may do that is decided by the caller (loopback, or TUTTI_AUTH=none).
 */
#ifndef BASE_AUTH_H
#define BASE_AUTH_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AUTH_KEY_BYTES 32
#define AUTH_FRAME 96           /* the longest of the three frames */

struct auth_key { unsigned char bytes[AUTH_KEY_BYTES]; bool none; };

int auth_init(void);                                            /* libsodium ready; any thread, any number of times */
int auth_random(void *buf, size_t len);
int auth_key_random(struct auth_key *key);
int auth_key_from_text(struct auth_key *key, const char *text); /* 64 hex digits, or any text of 16 or more characters, hashed; else TUTTI_ERR_CONFIG */
void auth_key_derive(struct auth_key *sub, const struct auth_key *key, const char *context);   /* for another purpose or communicator */

struct auth {                   /* one handshake in progress; no pointers of its own, nothing to free */
	const struct auth_key *key;
	int fd, self, peer;         /* peer: whom the dialler expects; at the acceptor -1 until it is proved */
	uint32_t purpose, tag;      /* purpose must be equal at both ends; tag is the dialler's (channel number ...), authenticated */
	bool dialler;
	uint8_t state, got, sent, want;
	unsigned char transcript[3 * AUTH_FRAME];
	unsigned char session[AUTH_KEY_BYTES];  /* after success: a key of this connection, equal at both ends */
};

void auth_dial(struct auth *a, const struct auth_key *key, int fd, uint32_t purpose, uint32_t tag, int self, int peer);
void auth_accept(struct auth *a, const struct auth_key *key, int fd, uint32_t purpose, int self);

/* TUTTI_OK: proved (a->peer, a->tag, a->session are valid). TUTTI_PENDING: poll fd for auth_events(a). Negative: a stranger or a lost connection;
 * the caller closes fd. Reads no byte beyond the handshake. */
int auth_step(struct auth *a);
short auth_events(const struct auth *a);                        /* POLLIN or POLLOUT */
#endif
