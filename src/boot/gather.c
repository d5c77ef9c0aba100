/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree's all-gather: a rank waits for its children's subtrees, sends its own up; the root sends everything down, forwarded as it comes.
 *
 * A subtree's blobs travel in the order of its levels, each a run of consecutive ranks. A link gets its next piece when it has sent the
 * last one, so at most one piece a link is copied; both directions move in the same loop, so full socket buffers cannot lock ranks up.
 * A child may be one all-gather ahead, never two: its part is kept in link.up until this rank comes.
 */
#include <base/clock.h>
#include <boot/inner.h>
#include <stdio.h>
#include <string.h>

/* Where byte `off` of rank's subtree stands in `all`, and for how many bytes it goes on there; 0: past the end. */
static size_t subtree_piece(const struct boot *b, int rank, size_t bytes, size_t off, size_t *pos)
{
	int64_t first = rank, count = 1;

	while (first < b->nranks) {
		size_t here = (size_t)(count < b->nranks - first ? count : b->nranks - first) * bytes;

		if (off < here) {
			*pos = (size_t)first * bytes + off;
			return here - off;
		}
		off -= here;
		if (b->star)
			break;
		first = first * BOOT_FANOUT + 1;
		count *= BOOT_FANOUT;
	}
	return 0;
}

static size_t subtree_bytes(const struct boot *b, int rank, size_t bytes)
{
	size_t sum = 0, pos, n;

	while ((n = subtree_piece(b, rank, bytes, sum, &pos)))
		sum += n;
	return sum;
}

/* ---- in ----------------------------------------------------------------------------------------------------- */

static int take_up(struct link *l, uint32_t seq, uint32_t bytes, size_t total, const unsigned char *data, size_t n)
{
	if (l->up_full || seq != l->up_seq + 1 || bytes > BOOT_BLOB_MAX || (l->up.len && bytes != l->up_bytes) || n > total - l->up.len ||
		(!n && total))
		return TUTTI_ERR_INVALID;
	if (buf_need(&l->up, n + 1))
		return TUTTI_ERR_NOMEM;
	if (n)
		memcpy(l->up.p + l->up.len, data, n);
	l->up.len += n;
	l->up_bytes = bytes;
	if (l->up.len == total) {
		l->up_full = true;
		l->up_seq++;
	}
	return TUTTI_OK;
}

static int take_down(struct boot *b, uint32_t seq, uint32_t bytes, const unsigned char *data, size_t n)
{
	size_t total = (size_t)b->nranks * b->bytes;

	if (!b->all || !b->gathered || b->spread || seq != b->seq || bytes != b->bytes || n > total - b->have || (!n && total))
		return TUTTI_ERR_INVALID;
	if (n)
		memcpy(b->all + b->have, data, n);
	b->have += n;
	b->spread = b->have == total;
	return TUTTI_OK;
}

int gather_take(struct boot *b, struct link *l, const struct frame *f)
{
	uint32_t seq = (uint32_t)le_get(f->body, 4), bytes = (uint32_t)le_get(f->body + 4, 4);
	const unsigned char *data = f->body + FRAME_PIECE;
	size_t n = f->len - FRAME_PIECE;
	bool child = l - b->links < b->nchildren;

	if (child != (f->kind == FRAME_GATHER))
		return TUTTI_ERR_INVALID;
	return child ? take_up(l, seq, bytes, subtree_bytes(b, l->peer, bytes), data, n) : take_down(b, seq, bytes, data, n);
}

/* ---- out ---------------------------------------------------------------------------------------------------- */

static void send_piece(struct boot *b, struct link *l, uint32_t kind, size_t pos, size_t n)
{
	unsigned char *body = link_room(l, FRAME_PIECE + n);

	if (!body) {
		boot_raise(b, TUTTI_ERR_NOMEM, err_last());
		return;
	}
	le_put(body, b->seq, 4);
	le_put(body + 4, b->bytes, 4);
	if (n)
		memcpy(body + FRAME_PIECE, b->all + pos, n);
	link_put(l, kind, FRAME_PIECE + n);
	l->fed += n;
	tree_push(b, l);
}

static size_t at_most(size_t n) { return n < FRAME_DATA ? n : FRAME_DATA; }

static void feed_parent(struct boot *b, struct link *l)
{
	while (b->gathered && !l->fed_all && !b->status && l->fd >= 0 && link_idle(l)) {
		size_t pos = 0, n = at_most(subtree_piece(b, b->rank, b->bytes, l->fed, &pos)), next;

		l->fed_all = !subtree_piece(b, b->rank, b->bytes, l->fed + n, &next);
		send_piece(b, l, FRAME_GATHER, pos, n);
	}
}

