/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct boot and its links: who reads and writes them, what a loss means, how the first cause and the goodbye spread.
 *
 * A raise goes to every link, also back to where it came from: an answered raise is a received one, so that closing after a failure
 * cannot cut off the sentence (a socket closed over unread bytes throws away what it sent last). After a failure nothing but raises is
 * sent.
 */
#include <base/clock.h>
#include <boot/inner.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { EVENTS = 32, FAREWELL_MS = 1000 };

/* ---- shape -------------------------------------------------------------------------------------------------- */

static int count_children(int rank, int nranks, bool star, bool root)
{
	int64_t first = (int64_t)rank * BOOT_FANOUT + 1;

	if (star)
		return root ? nranks - 1 : 0;
	return first >= nranks ? 0 : nranks - first < BOOT_FANOUT ? (int)(nranks - first) : BOOT_FANOUT;
}

int tree_new(struct boot **out, int rank, int nranks, bool star, bool root)
{
	struct boot *b = calloc(1, sizeof *b);
	int rc;

	if (!b)
		return err_set(TUTTI_ERR_NOMEM, "control tree: no memory");
	b->rank = rank;
	b->nranks = nranks;
	b->star = star;
	b->root = root;
	b->nchildren = count_children(rank, nranks, star, root);
	b->nlinks = b->nchildren + !root;
	b->links = calloc((size_t)b->nlinks + 1, sizeof *b->links);
	b->epfd = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; b->links && i < b->nlinks; i++)
		b->links[i].fd = -1;
	if (b->links && b->epfd >= 0) {
		*out = b;
		return TUTTI_OK;
	}
	rc = b->epfd < 0 ? err_sys("epoll_create1") : err_set(TUTTI_ERR_NOMEM, "control tree: no memory");
	b->nlinks = 0;
	tree_free(b);
	return rc;
}

void tree_free(struct boot *b)
{
	for (int i = 0; i < b->nlinks; i++)
		link_end(&b->links[i]);
	if (b->epfd >= 0)
		close(b->epfd);
	free(b->links);
	free(b);
}

struct link *tree_child(struct boot *b, int rank)
{
	int i = b->star ? rank - (rank > b->rank) : rank - b->rank * BOOT_FANOUT - 1;

	return rank == b->rank || rank < 0 || rank >= b->nranks || i < 0 || i >= b->nchildren ? NULL : &b->links[i];
}

struct link *tree_parent(struct boot *b)
{
	return b->root ? NULL : &b->links[b->nchildren];
}

static bool is_child(const struct boot *b, const struct link *l) { return l - b->links < b->nchildren; }

/* ---- words -------------------------------------------------------------------------------------------------- */

static void ranges_flush(struct ranges *r)
{
	char item[32];
	const char *fmt = r->first == r->last ? "%s%d" : r->first + 1 == r->last ? "%s%d, %d" : "%s%d..%d";
	int n = snprintf(item, sizeof item, fmt, r->used ? ", " : "", r->first, r->last);

	if (r->used && r->text[r->used - 1] == '.')
		return;         /* cut before */
	if (r->used + (size_t)n + sizeof ", ..." <= sizeof r->text)
		memcpy(r->text + r->used, item, (size_t)n + 1);
	else
		n = snprintf(r->text + r->used, sizeof r->text - r->used, ", ...");
	r->used += (size_t)n;
}

void ranges_add(struct ranges *r, int rank)
{
	if (r->count++ && rank != r->last + 1)
		ranges_flush(r);
	if (r->count == 1 || rank != r->last + 1)
		r->first = rank;
	r->last = rank;
}

const char *ranges_end(struct ranges *r)
{
	if (r->count)
		ranges_flush(r);
	return r->text;
}

const char *span_text(char *buf, size_t cap, int64_t ns)
{
	if (ns < 1000000000)
		snprintf(buf, cap, "%d ms", (int)(ns / 1000000));
	else
		snprintf(buf, cap, "%.3g s", (double)(ns / 100000000) / 10);
	return buf;
}

static const char *who(const struct link *l, char *buf, size_t cap)
{
	if (l->peer < 0)
		return "the rank that serves the meeting";
	snprintf(buf, cap, "rank %d", l->peer);
	return buf;
}

