/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of six stages, three an end; each sends or receives one frame of fixed size in the transcript, which holds all three in order:
 *
 *      hello   magic 8 | version 4 | purpose 4 | tag 4 | rank 4 | nonce 32             integers are little-endian
 *      reply   magic 8 | version 4 | rank 4 | nonce 32 | proof of the acceptor 32
 *      proof   proof of the dialler 32
 *
 * A proof covers its side's label and everything before it in the transcript, so that none can be replayed, reflected or moved. The caller
 * owns the descriptor and the key; sentences never quote key or proof.
 */
#include <base/auth.h>
#include <base/err.h>
#include <errno.h>
#include <poll.h>
#include <sodium.h>
#include <string.h>
#include <sys/socket.h>

#define MAGIC "tutti\r\n\x1a"   /* text-mode relays and greetings of other protocols fail on it at once */
enum { VERSION = 1, NONCE = 32, PROOF = crypto_auth_BYTES };
enum {                          /* where in the transcript */
	HELLO_VERSION = 8, HELLO_PURPOSE = 12, HELLO_TAG = 16, HELLO_RANK = 20, HELLO_NONCE = 24,
	REPLY = HELLO_NONCE + NONCE, REPLY_VERSION = REPLY + 8, REPLY_RANK = REPLY + 12, REPLY_NONCE = REPLY + 16,
	REPLY_PROOF = REPLY_NONCE + NONCE, FINAL = REPLY_PROOF + PROOF, END = FINAL + PROOF
};
_Static_assert(REPLY <= AUTH_FRAME && FINAL - REPLY <= AUTH_FRAME && END <= 3 * AUTH_FRAME, "the frames fit");
_Static_assert(AUTH_KEY_BYTES == crypto_auth_KEYBYTES && AUTH_KEY_BYTES == crypto_generichash_KEYBYTES, "one key for both");

enum { DIAL_HELLO, DIAL_REPLY, DIAL_PROOF, ACCEPT_HELLO, ACCEPT_REPLY, ACCEPT_PROOF, PROVED, REFUSED };

int auth_init(void)
{
	return sodium_init() < 0 ? err_set(TUTTI_ERR_SYSTEM, "libsodium: no source of random numbers") : TUTTI_OK;
}

int auth_random(void *buf, size_t len)
{
	int status = auth_init();

	if (!status)
		randombytes_buf(buf, len);
	return status;
}

int auth_key_random(struct auth_key *key)
{
	key->none = false;
	return auth_random(key->bytes, sizeof key->bytes);
}

int auth_key_from_text(struct auth_key *key, const char *text)
{
	enum { LEAST = 16 };
	size_t len = strlen(text), got;

	if (len < LEAST)
		return err_set(TUTTI_ERR_CONFIG, "the job's key: expected 64 hex digits, or any text of %d or more characters, got %zu",
		               LEAST, len);
	memset(key, 0, sizeof *key);
	if (len == 2 * AUTH_KEY_BYTES && !sodium_hex2bin(key->bytes, sizeof key->bytes, text, len, NULL, &got, NULL) &&
	    got == sizeof key->bytes)
		return TUTTI_OK;
	crypto_generichash(key->bytes, sizeof key->bytes, (const unsigned char *)text, len, NULL, 0);
	return TUTTI_OK;
}

void auth_key_derive(struct auth_key *sub, const struct auth_key *key, const char *context)
{
	struct auth_key made = { .none = key->none };

	if (!key->none)
		crypto_generichash(made.bytes, sizeof made.bytes, (const unsigned char *)context, strlen(context),
		                   key->bytes, sizeof key->bytes);
	*sub = made;
}

static void put32(unsigned char *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (unsigned char)(v >> 8 * i);
}

