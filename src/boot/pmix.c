/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PMIx, what mpirun (Open MPI) and srun --mpi=pmix bring: a library, loaded when a launcher speaks of it and never linked.
 *
 *      PMIx_Init, PMIx_Get(job size)                                                     pmix_open
 *      PMIx_Put, PMIx_Commit (rank 0), PMIx_Fence (all), PMIx_Get (the others)           pmix_share
 *      PMIx_Finalize                                                                     when the process ends
 *
 * The structures below are the library's since version 3. PMIx is counted: an MPI in the same process has an Init of its own, and whoever
 * finalises last ends the connection. Ours is at the end of the process: after an end a second communicator might find no beginning, and
 * mpirun takes a process that ends without one for a crash.
 *
 * Its calls block as long as they like. Each runs in a thread of its own, which is left behind when the deadline passes: the errand is
 * owned by both sides, and freed by the last.
 */
#include <base/clock.h>
#include <base/config.h>
#include <base/log.h>
#include <boot/inner.h>
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the library -------------------------------------------------------------------------------------------- */

enum { PMIX_STRING = 3, PMIX_BOOL = 1, PMIX_INT = 6, PMIX_UINT16 = 13, PMIX_UINT32 = 14, PMIX_BYTES = 27, PMIX_GLOBAL = 3, OLDEST = 3 };
#define ANY_RANK (UINT32_MAX - 1)

struct pmix_proc { char nspace[256]; uint32_t rank; };
struct pmix_value {
	uint16_t type;
	union {
		bool flag;
		int integer;
		uint16_t u16;
		uint32_t u32;
		struct { char *bytes; size_t size; } object;
		struct { char *name, *value, separator; } envar;        /* the largest */
	} data;
};
struct pmix_info { char key[512]; uint32_t flags; struct pmix_value value; };
_Static_assert(sizeof(void *) != 8 || (sizeof(struct pmix_value) == 32 && sizeof(struct pmix_info) == 552), "the library's own sizes");

#define PMIX_CALLS(X) \
	X(const char *, Get_version, (void)) \
	X(const char *, Error_string, (int)) \
	X(int, Init, (struct pmix_proc *, struct pmix_info *, size_t)) \
	X(int, Put, (uint8_t, const char *, struct pmix_value *)) \
	X(int, Commit, (void)) \
	X(int, Fence, (const struct pmix_proc *, size_t, const struct pmix_info *, size_t)) \
	X(int, Get, (const struct pmix_proc *, const char *, const struct pmix_info *, size_t, struct pmix_value **)) \
	X(int, Finalize, (const struct pmix_info *, size_t))

static struct {
	void *handle;
#define X(type, name, args) type (*name) args;
	PMIX_CALLS(X)
#undef X
} lib;

static const struct { const char *name; size_t offset; } symbols[] = {
#define X(type, name, args) { "PMIx_" #name, offsetof(__typeof__(lib), name) },
	PMIX_CALLS(X)
#undef X
};

/* "PMIx 4.2.2, ..." or "OpenPMIx 4.2.2 (...)" */
static int version_number(const char *text)
{
	text += strcspn(text, "0123456789");
	return *text ? *text - '0' : 0;
}

static int load(void)
{
	void *h = lib.handle ? lib.handle : dlopen("libpmix.so.2", RTLD_NOW | RTLD_LOCAL);

	if (lib.handle)
		return TUTTI_OK;
	if (!h)
		return err_set(TUTTI_ERR_UNSUPPORTED, "PMIx: cannot load libpmix.so.2: %.200s", dlerror());
	for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
		void *f = dlsym(h, symbols[i].name);

		if (!f)
			return err_set(TUTTI_ERR_UNSUPPORTED, "PMIx: libpmix.so.2 has no %s", symbols[i].name);
		memcpy((char *)&lib + symbols[i].offset, &f, sizeof f);
	}
	if (version_number(lib.Get_version()) < OLDEST)
		return err_set(TUTTI_ERR_UNSUPPORTED, "PMIx: expected libpmix %d or newer, got \"%.60s\"", OLDEST, lib.Get_version());
	lib.handle = h;
	return TUTTI_OK;
}

static int failed(const char *what, int code)
{
	return err_set(TUTTI_ERR_SYSTEM, "PMIx: %s failed: %.80s (%d)", what, lib.Error_string(code), code);
}

/* ---- errands ------------------------------------------------------------------------------------------------ */

struct errand {
	int (*run)(struct errand *);
	const char *doing;
	int seconds, serial;            /* what is left for the library's own time-outs; which key */
	uint32_t size, local_rank, local_size;
	unsigned char bytes[PMIX_SHARE_MAX];
	size_t len;
	bool mine;
	int status;
	char why[ERR_TEXT];
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool done, left;                /* the thread is; the caller has */
};