static void feed_child(struct boot *b, struct link *l)
{
	while ((b->have > l->fed || b->spread) && !l->fed_all && !b->status && l->fd >= 0 && link_idle(l)) {
		size_t n = at_most(b->have - l->fed);

		l->fed_all = b->spread && l->fed + n == b->have;
		send_piece(b, l, FRAME_SPREAD, l->fed, n);
	}
}

/* The children's parts into `all`, once they are all here. */
static void gather_children(struct boot *b)
{
	char text[128];

	for (int i = 0; i < b->nchildren; i++)
		if (!b->links[i].up_full)
			return;
	for (int i = 0; i < b->nchildren; i++) {
		struct link *l = &b->links[i];
		size_t pos, n;

		if (l->up_bytes != b->bytes) {
			snprintf(text, sizeof text, "all-gather %u of the control tree: rank %d brings %u bytes, rank %d brings %zu",
				b->seq, l->peer, l->up_bytes, b->rank, b->bytes);
			boot_raise(b, TUTTI_ERR_MISMATCH, text);
			return;
		}
		for (size_t off = 0; (n = subtree_piece(b, l->peer, b->bytes, off, &pos)); off += n)
			memcpy(b->all + pos, l->up.p + off, n);
		buf_free(&l->up);
		l->up_full = false;
	}
	b->gathered = true;
	if (b->root) {
		b->have = (size_t)b->nranks * b->bytes;
		b->spread = true;
	}
}

/* ---- the call ----------------------------------------------------------------------------------------------- */

static void begin(struct boot *b, const void *mine, void *all, size_t bytes)
{
	static unsigned char nothing;

	b->all = bytes ? all : &nothing;
	b->bytes = bytes;
	b->have = 0;
	b->gathered = b->spread = false;
	b->seq++;
	if (bytes)
		memmove(b->all + (size_t)b->rank * bytes, mine, bytes);
	for (int i = 0; i < b->nlinks; i++) {
		b->links[i].fed = 0;
		b->links[i].fed_all = false;
	}
}

static bool move(struct boot *b)
{
	bool done = true;

	if (!b->gathered)
		gather_children(b);
	for (int i = 0; i < b->nlinks; i++) {
		struct link *l = &b->links[i];

		(i < b->nchildren ? feed_child : feed_parent)(b, l);
		done = done && l->fed_all && link_idle(l);
	}
	return done && b->spread;
}

static int too_late(struct boot *b, int64_t began)
{
	struct ranges late = { 0 };
	char text[ERR_TEXT], span[32];

	for (int i = 0; i < b->nchildren; i++)
		if (!b->gathered ? !b->links[i].up_full : !b->links[i].fed_all)
			ranges_add(&late, b->links[i].peer);
	if (!late.count && tree_parent(b))
		ranges_add(&late, tree_parent(b)->peer);
	if (b->star && !b->root)
		snprintf(text, sizeof text, "rank %d reached the meeting, but not all %d ranks came within %s", b->rank, b->nranks,
		         span_text(span, sizeof span, clock_ns() - began));
	else
		snprintf(text, sizeof text, "all-gather %u of the control tree: rank %d waited %s for rank %s (or those behind)", b->seq,
			b->rank, span_text(span, sizeof span, clock_ns() - began), ranges_end(&late));
	boot_raise(b, TUTTI_ERR_TIMEOUT, text);
	return tree_told(b);
}

int boot_allgather(struct boot *b, const void *mine, void *all, size_t bytes, int64_t deadline)
{
	int64_t began = clock_ns();
	int rc = TUTTI_OK;

	if (bytes > BOOT_BLOB_MAX)
		return err_set(TUTTI_ERR_INVALID, "all-gather of the control tree: expected 0..%d bytes a rank, got %zu", BOOT_BLOB_MAX,
			bytes);
	if (boot_poll(b))
		return tree_told(b);
	begin(b, mine, all, bytes);
	for (;;) {
		if (move(b)) {
			rc = TUTTI_OK;
			break;
		}
		if (rc)
			break;
		rc = b->status ? tree_told(b) : tree_wait(b, deadline);
	}
	if (rc == TUTTI_ERR_TIMEOUT && !b->status)
		rc = too_late(b, began);
	b->all = NULL;
	return rc;
}
