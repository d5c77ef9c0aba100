/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From "rank 3 of 64, meet at host:port" to a tree.
 *
 *      star      everybody dials the rank that serves; one all-gather of cards        (boot_open)
 *      or the caller's exchange, or the parent's tree, gathers the cards              (boot_open_with, boot_split)
 *      tree      each dials its parent at the address on the parent's card, under the communicator's key
 *
 * The communicator's key is derived from the job's (or the parent's) and from the random bytes on all cards: fresh each time, and no
 * more than the job's key protects it, since the cards travel in the clear.
 */
#include <arpa/inet.h>
#include <base/clock.h>
#include <base/config.h>
#include <boot/inner.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* on the wire: address 24, random 32, color 4, key 4 */
enum { CARD_RANDOM = PLACE_BYTES, CARD_COLOR = CARD_RANDOM + 32, CARD_KEY = CARD_COLOR + 4, CARD_BYTES = CARD_KEY + 4, ADDRESSES = 8,
                GRACE_MS = 500 };

/* ---- the tree from cards ------------------------------------------------------------------------------------ */

/* A listening socket at `at` (port 0), and the card that tells of it. */
static int make_card(unsigned char *card, struct place *at, int *fd)
{
	struct place bound;
	int rc = auth_random(card + CARD_RANDOM, 32);

	memset(card + CARD_COLOR, 0, CARD_BYTES - CARD_COLOR);
	if (!rc)
		rc = place_listen(at, fd);
	if (rc)
		return rc;
	if (!place_of_socket(&bound, *fd))
		return err_sys("getsockname");
	place_put(card, &bound);
	return TUTTI_OK;
}

static void make_key(struct auth_key *key, const struct auth_key *base, const unsigned char *cards, int nranks)
{
	struct auth_key open = *base;   /* without a key, of zeros: then only those who could hear the cards (on loopback) know the new one */
	unsigned char hash[32];
	char context[80] = "communicator ";

	crypto_generichash(hash, sizeof hash, cards, (size_t)nranks * CARD_BYTES, NULL, 0);
	sodium_bin2hex(context + strlen(context), sizeof context - strlen(context), hash, sizeof hash);
	open.none = false;
	auth_key_derive(key, &open, context);
}

static int plan_tree(struct meet_plan *plan, struct place *at, const struct boot *b, const unsigned char *cards, int listen_fd)
{
	*plan = (struct meet_plan){ .key = b->key, .purpose = PURPOSE_TREE, .self = b->rank,
	                            .parent = b->root ? -1 : (b->rank - 1) / BOOT_FANOUT,
	                            .listen_fd = b->nchildren ? listen_fd : -1 };
	if (b->root)
		return TUTTI_OK;
	plan->place = at;
	return place_get(at, cards + (size_t)plan->parent * CARD_BYTES);
}

/* cards: of all ranks of the new tree. base: the key to derive from. elder: whose failure ends this. */
static int grow(struct boot **out, int rank, int nranks, const unsigned char *cards, int listen_fd, const struct auth_key *base,
                struct boot *elder, int64_t deadline)
{
	struct meet_plan plan;
	struct place at;
	struct boot *b;
	int rc = tree_new(&b, rank, nranks, false, rank == 0);
	char sentence[ERR_TEXT];

	if (rc)
		return rc;
	make_key(&b->key, base, cards, nranks);
	rc = plan_tree(&plan, &at, b, cards, listen_fd);
	if (!rc)
		rc = meet_run(b, &plan, elder, deadline);
	if (rc) {
		snprintf(sentence, sizeof sentence, "%s", err_last());
		boot_raise(b, rc, sentence);
		boot_close(b, deadline);
		return err_set(rc, "%s", sentence);
	}
	*out = b;
	return TUTTI_OK;
}

/* One rank needs nobody. */
static int alone(struct boot **out)
{
	struct boot *b;
	int rc = tree_new(&b, 0, 1, false, true);

	if (!rc)
		rc = auth_key_random(&b->key);
	if (rc)
		return rc;
	*out = b;
	return TUTTI_OK;
}

int rank_check(int nranks, int rank)
{
	if (nranks < 1 || nranks > MOST_RANKS)
		return err_set(TUTTI_ERR_INVALID, "number of ranks: expected 1..%d, got %d", MOST_RANKS, nranks);
	if (rank < 0 || rank >= nranks)
		return err_set(TUTTI_ERR_INVALID, "rank: expected 0..%d, got %d", nranks - 1, rank);
	return TUTTI_OK;
}

/* ---- the meeting in a star ---------------------------------------------------------------------------------- */

struct venue {                          /* where we meet, and what that says about where to listen */
	struct place addresses[ADDRESSES];
	int n;
	bool loopback;                  /* nobody from elsewhere can come */
	bool keyless;                   /* and nobody may */
};

static bool literal(const char *host)
{
	unsigned char ip[16];

	return inet_pton(AF_INET, host, ip) == 1 || inet_pton(AF_INET6, host, ip) == 1;
}

static int all_loopback(struct venue *v, const char *host)
{
	v->n = place_resolve(host, v->addresses, ADDRESSES);
	v->loopback = v->n > 0;
	for (int i = 0; i < v->n; i++)
		v->loopback = v->loopback && place_loopback(&v->addresses[i]);
	return v->n < 0 ? v->n : TUTTI_OK;
}

/* A name is looked up here only when it must be loopback: rank 0's may appear late, and may mean loopback on its own machine alone. */
static int find_venue(struct venue *v, const struct boot_spec *spec)
{
	const struct config *cfg = config_get();
	bool exact = literal(spec->host) || !strcasecmp(spec->host, "localhost");
	int rc = TUTTI_OK;

	if (!cfg)
		return TUTTI_ERR_CONFIG;
	*v = (struct venue){ .keyless = spec->key.none && strcmp(cfg->auth, "none") };
	if (exact || v->keyless)
		rc = all_loopback(v, spec->host);
	if (!rc && v->keyless && !v->loopback)
		return err_set(TUTTI_ERR_AUTH,
			"%s is not loopback, and there is no key: set TUTTI_SECRET (or TUTTI_SECRET_FILE) equally on all ranks, "
		               "or TUTTI_AUTH=none to trust the network", spec->host);
	if (!rc && !exact && !v->keyless && spec->serves) {
		place_any(&v->addresses[0], AF_INET6, 0);
		place_any(&v->addresses[1], AF_INET, 0);
		v->n = 2;
	}
	return rc;
}

static int listen_at(struct venue *v, const struct boot_spec *spec, int *fd)
{
	int rc = TUTTI_OK;

	if (spec->listen_fd >= 0) {
		*fd = spec->listen_fd;
		return TUTTI_OK;
	}
	for (int k = 0; k < (spec->ports ? spec->ports : 1); k++)
		for (int i = 0; i < v->n; i++) {
			place_set_port(&v->addresses[i], nth_port(spec->port, k));
			rc = place_listen(&v->addresses[i], fd);
			if (!rc)
				return TUTTI_OK;
		}
	return rc;
}

/* Where this rank listens in the tree: where the others can reach it as they reached the meeting. */
static int own_place(struct place *at, const struct boot *star, const struct venue *v)
{
	const struct config *cfg = config_get();
	socklen_t len = sizeof at->addr;
	char text[PLACE_TEXT];
	int rc;

	for (int i = 0; i < star->nlinks; i++)
		if (place_of_socket(at, star->links[i].fd) && (v->loopback || (!*cfg->iface && !place_loopback(at)))) {
			place_set_port(at, 0);
			return TUTTI_OK;
		}
	rc = boot_local_address(&at->addr, &len, text, sizeof text);
	at->len = len;
	return rc;
}

static int meet_star(struct boot *star, const struct boot_spec *spec, struct venue *v, int64_t deadline)
{
	struct meet_plan plan = { .key = spec->key, .purpose = PURPOSE_STAR, .self = 0, .parent = 0, .listen_fd = -1,
	                          .loopback_only = v->keyless, .host = spec->host, .port = spec->port,
	                          .ports = spec->ports ? spec->ports : 1 };
	int rc = TUTTI_OK;

	plan.key.none = false;
	if (spec->serves)
		rc = listen_at(v, spec, &plan.listen_fd);
	if (!rc)
		rc = meet_run(star, &plan, NULL, deadline);
	if (plan.listen_fd >= 0)
		close(plan.listen_fd);
	return rc;
}

/* Cards, tree, and the knowledge that everybody has it. */
static int through_star(struct boot **out, struct boot *star, const struct boot_spec *spec, const struct venue *v, int64_t deadline)
{
	/* those who are there wait a little longer: the one that serves knows better who is missing */
	int64_t late = star->root || deadline == CLOCK_NEVER ? deadline : deadline + GRACE_MS * 1000000;
	unsigned char card[CARD_BYTES], *cards = malloc((size_t)spec->nranks * CARD_BYTES);
	struct place at;
	int fd = -1, rc = cards ? own_place(&at, star, v) : err_set(TUTTI_ERR_NOMEM, "meeting: no memory for %d cards", spec->nranks);
	struct boot *b = NULL;

	if (!rc)
		rc = make_card(card, &at, &fd);
	if (!rc)
		rc = boot_allgather(star, card, cards, CARD_BYTES, late);
	if (!rc)
		rc = grow(&b, spec->rank, spec->nranks, cards, fd, &spec->key, star, deadline);
	if (!rc)
		rc = boot_allgather(star, NULL, NULL, 0, late);
	if (fd >= 0)
		close(fd);
	free(cards);
	if (rc && b)
		tree_free(b);
	else if (!rc)
		*out = b;
	return rc;
}

int boot_open(struct boot **out, const struct boot_spec *spec, int64_t deadline)
{
	struct venue v;
	struct boot *star = NULL;
	char sentence[ERR_TEXT];
	int rc = auth_init();

	if (!rc)
		rc = rank_check(spec->nranks, spec->rank);
	if (!rc && spec->nranks > 1)
		rc = find_venue(&v, spec);
	if (!rc && spec->nranks > 1)
		rc = tree_new(&star, spec->rank, spec->nranks, true, spec->serves);
	if (rc || !star) {
		if (spec->listen_fd >= 0)
			close(spec->listen_fd);
		return rc ? rc : alone(out);
	}
	rc = meet_star(star, spec, &v, deadline);
	if (!rc)
		rc = through_star(out, star, spec, &v, deadline);
	if (rc) {
		snprintf(sentence, sizeof sentence, "%s", err_last());
		boot_raise(star, rc, sentence);
	}
	boot_close(star, deadline);
	return rc ? err_set(rc, "%s", sentence) : TUTTI_OK;
}

/* ---- other ways to gather the cards ------------------------------------------------------------------------- */

static int listen_here(unsigned char *card, int *fd)
{
	struct place at;
	socklen_t len = sizeof at.addr;
	char text[PLACE_TEXT];
	int rc = boot_local_address(&at.addr, &len, text, sizeof text);

	at.len = len;
	return rc ? rc : make_card(card, &at, fd);
}

int boot_open_with(struct boot **out, int nranks, int rank, tutti_allgather_fn fn, void *ctx, int64_t deadline)
{
	struct auth_key open = { .none = false };       /* what the caller's exchange carries is as secret as the exchange */
	unsigned char card[CARD_BYTES], *cards = NULL;
	int fd = -1, rc = auth_init(), said;

	if (!rc)
		rc = rank_check(nranks, rank);
	if (rc || nranks == 1)
		return rc ? rc : alone(out);
	cards = malloc((size_t)nranks * CARD_BYTES);
	rc = cards ? listen_here(card, &fd) : err_set(TUTTI_ERR_NOMEM, "meeting: no memory for %d cards", nranks);
	said = rc ? 0 : fn(card, cards, CARD_BYTES, ctx);
	if (said)
		rc = err_set(TUTTI_ERR_INVALID, "the caller's all-gather: expected 0, got %d", said);
	if (!rc && memcmp(cards + (size_t)rank * CARD_BYTES, card, CARD_BYTES))
		rc = err_set(TUTTI_ERR_INVALID, "the caller's all-gather: the bytes of rank %d did not come back at its place", rank);
	if (!rc)
		rc = grow(out, rank, nranks, cards, fd, &open, NULL, deadline);
	if (fd >= 0)
		close(fd);
	free(cards);
	return rc;
}

struct member { int parent_rank; int32_t key; };

static int by_key(const void *x, const void *y)
{
	const struct member *a = x, *b = y;

	return a->key != b->key ? (a->key > b->key) - (a->key < b->key) : a->parent_rank - b->parent_rank;
}

static int32_t card_int(const unsigned char *card, int at) { return (int32_t)(uint32_t)le_get(card + at, 4); }

/* The members of my color, in their new order. */
static int choose(struct member *m, const unsigned char *cards, int nparent, int color)
{
	int n = 0;

	for (int r = 0; r < nparent; r++) {
		const unsigned char *c = cards + (size_t)r * CARD_BYTES;

		if (card_int(c, CARD_COLOR) == color)
			m[n++] = (struct member){ r, card_int(c, CARD_KEY) };
	}
	qsort(m, (size_t)n, sizeof *m, by_key);
	return n;
}

/* cards: the parent's, replaced by those of my color in their new order */
static int split_off(struct boot **out, struct boot *parent, int color, unsigned char *cards, int fd, int *parent_ranks, int64_t deadline)
{
	struct member *m = malloc((size_t)parent->nranks * sizeof *m);
	unsigned char *mine = malloc((size_t)parent->nranks * CARD_BYTES);
	int n = 0, rank = 0, rc;

	if (m && mine)
		n = choose(m, cards, parent->nranks, color);
	for (int i = 0; i < n; i++) {
		memcpy(mine + (size_t)i * CARD_BYTES, cards + (size_t)m[i].parent_rank * CARD_BYTES, CARD_BYTES);
		parent_ranks[i] = m[i].parent_rank;
		if (m[i].parent_rank == parent->rank)
			rank = i;
	}
	if (!n)
		rc = err_set(TUTTI_ERR_NOMEM, "split: no memory for %d ranks", parent->nranks);
	else if (n == 1)
		rc = alone(out);
	else
		rc = grow(out, rank, n, mine, fd, &parent->key, parent, deadline);
	free(m);
	free(mine);
	return rc;
}

int boot_split(struct boot **out, struct boot *parent, int color, int key, int *parent_ranks, int64_t deadline)
{
	unsigned char card[CARD_BYTES] = { 0 }, *cards = malloc((size_t)parent->nranks * CARD_BYTES);
	struct place at;
	int fd = -1, rc = cards ? TUTTI_OK : err_set(TUTTI_ERR_NOMEM, "split: no memory for %d cards", parent->nranks);
	struct link *l = parent->nlinks ? &parent->links[0] : NULL;

	/* where I listen already, I can be reached */
	if (!rc && l && color >= 0)
		rc = place_of_socket(&at, l->fd) ? (place_set_port(&at, 0), make_card(card, &at, &fd)) : listen_here(card, &fd);
	le_put(card + CARD_COLOR, (uint32_t)color, 4);
	le_put(card + CARD_KEY, (uint32_t)key, 4);
	if (!rc)
		rc = boot_allgather(parent, card, cards, CARD_BYTES, deadline);
	if (!rc && color >= 0)
		rc = split_off(out, parent, color, cards, fd, parent_ranks, deadline);
	else if (!rc)
		*out = NULL;
	if (fd >= 0)
		close(fd);
	free(cards);
	return rc;
}
