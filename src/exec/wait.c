/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a thread waits: spin about a round trip (not at all with more ranks than cores), yield some times, then sleep on every descriptor of every engine that it
 * drives. A step forward starts over. Clocks and the control tree are looked at every LOOK turns.
 *
 *      spin ----> yield ----> arm all; progress once more; poll ----> back to spin
 *        ^__________|__________________________________________________|   when anything moved
 */
#define _GNU_SOURCE
#include <base/clock.h>
#include <base/log.h>
#include <errno.h>
#include <exec/wait.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>

enum { LOOK = 128, SPIN_LOOK = 16, SLEEP_FDS = 64, SLEEP_ENGINES = 32, CROWDED_MS = 1 };
#define AWAY_NS 3000000000       /* longer than any sleep here */
#define TREE_NS 100000000        /* a program that only tests looks at the control tree this often */

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct engine *engines;
static atomic_int nengines;
static _Thread_local char self __attribute__((tls_model("initial-exec")));      /* its address names the thread; one byte, so that it is found without a call */

void wait_register(struct engine *e)
{
	pthread_mutex_lock(&list_lock);
	e->next = engines;
	engines = e;
	atomic_fetch_add(&nengines, 1);
	pthread_mutex_unlock(&list_lock);
}

void wait_unregister(struct engine *e)
{
	pthread_mutex_lock(&list_lock);
	for (struct engine **p = &engines; *p; p = &(*p)->next)
		if (*p == e) {
			*p = e->next;
			atomic_fetch_sub(&nengines, 1);
			break;
		}
	pthread_mutex_unlock(&list_lock);
}

bool engine_try_enter(struct engine *e) { return !atomic_exchange_explicit(&e->busy, true, memory_order_acquire); }

void engine_enter(struct engine *e)
{
	while (!engine_try_enter(e))
		sched_yield();          /* another thread is just moving it on */
	atomic_store_explicit(&e->owner, &self, memory_order_relaxed);
}

void engine_leave(struct engine *e) { atomic_store_explicit(&e->busy, false, memory_order_release); }

/* The engine that this thread is inside of while it waits for the control tree, if a peer may need its transports. */
static _Thread_local struct engine *lingering;

void engine_linger(struct engine *e) { lingering = e && world_is_restless(e->world) ? e : NULL; }

static bool wants_calls(const struct engine *e) { return e->runs || world_is_restless(e->world); }

/* Enter the other engines that this thread drives and that want to be called; returns how many. They cannot be closed while entered. *all: none was passed over. */
static int enter_others(const struct engine *e, struct engine **others, bool *all)
{
	int n = 0;
	*all = true;
	if (atomic_load_explicit(&nengines, memory_order_relaxed) < 2 && e)
		return 0;
	if (pthread_mutex_trylock(&list_lock)) {
		*all = false;
		return 0;
	}
	for (struct engine *o = engines; o; o = o->next) {
		if (o == e || atomic_load_explicit(&o->owner, memory_order_relaxed) != &self || !wants_calls(o))
			continue;
		if (n < SLEEP_ENGINES && engine_try_enter(o))
			others[n++] = o;
		else
			*all = false;
	}
	pthread_mutex_unlock(&list_lock);
	return n;
}

static void leave_others(struct engine **others, int n)
{
	while (n)
		engine_leave(others[--n]);
}

/* See what the control tree says, and whether another thread wants an end. */
static void look_at_tree(struct engine *e)
{
	int status = e->status ? 0 : boot_poll(e->boot);
	if (status < 0)
		engine_fail(e, status, "%s", boot_cause(e->boot));
	if (atomic_load_explicit(&e->abort_wanted, memory_order_relaxed))
		engine_fail(e, TUTTI_ERR_ABORTED, "rank %d called tutti_comm_abort", e->world->rank);
}

static int move_others(const struct engine *e, bool trees, int *running)
{
	struct engine *others[SLEEP_ENGINES];
	bool all;
	int n = enter_others(e, others, &all), moved = 0;
	for (int i = 0; i < n; i++) {
		if (trees)
			look_at_tree(others[i]);
		moved += !others[i]->status && engine_progress(others[i], true);
	}
	leave_others(others, n);
	*running = n + !all;
	return moved;
}

int engines_move(void)
{
	int running;
	move_others(NULL, false, &running);
	if (lingering)          /* who has gone is no failure any more */
		world_progress(lingering->world, true);
	return running + (lingering != NULL);
}

/* ---- sleeping --------------------------------------------------------------------------------------------------------- */

/* Add e's descriptors; false: something is there already. An engine whose descriptors do not fit is looked at every CROWDED_MS. */
static bool arm(struct engine *e, struct pollfd *fds, int *n, int *most_ms)
{
	if (e->status)
		return true;
	if (*n + e->world->nifaces + 1 > SLEEP_FDS) {
		*most_ms = CROWDED_MS;
		return true;
	}
	fds[(*n)++] = (struct pollfd){ .fd = boot_fd(e->boot), .events = POLLIN };
	for (int i = 0; i < e->world->nifaces; i++) {
		int fd = e->world->ifaces[i]->t->arm(e->world->ifaces[i]);
		if (fd == NET_BUSY)
			return false;
		fds[(*n)++] = (struct pollfd){ .fd = fd, .events = POLLIN };
	}
	return true;
}

