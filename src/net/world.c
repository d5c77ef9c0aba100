/* SPDX-License-Identifier: Apache-2.0 */
/* Blobs come from other ranks over the authenticated control tree; they are bounds-checked once, in world_meet. */
#define _GNU_SOURCE
#include <base/log.h>
#include <base/machine.h>
#include <net/world.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct entry { char name[16]; uint32_t len; unsigned char addr[NET_ADDR_MAX]; };
struct blob {
	uint64_t machine;               /* hash of boot id and TUTTI_NODE */
	int32_t cores, n;
	struct entry entry[WORLD_TRANSPORTS];
};

static int usable_cores(void)
{
	cpu_set_t set;
	return sched_getaffinity(0, sizeof(set), &set) ? (int)sysconf(_SC_NPROCESSORS_ONLN) : CPU_COUNT(&set);
}

/* One that cannot run is left out; why stays for the sentence, should none be left. */
static int open_one(struct world *w, const char *name, const struct net_open *o, char why[ERR_TEXT])
{
	if (!net_is_known(name))
		return err_set(TUTTI_ERR_CONFIG, "TUTTI_TRANSPORT: no transport is called \"%s\"", name);
	const struct net_transport *t = net_find(name);
	for (int i = 0; i < w->nifaces; i++)
		if (w->ifaces[i]->t == t)
			return TUTTI_OK;
	char found[NET_FOUND_MAX];
	struct net_iface *f;
	int status = t ? t->probe(o->config, found, sizeof(found)) : TUTTI_ERR_UNSUPPORTED;
	if (!status)
		status = t->open(&f, o);
	if (status == TUTTI_ERR_CONFIG)
		return status;
	if (status < 0) {
		log_msg(LOG_INFO, "transport %s is left out: %s", name, err_last());
		snprintf(why, ERR_TEXT, "%.15s: %.300s", name, err_last());
		return TUTTI_OK;
	}
	f->t = t;
	w->ifaces[w->nifaces++] = f;
	return TUTTI_OK;
}

/* ---- letters: the transport's name, then its bytes ------------------------------------------------------------------ */

struct envelope { char name[16]; unsigned char bytes[NET_LETTER_MAX]; };

static int letter_out(void *ctx, const struct net_iface *from, int peer, const void *bytes, size_t len)
{
	struct world *w = ctx;
	struct envelope e = { 0 };
	if (len > NET_LETTER_MAX)
		return err_set(TUTTI_ERR_INTERNAL, "a letter of %zu bytes; expected at most %d", len, NET_LETTER_MAX);
	snprintf(e.name, sizeof(e.name), "%s", from->t->name);
	memcpy(e.bytes, bytes, len);
	return w->post.post(w->post.ctx, peer, &e, offsetof(struct envelope, bytes) + len);
}

void world_letter(struct world *w, int peer, const void *bytes, size_t len)
{
	struct envelope e = { 0 };
	if (len < sizeof(e.name) || len > sizeof(e) || peer < 0 || peer >= w->nranks)
		return;
	memcpy(&e, bytes, len);
	e.name[sizeof(e.name) - 1] = 0;
	for (int i = 0; i < w->nifaces; i++)
		if (!strcmp(w->ifaces[i]->t->name, e.name))
			w->ifaces[i]->t->letter(w->ifaces[i], peer, e.bytes, len - offsetof(struct envelope, bytes));
}

/* ---- opening and closing ------------------------------------------------------------------------------------------- */

int world_open(struct world *w, int rank, int nranks, const char *transports, const struct auth_key *key, const struct config *c,
               struct world_post post)
{
	*w = (struct world){ .rank = rank, .nranks = nranks, .post = post };
	struct net_open o = { rank, nranks, { letter_out, w }, key, c };
	char *list = strdup(transports), *save = NULL, why[ERR_TEXT] = "none is named";
	w->eps = calloc((size_t)nranks, sizeof(*w->eps));
	w->blobs = calloc((size_t)nranks, sizeof(struct blob));
	int status = list && w->eps && w->blobs ? TUTTI_OK : err_set(TUTTI_ERR_NOMEM, "no memory for %d peers", nranks);
	for (char *n = list ? strtok_r(list, ", ", &save) : NULL; n && !status; n = strtok_r(NULL, ", ", &save))
		status = w->nifaces < WORLD_TRANSPORTS ? open_one(w, n, &o, why) : err_set(TUTTI_ERR_CONFIG, "more than %d transports in \"%s\"", WORLD_TRANSPORTS, transports);
	free(list);
	if (!status && !w->nifaces)
		status = err_set(TUTTI_ERR_UNSUPPORTED, "no transport of \"%.80s\" can run here (%s); see `tutti info --transports`", transports, why);
	if (status < 0)
		world_close(w);
	return status;
}