static const char *loss_text(int code)
{
	switch (code) {
	case 0: case EPIPE: return "connection closed";
	case ECONNRESET: return "connection reset";
	case ETIMEDOUT: return "no answer from its machine";
	default: return strerror(code);
	}
}

int tree_told(const struct boot *b)
{
	return err_set(b->status, "%s", b->cause);
}

/* ---- losing and telling ------------------------------------------------------------------------------------- */

static void drop(struct boot *b, struct link *l)
{
	/* a forked child may hold the descriptor open: closing alone would leave it in the epoll */
	epoll_ctl(b->epfd, EPOLL_CTL_DEL, l->fd, NULL);
	link_end(l);
}

static void lost(struct boot *b, struct link *l, const char *how)
{
	char text[ERR_TEXT], name[48];

	drop(b, l);
	if (l->got_bye || b->status)
		return;
	snprintf(text, sizeof text, "%s died or its machine was lost (%.300s)", who(l, name, sizeof name), how);
	boot_raise(b, TUTTI_ERR_PEER, text);
}

int tree_watch(struct boot *b, struct link *l)
{
	uint32_t want = EPOLLIN | (link_idle(l) ? 0 : EPOLLOUT);
	struct epoll_event e = { .events = want, .data.u32 = (uint32_t)(l - b->links) };

	if (want == l->watch)
		return TUTTI_OK;
	if (epoll_ctl(b->epfd, l->watch ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, l->fd, &e))
		return err_sys("epoll_ctl");
	l->watch = want;
	return TUTTI_OK;
}

void tree_push(struct boot *b, struct link *l)
{
	int rc = link_flush(l);

	if (rc == TUTTI_ERR_PEER)
		lost(b, l, loss_text(l->why));
	else if (tree_watch(b, l))
		lost(b, l, err_last());
}

/* Without memory for the frame the connection ends: the peer learns that much. */
static void say(struct boot *b, struct link *l, uint32_t kind, const void *body, size_t len)
{
	unsigned char *p = link_room(l, len);

	if (!p) {
		lost(b, l, err_last());
		return;
	}
	if (len)
		memcpy(p, body, len);
	link_put(l, kind, len);
	tree_push(b, l);
}

void tree_say(struct boot *b, struct link *l, uint32_t kind)
{
	say(b, l, kind, NULL, 0);
}

int boot_raise(struct boot *b, int status, const char *sentence)
{
	unsigned char body[4 + ERR_TEXT];

	if (b->status)
		return b->status;
	b->status = status < 0 ? status : TUTTI_ERR_INTERNAL;
	snprintf(b->cause, sizeof b->cause, "%s", sentence);
	le_put(body, (uint32_t)b->status, 4);
	memcpy(body + 4, b->cause, strlen(b->cause));
	for (int i = 0; i < b->nlinks; i++)
		if (b->links[i].fd >= 0)
			say(b, &b->links[i], FRAME_RAISE, body, 4 + strlen(b->cause));
	return b->status;
}

/* ---- letters ------------------------------------------------------------------------------------------------ */

/* The link on the way to a rank: the child above it, or else the parent. */
static struct link *toward(struct boot *b, int to)
{
	while (!b->star && to > b->rank && (to - 1) / BOOT_FANOUT != b->rank)
		to = (to - 1) / BOOT_FANOUT;
	return tree_child(b, to) ? tree_child(b, to) : tree_parent(b);
}

static int letter_pass(struct boot *b, const unsigned char *body, size_t len)
{
	int from = (int)le_get(body, 4), to = (int)le_get(body + 4, 4);
	struct link *l = to == b->rank ? NULL : toward(b, to);

	if (to == b->rank && b->letters)
		b->letters(b->letters_ctx, from, body + LETTER_HEAD, len - LETTER_HEAD);
	if (l && l->fd >= 0)
		say(b, l, FRAME_LETTER, body, len);
	return TUTTI_OK;
}

static int take_letter(struct boot *b, struct link *l, const struct frame *f)
{
	(void)l;
	if (le_get(f->body, 4) >= (uint64_t)b->nranks || le_get(f->body + 4, 4) >= (uint64_t)b->nranks)
		return TUTTI_ERR_INVALID;
	return letter_pass(b, f->body, f->len);
}