static void sleep_until(struct engine *e, int64_t until)
{
	struct engine *all[SLEEP_ENGINES + 1] = { e };
	struct pollfd fds[SLEEP_FDS];
	bool armed = true, whole;
	int n = 1 + enter_others(e, all + 1, &whole), nfds = 0, moved = 0, most_ms = whole ? 1000 : CROWDED_MS;
	for (int i = 0; i < n && armed; i++)
		armed = arm(all[i], fds, &nfds, &most_ms);
	for (int i = 0; i < n && armed; i++)
		moved += !all[i]->status && engine_progress(all[i], true);
	leave_others(all + 1, n - 1);
	if (!armed || moved || e->status)
		return;
	int64_t ms = until == CLOCK_NEVER ? most_ms : (until - clock_ns()) / 1000000 + 1;
	poll(fds, (nfds_t)nfds, ms < 0 ? 0 : ms > most_ms ? most_ms : (int)ms);
}

/* ---- waiting ---------------------------------------------------------------------------------------------------------- */

struct waiter {
	int64_t deadline, idle_since;   /* idle_since 0: no clock read yet */
	uint32_t idle;
	int yields;
	bool reported;
};

static bool finished(const struct engine *e, const struct run *run)
{
	if (run)
		return run_done(run);
	for (const struct run *r = e->runs; r; r = r->next)
		if (r->left)
			return false;
	return true;
}

static const struct run *oldest(const struct engine *e, const struct run *run)
{
	const struct run *r = e->runs;
	while (r && !r->left)
		r = r->next;
	return r ? r : run;
}

static void report(struct engine *e, const struct run *run, int64_t waited, bool fail)
{
	char name[96], whom[128];
	run = oldest(e, run);
	if (!run)
		return;
	run_name(run, name, sizeof(name));
	run_waits_for(run, whom, sizeof(whom));
	if (fail)
		engine_fail(e, TUTTI_ERR_TIMEOUT, "%s: no end after %.1f s (TUTTI_TIMEOUT); it waited for %s", name, (double)waited / 1e9, whom);
	else
		log_msg(LOG_WARN, "%s has waited %.0f s for %s", name, (double)waited / 1e9, whom);
}

static int check_clocks(struct engine *e, const struct run *run, struct waiter *w, int64_t now)
{
	if (!e->stuck_since)
		e->stuck_since = now;
	else if (now - e->checked > AWAY_NS)
		e->stuck_since += now - e->checked;     /* the thread was elsewhere: no wait */
	e->checked = now;
	int64_t stuck = now - e->stuck_since;
	if (e->timeout_ms >= 0 && stuck > e->timeout_ms * 1000000) {
		report(e, run, stuck, true);
		return e->status;
	}
	if (!w->reported && e->config->report_ms && stuck > e->config->report_ms * 1000000) {
		report(e, run, stuck, false);
		w->reported = true;
	}
	return now >= w->deadline ? TUTTI_PENDING : TUTTI_OK;
}

/* One turn in which nothing moved. */
static int idle_turn(struct engine *e, const struct run *run, struct waiter *w)
{
	if (++w->idle % SPIN_LOOK && e->spin_ns && !w->yields) {
		clock_relax();
		return TUTTI_OK;
	}
	int64_t now = clock_ns();
	if (!w->idle_since)
		w->idle_since = now;
	int status = check_clocks(e, run, w, now);
	if (status || now - w->idle_since < e->spin_ns)
		return status;
	if (w->yields++ < e->yields) {
		sched_yield();
		return TUTTI_OK;
	}
	int64_t until = w->deadline, limit = e->timeout_ms < 0 ? CLOCK_NEVER : e->stuck_since + e->timeout_ms * 1000000;
	sleep_until(e, until < limit ? until : limit);
	look_at_tree(e);
	return TUTTI_OK;
}

/* Move everything once; what is done rarely, every LOOK turns. */
static int turn(struct engine *e)
{
	bool look = ++e->polls % LOOK == 0;
	int moved = engine_progress(e, look);
	if (look) {
		int running;
		look_at_tree(e);
		moved += move_others(e, true, &running);
	}
	return moved;
}

int engine_wait(struct engine *e, struct run *run, int64_t deadline)
{
	struct waiter w = { .deadline = deadline };
	while (!finished(e, run)) {
		int status = TUTTI_OK;
		if (e->status)
			return err_set(e->status, "%s", e->why);
		if (turn(e)) {
			w.idle = 0;
			w.idle_since = 0;
			w.yields = 0;
			if (deadline != CLOCK_NEVER && e->polls % SPIN_LOOK == 0)
				status = clock_ns() >= deadline ? TUTTI_PENDING : TUTTI_OK;
		} else if (!finished(e, run)) {
			status = idle_turn(e, run, &w);
		}
		if (status == TUTTI_PENDING && !finished(e, run))
			return status;
	}
	return TUTTI_OK;
}

int engine_test(struct engine *e, struct run *run)
{
	struct waiter w = { .deadline = CLOCK_NEVER };
	if (!finished(e, run) && !e->status && !turn(e)) {
		int64_t now = clock_ns();
		if (now - e->looked > TREE_NS || world_expects(e->world)) {
			int running;
			e->looked = now;
			look_at_tree(e);
			move_others(e, true, &running);
		}
		check_clocks(e, run, &w, now);
		if (!e->spin_ns)
			sched_yield();  /* with more ranks than cores, somebody must get to send it */
	}
	if (finished(e, run))
		return TUTTI_OK;
	return e->status ? err_set(e->status, "%s", e->why) : TUTTI_PENDING;
}
