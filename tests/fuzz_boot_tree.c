/* SPDX-License-Identifier: Apache-2.0 */
/* Well-sealed frames with any content, in any order, from any link, to a rank of a tree or of a star that is in the middle of an
 * all-gather or not. */
#include <boot/inner.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RANKS = 40, BYTES = 24 };

static struct boot *make(uint8_t how)
{
	bool star = how & 1, root = how & 2;
	struct boot *b;

	if (tree_new(&b, root ? 0 : 1, RANKS, star, root))
		abort();
	for (int r = 0; r < RANKS; r++)
		if (tree_child(b, r))
			tree_child(b, r)->peer = r;
	if (tree_parent(b))
		tree_parent(b)->peer = star ? -1 : 0;
	if (how & 4) {
		b->all = malloc(RANKS * BYTES);
		b->bytes = BYTES;
		b->seq = 1;
		b->gathered = how & 8;
	}
	return b;
}

/* link 1 | kind 1 | length 2 | body. Sealed and opened, so that only what passes frame_open's bounds goes on. */
static size_t one_frame(struct boot *b, const uint8_t *data, size_t size)
{
	static const unsigned char key[AUTH_KEY_BYTES];
	size_t len = (size_t)le_get(data + 2, 2), need;
	struct link *l = &b->links[data[0] % b->nlinks];
	unsigned char *at;
	struct frame f;

	if (len > size - 4)
		len = size - 4;
	at = malloc(frame_bytes(len));
	memcpy(at + FRAME_HEAD, data + 4, len);
	frame_seal(at, key, true, 0, data[1], len);
	if (frame_open(at, frame_bytes(len), key, true, 0, &f, &need) == TUTTI_OK)
		tree_take(b, l, &f);
	free(at);
	return 4 + len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct boot *b;
	unsigned char *all;

	if (!size)
		return 0;
	b = make(data[0]);
	all = b->all;
	for (data++, size--; size >= 4;) {
		size_t n = one_frame(b, data, size);

		data += n;
		size -= n;
	}
	if (b->have > RANKS * BYTES || strlen(b->cause) >= ERR_TEXT || b->status > 0)
		abort();
	free(all);
	tree_free(b);
	return 0;
}