void world_close(struct world *w)
{
	for (int r = 0; w->eps && r < w->nranks; r++)
		if (w->eps[r])
			w->eps[r]->iface->t->quiesce(w->eps[r]);
	for (int i = 0; i < w->nifaces; i++)
		w->ifaces[i]->t->close(w->ifaces[i]);
	free(w->eps);
	free(w->blobs);
	*w = (struct world){ 0 };
}

size_t world_blob_size(void) { return sizeof(struct blob); }

int world_blob(struct world *w, void *blob)
{
	struct blob *b = memset(blob, 0, sizeof(*b));
	const struct config *c = config_get();
	if (!c)
		return TUTTI_ERR_CONFIG;
	b->machine = machine_id(c->node);
	b->cores = usable_cores();
	b->n = w->nifaces;
	for (int i = 0; i < w->nifaces; i++) {
		struct entry *e = &b->entry[i];
		size_t len = sizeof(e->addr);
		snprintf(e->name, sizeof(e->name), "%s", w->ifaces[i]->t->name);
		int status = w->ifaces[i]->t->address(w->ifaces[i], e->addr, &len);
		if (status < 0)
			return status;
		e->len = (uint32_t)len;
	}
	return TUTTI_OK;
}

static const struct blob *blob_of(const struct world *w, int rank) { return (const struct blob *)w->blobs + rank; }

static const struct entry *entry_of(const struct blob *b, const char *name)
{
	for (int i = 0; i < b->n; i++)
		if (!strcmp(b->entry[i].name, name))
			return &b->entry[i];
	return NULL;
}

static struct net_iface *iface_of(const struct world *w, const char *name)
{
	for (int i = 0; i < w->nifaces; i++)
		if (!strcmp(w->ifaces[i]->t->name, name))
			return w->ifaces[i];
	return NULL;
}

/* The interface for a pair, and the peer's address on it. */
static struct net_iface *choose(const struct world *w, int peer, const struct entry **to)
{
	const struct blob *order = blob_of(w, peer < w->rank ? peer : w->rank), *theirs = blob_of(w, peer);
	for (int i = 0; i < order->n; i++) {
		struct net_iface *f = iface_of(w, order->entry[i].name);
		*to = entry_of(theirs, order->entry[i].name);
		if (f && *to && f->t->reaches(f, (*to)->addr, (*to)->len) == TUTTI_OK)
			return f;
	}
	return NULL;
}

static bool without_network(const char *name) { return !strcmp(name, "shm") || !strcmp(name, "loop"); }

int world_meet(struct world *w, const void *all_blobs)
{
	memcpy(w->blobs, all_blobs, (size_t)w->nranks * sizeof(struct blob));
	const struct blob *me = blob_of(w, w->rank);
	w->cores = me->cores;
	w->on_machine = 0;
	w->one_machine = true;
	for (int r = 0; r < w->nranks; r++) {
		const struct blob *b = blob_of(w, r);
		bool legal = b->n >= 0 && b->n <= WORLD_TRANSPORTS && b->cores > 0;
		for (int i = 0; legal && i < b->n; i++)
			legal = memchr(b->entry[i].name, 0, sizeof(b->entry[i].name)) && b->entry[i].len <= NET_ADDR_MAX;
		if (!legal)
			return err_set(TUTTI_ERR_MISMATCH, "rank %d sent a transport table this version cannot read: is it another version of tutti?", r);
		w->on_machine += b->machine == me->machine;
		w->one_machine &= b->machine == blob_of(w, 0)->machine && b->n > 0 && without_network(b->entry[0].name);
		if (b->cores < w->cores)
			w->cores = b->cores;
	}
	return TUTTI_OK;
}

const struct net_transport *world_transport(struct world *w, int peer)
{
	const struct entry *to;
	struct net_iface *f = choose(w, peer, &to);
	return f ? f->t : NULL;
}

int world_ep(struct world *w, int peer, struct net_ep **ep)
{
	if (!w->eps[peer]) {
		const struct entry *to;
		struct net_iface *f = choose(w, peer, &to);
		if (!f)
			return err_set(TUTTI_ERR_UNSUPPORTED, "no transport reaches rank %d from rank %d: %s", peer, w->rank, err_last());
		int status = f->t->connect(f, peer, to->addr, to->len, &w->eps[peer]);
		if (status < 0)
			return status;
		for (int i = 0; i < w->nifaces; i++)
			w->used[i] |= w->ifaces[i] == f;
	}
	*ep = w->eps[peer];
	return TUTTI_OK;
}
