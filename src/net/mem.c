/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regions of memory. One table, sorted by address, changed in place under a lock; look-ups take no lock.
 *
 *      writer: lock; seq odd; change; seq even; unlock        reader: seq (even); search; seq again: the same, or once more
 *
 * What a reader may touch while a writer is at it stays readable for ever: tables that became too small (each half the size of the next), and the struct of a
 * freed region, which an operation may still name (64 bytes each).
 */
#define _GNU_SOURCE
#include <base/clock.h>
#include <fcntl.h>
#include <net/transport.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct region {
	struct net_mem mem;             /* first; constant */
	unsigned users;                 /* who adopted it; under the lock */
	struct region *freed;           /* next of those */
};

struct table { struct table *older; size_t cap; _Atomic(struct region *) row[]; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(struct table *) table;
static _Atomic size_t nrows;
static _Atomic unsigned seq;
static _Atomic uint64_t frees, last_id;
static struct region *freed;            /* kept; under the lock */

/* Who sees a row sees the seq that was there before it. */
static struct region *row(const struct table *t, size_t i) { return atomic_load_explicit(&t->row[i], memory_order_acquire); }
static void set_row(struct table *t, size_t i, struct region *r) { atomic_store_explicit(&t->row[i], r, memory_order_release); }

/* ---- changes, with the lock held ------------------------------------------------------------------------------------ */

static bool table_grow(size_t n)
{
	struct table *old = atomic_load(&table), *t;
	size_t cap = old ? 2 * old->cap : 16;
	if (old && n <= old->cap)
		return true;
	if (!(t = malloc(sizeof(*t) + cap * sizeof(t->row[0]))))
		return false;
	t->older = old;
	t->cap = cap;
	for (size_t i = 0; i < cap; i++)
		atomic_init(&t->row[i], old && i < old->cap ? row(old, i) : NULL);
	atomic_store_explicit(&table, t, memory_order_release);
	return true;
}

static int table_add(struct region *r)
{
	size_t n = atomic_load(&nrows), i = n;
	if (!table_grow(n + 1))
		return err_set(TUTTI_ERR_NOMEM, "no memory for the table of regions");
	struct table *t = atomic_load(&table);
	atomic_fetch_add(&seq, 1);
	for (; i && (char *)row(t, i - 1)->mem.base > (char *)r->mem.base; i--)
		set_row(t, i, row(t, i - 1));
	set_row(t, i, r);
	atomic_store(&nrows, n + 1);
	atomic_fetch_add(&seq, 1);
	return TUTTI_OK;
}

static void table_remove(struct region *r)
{
	struct table *t = atomic_load(&table);
	size_t n = atomic_load(&nrows), to = 0;
	atomic_fetch_add(&seq, 1);
	for (size_t i = 0; i < n; i++)
		if (row(t, i) != r)
			set_row(t, to++, row(t, i));
	atomic_store(&nrows, to);
	atomic_fetch_add(&seq, 1);
	atomic_fetch_add(&frees, 1);
	r->freed = freed;
	freed = r;
}

/* The region that p..p+bytes has a part in, or NULL. */
static struct region *table_touches(const char *p, size_t bytes)
{
	const struct table *t = atomic_load(&table);
	size_t n = atomic_load(&nrows);
	for (size_t i = 0; i < n; i++) {
		struct region *r = row(t, i);
		if (p < (char *)r->mem.base + r->mem.len && (char *)r->mem.base < p + bytes)
			return r;
	}
	return NULL;
}

/* ---- memory of ours ------------------------------------------------------------------------------------------------- */

int net_mem_new(size_t bytes, const struct net_mem **mem)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	if (!bytes || bytes > SIZE_MAX / 2)
		return err_set(TUTTI_ERR_INVALID, "bytes of shared memory: expected 1..%zu, got %zu", SIZE_MAX / 2, bytes);
	struct region *r = calloc(1, sizeof(*r));
	if (!r)
		return err_set(TUTTI_ERR_NOMEM, "no memory for a shared region");
	struct net_mem *m = &r->mem;
	m->len = (bytes + page - 1) / page * page;
	m->base = MAP_FAILED;
	m->fd = memfd_create("tutti", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (m->fd < 0 || ftruncate(m->fd, (off_t)m->len) < 0 || fcntl(m->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0 ||
	    (m->base = mmap(NULL, m->len, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0)) == MAP_FAILED) {
		err_sys("cannot make %zu bytes of shared memory", m->len);
		goto fail;
	}
	m->id = atomic_fetch_add(&last_id, 1) + 1;
	r->users = 1;
	pthread_mutex_lock(&lock);
	int status = table_add(r);
	pthread_mutex_unlock(&lock);
	if (status < 0)
		goto fail;
	*mem = m;
	return TUTTI_OK;
fail:
	if (m->base != MAP_FAILED)
		munmap(m->base, m->len);
	if (m->fd >= 0)
		close(m->fd);
	free(r);
	return TUTTI_ERR_NOMEM;
}

/* ---- the caller's --------------------------------------------------------------------------------------------------- */

/* A region of its own, or a share in the one that holds it. */
static int adopt(void *p, size_t bytes, struct region **region)
{
	struct region *r = table_touches(p, bytes);
	char *end = (char *)p + bytes;
	if (r && ((char *)p < (char *)r->mem.base || end > (char *)r->mem.base + r->mem.len))
		return err_set(TUTTI_ERR_INVALID, "[%p, +%zu) overlaps [%p, +%zu), which is registered, a persistent request's, or of tutti_mem_alloc", p, bytes,
		               r->mem.base, r->mem.len);
	if (!r && !(r = calloc(1, sizeof(*r))))
		return err_set(TUTTI_ERR_NOMEM, "no memory for a region");
	*region = r;
	if (r->users++)
		return TUTTI_OK;
	r->mem = (struct net_mem){ .base = p, .len = bytes, .kind = NET_MEM_PRIVATE, .fd = -1, .id = atomic_fetch_add(&last_id, 1) + 1 };
	int status = table_add(r);
	if (status < 0)
		free(r);
	return status;
}

int net_mem_adopt(void *p, size_t bytes, const struct net_mem **mem)
{
	struct region *r = NULL;
	pthread_mutex_lock(&lock);
	int status = adopt(p, bytes, &r);
	pthread_mutex_unlock(&lock);
	if (!status)
		*mem = &r->mem;
	return status;
}

void net_mem_free(const struct net_mem *mem)
{
	struct region *r = (struct region *)(uintptr_t)mem;
	if (!r)
		return;
	pthread_mutex_lock(&lock);
	bool last = --r->users == 0;
	if (last)
		table_remove(r);
	pthread_mutex_unlock(&lock);
	if (!last || mem->kind != NET_MEM_SHARED)
		return;
	munmap(mem->base, mem->len);
	close(mem->fd);
}

/* ---- looking up ----------------------------------------------------------------------------------------------------- */

static const struct net_mem *search(const struct table *t, size_t n, const char *p, size_t bytes)
{
	size_t lo = 0, hi = t && n > t->cap ? t->cap : n;
	while (t && lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct region *r = row(t, mid);
		if (!r || p < (char *)r->mem.base)
			hi = mid;
		else if ((size_t)(p - (char *)r->mem.base) < r->mem.len)
			return bytes <= r->mem.len - (size_t)(p - (char *)r->mem.base) ? &r->mem : NULL;
		else
			lo = mid + 1;
	}
	return NULL;
}

const struct net_mem *net_mem_find(const void *p, size_t bytes)
{
	for (;;) {
		unsigned before = atomic_load_explicit(&seq, memory_order_acquire);
		size_t n = atomic_load_explicit(&nrows, memory_order_acquire);
		const struct net_mem *m = search(atomic_load_explicit(&table, memory_order_acquire), n, p, bytes);
		if (before % 2 == 0 && atomic_load_explicit(&seq, memory_order_acquire) == before)
			return m;
		clock_relax();
	}
}

bool net_mem_alive(uint64_t id)
{
	pthread_mutex_lock(&lock);
	const struct table *t = atomic_load(&table);
	size_t n = atomic_load(&nrows);
	bool found = false;
	for (size_t i = 0; i < n; i++)
		found |= row(t, i)->mem.id == id;
	pthread_mutex_unlock(&lock);
	return found;
}

uint64_t net_mem_frees(void) { return atomic_load_explicit(&frees, memory_order_relaxed); }