static struct { pid_t pid; bool open, lost; int shared; struct pmix_proc me; } session;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void errand_free(struct errand *e)
{
	pthread_cond_destroy(&e->changed);
	pthread_mutex_destroy(&e->lock);
	free(e);
}

static void *errand_main(void *arg)
{
	struct errand *e = arg;
	int status = e->run(e);
	bool left;

	pthread_mutex_lock(&e->lock);
	e->status = status;
	snprintf(e->why, sizeof e->why, "%s", status ? err_last() : "");
	e->done = true;
	left = e->left;
	pthread_cond_signal(&e->changed);
	pthread_mutex_unlock(&e->lock);
	if (left)
		errand_free(e);
	return NULL;
}

/* Signals stay the program's: neither this thread nor those that the library starts take any. */
static int start(struct errand *e)
{
	pthread_condattr_t clock;
	pthread_attr_t detached;
	pthread_t thread;
	sigset_t all, was;
	int code;

	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_mutex_init(&e->lock, NULL);
	pthread_cond_init(&e->changed, &clock);
	pthread_condattr_destroy(&clock);
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	code = pthread_create(&thread, &detached, errand_main, e);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	pthread_attr_destroy(&detached);
	return code ? err_set(TUTTI_ERR_SYSTEM, "PMIx: no thread: %s", strerror(code)) : TUTTI_OK;
}

/* Runs *given and brings its results back, or TUTTI_ERR_TIMEOUT. */
static int errand(struct errand *given, int64_t deadline)
{
	struct errand *e = malloc(sizeof *e);
	int64_t began = clock_ns(), left = deadline - began;
	struct timespec until = { (time_t)(deadline / 1000000000), (long)(deadline % 1000000000) };
	char span[32];
	int rc = e ? TUTTI_OK : err_set(TUTTI_ERR_NOMEM, "PMIx: no memory");

	if (rc)
		return rc;
	given->seconds = left < 0 ? 1 : left / 1000000000 > 1 << 20 ? 1 << 20 : (int)(left / 1000000000) + 1;
	*e = *given;
	rc = start(e);
	if (rc) {
		errand_free(e);
		return rc;
	}
	pthread_mutex_lock(&e->lock);
	while (!e->done && clock_ns() < deadline)
		deadline == CLOCK_NEVER ? pthread_cond_wait(&e->changed, &e->lock) : pthread_cond_timedwait(&e->changed, &e->lock, &until);
	e->left = !e->done;
	*given = *e;
	pthread_mutex_unlock(&e->lock);
	if (!given->left) {
		errand_free(e);
		return given->status ? err_set(given->status, "%s", given->why) : TUTTI_OK;
	}
	session.lost = true;
	return err_set(TUTTI_ERR_TIMEOUT, "PMIx: still %s after %s", given->doing, span_text(span, sizeof span, clock_ns() - began));
}

/* ---- what they do ------------------------------------------------------------------------------------------- */

static struct pmix_info timeout_info(const struct errand *e)
{
	return (struct pmix_info){ .key = "pmix.timeout", .value = { .type = PMIX_INT, .data.integer = e->seconds } };
}

/* A number about this job (rank ANY_RANK) or this rank. */
static int get_number(const char *key, uint32_t rank, uint32_t *number)
{
	struct pmix_proc who = session.me;
	struct pmix_value *v = NULL;
	int code;

	who.rank = rank;
	code = lib.Get(&who, key, NULL, 0, &v);
	if (code || !v)
		return failed(key, code);
	if (v->type != PMIX_UINT32 && v->type != PMIX_UINT16)
		return err_set(TUTTI_ERR_INVALID, "PMIx: %s: expected a number, got type %d", key, v->type);    /* v: unknown, so leaked */
	*number = v->type == PMIX_UINT16 ? v->data.u16 : v->data.u32;
	free(v);
	return TUTTI_OK;
}

static int run_open(struct errand *e)
{
	int code = session.open ? 0 : lib.Init(&session.me, NULL, 0);

	if (code)
		return err_set(TUTTI_ERR_UNSUPPORTED, "PMIx: PMIx_Init failed: %.80s (%d)", lib.Error_string(code), code);
	session.open = true;
	e->local_size = 0;
	if (get_number("pmix.lrank", session.me.rank, &e->local_rank) || get_number("pmix.local.size", ANY_RANK, &e->local_size))
		e->local_rank = UINT32_MAX;     /* a launcher may not know */
	return get_number("pmix.job.size", ANY_RANK, &e->size);
}