int boot_post(struct boot *b, int to, const void *bytes, size_t len)
{
	unsigned char body[LETTER_HEAD + BOOT_LETTER_MAX];

	if (len > BOOT_LETTER_MAX || to < 0 || to >= b->nranks)
		return err_set(TUTTI_ERR_INTERNAL, "a letter of %zu bytes to rank %d: expected at most %d bytes to 0..%d", len, to, BOOT_LETTER_MAX,
			b->nranks - 1);
	if (b->status)
		return tree_told(b);
	le_put(body, (uint32_t)b->rank, 4);
	le_put(body + 4, (uint32_t)to, 4);
	memcpy(body + LETTER_HEAD, bytes, len);
	return letter_pass(b, body, LETTER_HEAD + len);
}

void boot_letters(struct boot *b, boot_taker *take, void *ctx)
{
	b->letters = take;
	b->letters_ctx = ctx;
}

/* ---- frames in ---------------------------------------------------------------------------------------------- */

static int take_raise(struct boot *b, struct link *l, const struct frame *f)
{
	int status = (int)(uint32_t)le_get(f->body, 4);
	char text[ERR_TEXT];
	size_t n = f->len - 4;

	for (size_t i = 0; i < n; i++)  /* it will be printed */
		text[i] = f->body[4 + i] < ' ' || f->body[4 + i] == 0x7f ? '?' : (char)f->body[4 + i];
	text[n] = 0;
	l->got_raise = true;
	boot_raise(b, status < 0 && status >= TUTTI_ERR_INTERNAL ? status : TUTTI_ERR_INTERNAL, text);
	return TUTTI_OK;
}

static int take_bye(struct boot *b, struct link *l, const struct frame *f)
{
	(void)f;
	/* the parent's answers mine */
	if (l->got_bye || (!is_child(b, l) && !l->said_bye))
		return TUTTI_ERR_INVALID;
	l->got_bye = true;
	return TUTTI_OK;
}

static int take_welcome(struct boot *b, struct link *l, const struct frame *f)
{
	(void)b, (void)l, (void)f;
	return TUTTI_ERR_INVALID;       /* meet.c takes the only one */
}

void tree_take(struct boot *b, struct link *l, const struct frame *f)
{
	static int (*const takers[FRAME_KINDS])(struct boot *, struct link *, const struct frame *) = {
		[FRAME_WELCOME] = take_welcome, [FRAME_GATHER] = gather_take, [FRAME_SPREAD] = gather_take,
		[FRAME_LETTER] = take_letter, [FRAME_RAISE] = take_raise, [FRAME_BYE] = take_bye,
	};
	char text[160], name[48];

	if (b->status && f->kind != FRAME_RAISE)
		return;         /* sent before its sender knew */
	if (takers[f->kind](b, l, f)) {
		snprintf(text, sizeof text, "%s sent a control frame (kind %u, %zu bytes) that does not belong here",
			who(l, name, sizeof name), f->kind, f->len);
		boot_raise(b, TUTTI_ERR_INTERNAL, text);
	}
}

static void receive(struct boot *b, struct link *l)
{
	struct frame f;
	int rc = link_fill(l);

	if (rc == TUTTI_ERR_PEER)
		lost(b, l, loss_text(l->why));
	if (rc)
		return;
	while (l->fd >= 0 && (rc = link_next(l, &f)) == TUTTI_OK)
		tree_take(b, l, &f);
	if (l->fd >= 0 && rc < 0)
		lost(b, l, err_last());
}