static uint32_t get32(const unsigned char *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static const unsigned char *key_bytes(const struct auth *a)
{
	static const unsigned char zero[AUTH_KEY_BYTES];

	return a->key->none ? zero : a->key->bytes;
}

/* out = tag(key, label | transcript up to len); the label is eight bytes */
static void proof(const struct auth *a, unsigned char out[PROOF], const char *label, size_t len)
{
	crypto_auth_hmacsha512256_state h;

	crypto_auth_hmacsha512256_init(&h, key_bytes(a), AUTH_KEY_BYTES);
	crypto_auth_hmacsha512256_update(&h, (const unsigned char *)label, 8);
	crypto_auth_hmacsha512256_update(&h, a->transcript, len);
	crypto_auth_hmacsha512256_final(&h, out);
}

static int proof_check(const struct auth *a, const char *label, size_t len)
{
	unsigned char right[PROOF];

	proof(a, right, label, len);
	if (!sodium_memcmp(right, a->transcript + len, PROOF))
		return TUTTI_OK;
	return err_set(TUTTI_ERR_AUTH, "handshake: who calls itself rank %d proved another key than this job's", a->peer);
}

static int frame_check(const unsigned char *frame)
{
	if (memcmp(frame, MAGIC, 8))
		return err_set(TUTTI_ERR_AUTH, "handshake: expected a tutti rank, got bytes of another protocol (%02x %02x %02x %02x ...)",
		               frame[0], frame[1], frame[2], frame[3]);
	if (get32(frame + HELLO_VERSION) != VERSION)
		return err_set(TUTTI_ERR_AUTH, "handshake: expected protocol version %d, got %u",
		               VERSION, (unsigned)get32(frame + HELLO_VERSION));
	return TUTTI_OK;
}

static int hello_make(struct auth *a)
{
	memcpy(a->transcript, MAGIC, 8);
	put32(a->transcript + HELLO_VERSION, VERSION);
	put32(a->transcript + HELLO_PURPOSE, a->purpose);
	put32(a->transcript + HELLO_TAG, a->tag);
	put32(a->transcript + HELLO_RANK, (uint32_t)a->self);
	return auth_random(a->transcript + HELLO_NONCE, NONCE);
}

static int hello_check(struct auth *a)
{
	const unsigned char *t = a->transcript;
	int status = frame_check(t);

	if (status)
		return status;
	if (get32(t + HELLO_PURPOSE) != a->purpose)
		return err_set(TUTTI_ERR_AUTH, "handshake: expected purpose %u, got purpose %u from who calls itself rank %d",
		               (unsigned)a->purpose, (unsigned)get32(t + HELLO_PURPOSE), (int)get32(t + HELLO_RANK));
	if (get32(t + HELLO_RANK) > INT32_MAX)
		return err_set(TUTTI_ERR_AUTH, "handshake: expected a rank of 0 or more, got %d", (int)get32(t + HELLO_RANK));
	return TUTTI_OK;
}

static int reply_make(struct auth *a)
{
	int status = auth_random(a->transcript + REPLY_NONCE, NONCE);

	memcpy(a->transcript + REPLY, MAGIC, 8);
	put32(a->transcript + REPLY_VERSION, VERSION);
	put32(a->transcript + REPLY_RANK, (uint32_t)a->self);
	proof(a, a->transcript + REPLY_PROOF, "acceptor", REPLY_PROOF);
	return status;
}

static int reply_check(struct auth *a)
{
	int rank = (int)get32(a->transcript + REPLY_RANK), status = frame_check(a->transcript + REPLY);

	if (status)
		return status;
	if (rank != a->peer)
		return err_set(TUTTI_ERR_AUTH, "handshake: expected rank %d, got an answer of rank %d", a->peer, rank);
	return proof_check(a, "acceptor", REPLY_PROOF);
}

static void session_make(struct auth *a)
{
	crypto_generichash(a->session, sizeof a->session, a->transcript, END, key_bytes(a), AUTH_KEY_BYTES);
}

static int final_make(struct auth *a)
{
	proof(a, a->transcript + FINAL, "dialler\n", FINAL);
	session_make(a);
	return TUTTI_OK;
}

static int final_check(struct auth *a)
{
	int status;

	a->peer = (int)get32(a->transcript + HELLO_RANK);
	status = proof_check(a, "dialler\n", FINAL);
	if (status) {
		a->peer = -1;
		return status;
	}
	a->tag = get32(a->transcript + HELLO_TAG);
	session_make(a);
	return TUTTI_OK;
}

/* make: the frame is built, then sent. check: the frame is received, then checked. */
static const struct stage {
	int (*make)(struct auth *), (*check)(struct auth *);
	uint16_t begin, end;
	uint8_t next;
	const char *name;
} stages[] = {
	[DIAL_HELLO]   = { hello_make, NULL,  0,     REPLY, DIAL_REPLY,   "hello" },
	[DIAL_REPLY]   = { NULL, reply_check, REPLY, FINAL, DIAL_PROOF,   "reply" },
	[DIAL_PROOF]   = { final_make, NULL,  FINAL, END,   PROVED,       "proof" },
	[ACCEPT_HELLO] = { NULL, hello_check, 0,     REPLY, ACCEPT_REPLY, "hello" },
	[ACCEPT_REPLY] = { reply_make, NULL,  REPLY, FINAL, ACCEPT_PROOF, "reply" },
	[ACCEPT_PROOF] = { NULL, final_check, FINAL, END,   PROVED,       "proof" },
};

static void start(struct auth *a, const struct auth_key *key, int fd, uint32_t purpose, int self)
{
	memset(a, 0, sizeof *a);
	a->key = key;
	a->fd = fd;
	a->purpose = purpose;
	a->self = self;
	a->peer = -1;
}

void auth_dial(struct auth *a, const struct auth_key *key, int fd, uint32_t purpose, uint32_t tag, int self, int peer)
{
	start(a, key, fd, purpose, self);
	a->dialler = true;
	a->tag = tag;
	a->peer = peer;
	a->state = DIAL_HELLO;
}

void auth_accept(struct auth *a, const struct auth_key *key, int fd, uint32_t purpose, int self)
{
	start(a, key, fd, purpose, self);
	a->state = ACCEPT_HELLO;
}

/* A refusal closes the connection, and closing over unread bytes resets it: both ends of a quarrel see one of these. */
static int lost(const struct auth *a, int code)
{
	const char *name = stages[a->state].name, *who = a->dialler ? "acceptor" : "dialler";

	if (!code || code == ECONNRESET || code == EPIPE)
		return err_set(TUTTI_ERR_AUTH, "handshake: the %s closed the connection at the %s, after %d of %d bytes "
		               "(it holds another key, or is no rank of this job?)", who, name, a->got + a->sent, a->want);
	errno = code;
	return err_sys("handshake, %s", name);
}

/* Move the stage's frame. TUTTI_OK: all of it. */
static int frame_move(struct auth *a)
{
	unsigned char *p = a->transcript + stages[a->state].begin;
	bool sends = stages[a->state].make != NULL;
	ssize_t n;

	while (a->got + a->sent < a->want) {
		n = sends ? send(a->fd, p + a->sent, (size_t)(a->want - a->sent), MSG_DONTWAIT | MSG_NOSIGNAL)
		          : recv(a->fd, p + a->got, (size_t)(a->want - a->got), MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return TUTTI_PENDING;
		if (n <= 0)
			return lost(a, n < 0 ? errno : 0);
		*(sends ? &a->sent : &a->got) += (uint8_t)n;
	}
	return TUTTI_OK;
}

static int stage_move(struct auth *a)
{
	int status = TUTTI_OK;

	if (!a->want) {
		a->want = (uint8_t)(stages[a->state].end - stages[a->state].begin);
		if (stages[a->state].make)
			status = stages[a->state].make(a);
	}
	if (!status)
		status = frame_move(a);
	if (!status && stages[a->state].check)
		status = stages[a->state].check(a);
	return status;
}

int auth_step(struct auth *a)
{
	int status;

	while (a->state < PROVED) {
		status = stage_move(a);
		if (status == TUTTI_PENDING)
			return status;
		if (status) {
			a->state = REFUSED;
			return status;
		}
		a->state = stages[a->state].next;
		a->got = a->sent = a->want = 0;
	}
	return a->state == PROVED ? TUTTI_OK : err_set(TUTTI_ERR_AUTH, "handshake: refused before");
}

short auth_events(const struct auth *a)
{
	return a->state < PROVED && stages[a->state].make ? POLLOUT : POLLIN;
}
