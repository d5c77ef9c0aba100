/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes to frames and back: pure functions. A length is checked against its kind's bounds before anybody waits for that many bytes. */
#include <boot/inner.h>
#include <sodium.h>
#include <string.h>

static const struct { uint32_t min, max; } bodies[FRAME_KINDS] = {
	[FRAME_WELCOME] = { 0, 0 },
	[FRAME_GATHER] = { FRAME_PIECE, FRAME_PIECE + FRAME_DATA },
	[FRAME_SPREAD] = { FRAME_PIECE, FRAME_PIECE + FRAME_DATA },
	[FRAME_LETTER] = { LETTER_HEAD, LETTER_HEAD + BOOT_LETTER_MAX },
	[FRAME_RAISE] = { 4, 4 + ERR_TEXT - 1 },
	[FRAME_BYE] = { 0, 0 },
};

void le_put(unsigned char *p, uint64_t v, int bytes)
{
	for (int i = 0; i < bytes; i++)
		p[i] = (unsigned char)(v >> 8 * i);
}

uint64_t le_get(const unsigned char *p, int bytes)
{
	uint64_t v = 0;

	for (int i = 0; i < bytes; i++)
		v |= (uint64_t)p[i] << 8 * i;
	return v;
}

static void tag_make(unsigned char *tag, const unsigned char *at, size_t len, const unsigned char *key, bool dialler)
{
	crypto_generichash_state h;
	unsigned char side = dialler;   /* a frame sent back to its sender is not one of the peer's */

	crypto_generichash_init(&h, key, AUTH_KEY_BYTES, FRAME_TAG);
	crypto_generichash_update(&h, &side, 1);
	crypto_generichash_update(&h, at, len);
	crypto_generichash_final(&h, tag, FRAME_TAG);
}

void frame_seal(unsigned char *at, const unsigned char *key, bool dialler, uint64_t counter, uint32_t kind, size_t len)
{
	le_put(at, len, 4);
	le_put(at + 4, kind, 4);
	le_put(at + 8, counter, 8);
	tag_make(at + FRAME_HEAD + len, at, FRAME_HEAD + len, key, dialler);
}

int frame_open(const unsigned char *at, size_t have, const unsigned char *key, bool dialler, uint64_t counter, struct frame *f,
                size_t *need)
{
	unsigned char tag[FRAME_TAG];
	uint32_t len, kind;

	*need = FRAME_HEAD;
	if (have < FRAME_HEAD)
		return TUTTI_PENDING;
	len = (uint32_t)le_get(at, 4);
	kind = (uint32_t)le_get(at + 4, 4);
	if (kind >= FRAME_KINDS)
		return err_set(TUTTI_ERR_AUTH, "control frame: expected a kind below %d, got %u", FRAME_KINDS, kind);
	if (len < bodies[kind].min || len > bodies[kind].max)
		return err_set(TUTTI_ERR_AUTH, "control frame of kind %u: expected %u..%u bytes, got %u", kind, bodies[kind].min,
			bodies[kind].max, len);
	*need = frame_bytes(len);
	if (have < *need)
		return TUTTI_PENDING;
	tag_make(tag, at, FRAME_HEAD + len, key, dialler);
	if (le_get(at + 8, 8) != counter || sodium_memcmp(tag, at + FRAME_HEAD + len, FRAME_TAG))
		return err_set(TUTTI_ERR_AUTH, "control frame of kind %u: its tag is not the peer's", kind);
	*f = (struct frame){ kind, at + FRAME_HEAD, len };
	return TUTTI_OK;
}