void tree_event(struct boot *b, uint32_t index, uint32_t events)
{
	struct link *l = &b->links[index];

	if (l->fd >= 0 && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		receive(b, l);
	if (l->fd >= 0 && events & EPOLLOUT)
		tree_push(b, l);
}

int boot_poll(struct boot *b)
{
	struct epoll_event events[EVENTS];
	int n = b->nlinks ? epoll_wait(b->epfd, events, EVENTS, 0) : 0;

	for (int i = 0; i < n; i++)
		tree_event(b, events[i].data.u32, events[i].events);
	return b->status;
}

static _Atomic(int (*)(void)) meanwhile;

void boot_meanwhile(int (*move)(void))
{
	atomic_store(&meanwhile, move);
}

int tree_meanwhile(void)
{
	int (*move)(void) = atomic_load(&meanwhile);

	return move ? move() : 0;
}

int tree_wait(struct boot *b, int64_t until)
{
	enum { LONGEST_MS = 3600000, BUSY_MS = 1 };
	struct pollfd p = { .fd = b->epfd, .events = POLLIN };
	int64_t most = tree_meanwhile() ? BUSY_MS : LONGEST_MS;
	int64_t left = until == CLOCK_NEVER ? most : (until - clock_ns() + 999999) / 1000000;

	poll(&p, 1, left < 0 ? 0 : left > most ? (int)most : (int)left);
	if (boot_poll(b))
		return tree_told(b);
	return until != CLOCK_NEVER && clock_ns() >= until ? TUTTI_ERR_TIMEOUT : TUTTI_OK;
}

/* ---- the end ------------------------------------------------------------------------------------------------ */

static bool children_said_bye(const struct boot *b, struct ranges *late)
{
	bool all = true;

	for (int i = 0; i < b->nchildren; i++)
		if (!b->links[i].got_bye) {
			all = false;
			ranges_add(late, b->links[i].peer);
		}
	return all;
}

static void bye(struct boot *b, struct link *l)
{
	if (l->fd < 0 || l->said_bye)
		return;
	l->said_bye = true;
	tree_say(b, l, FRAME_BYE);
}

static bool flushed(const struct boot *b)
{
	for (int i = 0; i < b->nlinks; i++)
		if (b->links[i].fd >= 0 && !link_idle(&b->links[i]))
			return false;
	return true;
}

/* One step of: up when all below are done; down when all are done. */
static bool goodbye_done(struct boot *b, struct ranges *late)
{
	struct link *parent = tree_parent(b);

	if (!children_said_bye(b, late))
		return false;
	if (parent)
		bye(b, parent);
	if (parent && !parent->got_bye) {
		ranges_add(late, parent->peer < 0 ? 0 : parent->peer);
		return false;
	}
	for (int i = 0; i < b->nchildren; i++)
		bye(b, &b->links[i]);
	return flushed(b);
}

static void goodbye(struct boot *b, int64_t deadline)
{
	struct ranges late = { 0 };
	char text[ERR_TEXT];

	while (!b->status && !goodbye_done(b, &late)) {
		if (tree_wait(b, deadline) == TUTTI_ERR_TIMEOUT && !b->status) {
			snprintf(text, sizeof text, "rank %d closed and waited in vain for rank %s to close too", b->rank,
				ranges_end(&late));
			boot_raise(b, TUTTI_ERR_TIMEOUT, text);
		}
		late = (struct ranges){ 0 };
	}
}

static bool all_know(const struct boot *b)
{
	for (int i = 0; i < b->nlinks; i++)
		if (b->links[i].fd >= 0 && !b->links[i].got_raise && !b->links[i].got_bye)
			return false;
	return flushed(b);
}

static void farewell(struct boot *b, int64_t until)
{
	struct pollfd p = { .fd = b->epfd, .events = POLLIN };

	while (!all_know(b) && clock_ns() < until) {
		poll(&p, 1, (int)((until - clock_ns()) / 1000000) + 1);
		boot_poll(b);
	}
}

void boot_close(struct boot *b, int64_t deadline)
{
	int64_t soon = clock_after_ms(FAREWELL_MS);

	if (!b)
		return;
	goodbye(b, deadline);
	if (b->status)
		farewell(b, deadline < soon ? deadline : soon);
	tree_free(b);
}

/* ---- what others ask ---------------------------------------------------------------------------------------- */

int boot_rank(const struct boot *b) { return b->rank; }
int boot_size(const struct boot *b) { return b->nranks; }
const struct auth_key *boot_key(const struct boot *b) { return &b->key; }
const char *boot_cause(const struct boot *b) { return b->cause; }
int boot_fd(const struct boot *b) { return b->epfd; }