static int run_get(struct errand *e, const char *key)
{
	struct pmix_proc root = session.me;
	struct pmix_info info = timeout_info(e);
	struct pmix_value *v = NULL;
	int code;

	root.rank = 0;
	code = lib.Get(&root, key, &info, 1, &v);
	if (code || !v)
		return failed("PMIx_Get of rank 0's address", code);
	if (v->type != PMIX_BYTES || v->data.object.size != e->len)
		return err_set(TUTTI_ERR_INVALID, "PMIx: %s: expected %zu bytes, got type %d", key, e->len, v->type);
	memcpy(e->bytes, v->data.object.bytes, e->len);
	free(v->data.object.bytes);
	free(v);
	return TUTTI_OK;
}

/* When rank 0 cannot put, it comes to the fence all the same: then the others find nothing, and nobody waits. */
static int run_share(struct errand *e)
{
	struct pmix_info info[2] = { timeout_info(e), { .key = "pmix.collect", .value = { .type = PMIX_BOOL, .data.flag = true } } };
	struct pmix_value v = { .type = PMIX_BYTES, .data.object = { (char *)e->bytes, e->len } };
	struct pmix_proc all = session.me;
	char key[32];
	int put = 0, code;

	snprintf(key, sizeof key, "tutti-%d", e->serial);
	all.rank = ANY_RANK;
	if (e->mine)
		put = lib.Put(PMIX_GLOBAL, key, &v);
	if (e->mine && !put)
		put = lib.Commit();
	code = lib.Fence(&all, 1, info, 2);
	if (put || code)
		return failed(put ? "PMIx_Put of this rank's address" : "PMIx_Fence of all ranks", put ? put : code);
	return e->mine ? TUTTI_OK : run_get(e, key);
}

static int run_finalize(struct errand *e)
{
	(void)e;
	return lib.Finalize(NULL, 0) ? TUTTI_ERR_SYSTEM : TUTTI_OK;
}

/* ---- the process's own -------------------------------------------------------------------------------------- */

/* A forked child has a copy of it all, but the connection is its parent's. */
static void at_exit(void)
{
	struct errand e = { .run = run_finalize, .doing = "saying goodbye" };

	if (session.pid == getpid() && session.open && !session.lost)
		errand(&e, clock_after_ms(PMIX_GOODBYE_MS));
}

static int usable(void)
{
	if (session.lost)
		return err_set(TUTTI_ERR_TIMEOUT, "PMIx: a call to the launcher never came back");
	if (session.pid && session.pid != getpid())
		return err_set(TUTTI_ERR_CONFIG, "PMIx: the connection to the launcher is that of this process's parent");
	return TUTTI_OK;
}

int pmix_open(struct boot_spec *s, int64_t deadline)
{
	struct errand e = { .run = run_open, .doing = "connecting to the launcher" };
	int rc;

	pthread_mutex_lock(&lock);
	rc = usable();
	if (!rc)
		rc = load();
	if (!rc && !session.pid) {
		session.pid = getpid();
		atexit(at_exit);
	}
	if (!rc)
		rc = errand(&e, deadline);
	if (!rc && (e.size < 1 || e.size > MOST_RANKS || session.me.rank >= e.size))
		rc = err_set(TUTTI_ERR_INVALID, "PMIx: expected a rank below the job's size, got %u of %u", session.me.rank, e.size);
	if (!rc) {
		s->rank = (int)session.me.rank;
		s->nranks = (int)e.size;
		s->local_rank = e.local_rank < e.local_size ? (int)e.local_rank : -1;
		s->local_size = (int)e.local_size;
	}
	pthread_mutex_unlock(&lock);
	return rc;
}

int pmix_share(unsigned char *bytes, size_t len, bool mine, int64_t deadline)
{
	struct errand e = { .run = run_share, .doing = "waiting for all ranks of the job to come to its fence", .len = len, .mine = mine };
	int rc;

	memcpy(e.bytes, bytes, len);
	pthread_mutex_lock(&lock);
	e.serial = session.shared++;
	rc = usable();
	if (!rc)
		rc = errand(&e, deadline);
	if (!rc)
		memcpy(bytes, e.bytes, len);
	pthread_mutex_unlock(&lock);
	return rc;
}

int boot_pmix_version(char *text, size_t cap)
{
	int rc, len;

	pthread_mutex_lock(&lock);
	rc = load();
	pthread_mutex_unlock(&lock);
	if (rc)
		return rc;
	len = (int)strcspn(lib.Get_version(), ",(");
	while (len > 0 && lib.Get_version()[len - 1] == ' ')
		len--;
	snprintf(text, cap, "%.*s", len, lib.Get_version());
	return TUTTI_OK;
}
