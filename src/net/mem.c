/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regions of memory. The table of regions is an immutable sorted array behind an atomic pointer: look-ups take no lock; a change publishes a new array and keeps
 * the old one, and the struct of a freed region, which a look-up in another thread may still be reading, until the process ends (a few words a change).
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <net/transport.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct table {
	struct table *older;
	size_t n;
	const struct net_mem *row[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(struct table *) regions;
static _Atomic uint64_t frees, last_id;

/* A copy of the table with room for one more; called with the lock held. */
static struct table *table_copy(void)
{
	struct table *old = atomic_load(&regions);
	size_t n = old ? old->n : 0;
	struct table *t = malloc(sizeof(*t) + (n + 1) * sizeof(t->row[0]));
	if (!t)
		return NULL;
	t->older = old;
	t->n = n;
	if (n)
		memcpy(t->row, old->row, n * sizeof(t->row[0]));
	return t;
}

/* Called with the lock held. */
static int table_add(const struct net_mem *m)
{
	struct table *t = table_copy();
	if (t) {
		size_t i = t->n++;
		for (; i && t->row[i - 1]->base > m->base; i--)
			t->row[i] = t->row[i - 1];
		t->row[i] = m;
		atomic_store(&regions, t);
	}
	return t ? TUTTI_OK : err_set(TUTTI_ERR_NOMEM, "no memory for the table of shared regions");
}

int net_mem_new(size_t bytes, const struct net_mem **mem)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	if (!bytes || bytes > SIZE_MAX / 2)
		return err_set(TUTTI_ERR_INVALID, "bytes of shared memory: expected 1..%zu, got %zu", SIZE_MAX / 2, bytes);
	struct net_mem *m = calloc(1, sizeof(*m));
	if (!m)
		return err_set(TUTTI_ERR_NOMEM, "no memory for a shared region");
	m->len = (bytes + page - 1) / page * page;
	m->base = MAP_FAILED;
	m->fd = memfd_create("tutti", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (m->fd < 0 || ftruncate(m->fd, (off_t)m->len) < 0 || fcntl(m->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0 ||
	    (m->base = mmap(NULL, m->len, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0)) == MAP_FAILED) {
		err_sys("cannot make %zu bytes of shared memory", m->len);
		goto fail;
	}
	m->id = atomic_fetch_add(&last_id, 1) + 1;
	pthread_mutex_lock(&lock);
	int status = table_add(m);
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
	free(m);
	return TUTTI_ERR_NOMEM;
}

static bool overlaps(const struct net_mem *m)
{
	const struct table *t = atomic_load(&regions);
	bool found = false;
	for (size_t i = 0; t && i < t->n; i++)
		found |= (char *)m->base < (char *)t->row[i]->base + t->row[i]->len && (char *)t->row[i]->base < (char *)m->base + m->len;
	return found;
}

int net_mem_adopt(void *p, size_t bytes, const struct net_mem **mem)
{
	struct net_mem *m = malloc(sizeof(*m));
	if (!m)
		return err_set(TUTTI_ERR_NOMEM, "no memory for a region");
	*m = (struct net_mem){ p, bytes, NET_MEM_PRIVATE, -1, atomic_fetch_add(&last_id, 1) + 1 };
	pthread_mutex_lock(&lock);
	int status = overlaps(m) ? err_set(TUTTI_ERR_INVALID, "[%p, +%zu) overlaps memory that is registered, or of tutti_mem_alloc", p, bytes) : table_add(m);
	pthread_mutex_unlock(&lock);
	if (status < 0)
		free(m);
	else
		*mem = m;
	return status;
}

void net_mem_free(const struct net_mem *mem)
{
	if (!mem)
		return;
	pthread_mutex_lock(&lock);
	struct table *t = atomic_load(&regions);
	struct table *next = table_copy();      /* with no memory for it the row stays: its addresses are free again only when it is gone */
	if (next) {
		next->n = 0;
		for (size_t i = 0; i < t->n; i++)
			if (t->row[i] != mem)
				next->row[next->n++] = t->row[i];
		atomic_store(&regions, next);
	}
	atomic_fetch_add(&frees, 1);
	pthread_mutex_unlock(&lock);
	if (mem->kind == NET_MEM_PRIVATE)
		return;
	if (next)
		munmap(mem->base, mem->len);
	close(mem->fd);
}

const struct net_mem *net_mem_find(const void *p, size_t bytes)
{
	const struct table *t = atomic_load_explicit(&regions, memory_order_acquire);
	size_t lo = 0, hi = t ? t->n : 0;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct net_mem *m = t->row[mid];
		size_t off = (size_t)((const char *)p - (const char *)m->base);
		if ((const char *)p < (const char *)m->base)
			hi = mid;
		else if (off < m->len)
			return bytes <= m->len - off ? m : NULL;
		else
			lo = mid + 1;
	}
	return NULL;
}

bool net_mem_alive(uint64_t id)
{
	pthread_mutex_lock(&lock);
	const struct table *t = atomic_load(&regions);
	bool found = false;
	for (size_t i = 0; t && i < t->n; i++)
		found |= t->row[i]->id == id;
	pthread_mutex_unlock(&lock);
	return found;
}

uint64_t net_mem_frees(void) { return atomic_load_explicit(&frees, memory_order_relaxed); }
