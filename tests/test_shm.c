/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What only shared memory has: rings that wrap, memory that is lent, a peer that scribbles. The behaviour of every transport:
 * test_transport*.c.
 */
#define _GNU_SOURCE
#include "transport_harness.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <transports/shm/shm.h>
#include <unistd.h>

static struct shm_iface *inside(struct net_iface *f) { return (struct shm_iface *)f; }

static void until_up(struct party *w)
{
	for (int i = 0; i < w->n; i++)
		for (int j = 0; j < w->n; j++)
			if (i != j)
				until(w, ((struct shm_ep *)w->ep[i][j])->state == SHM_UP)
					;
}

/* Rank 0 sends len bytes of p, rank 1 receives them plain or as a view, a grain or more at a time. */
static void pass(struct party *w, unsigned char *p, size_t len, bool view, uint32_t *state)
{
	struct net_op s, r;
	unsigned char *out = bytes_new(len + 1), seed = (unsigned char)random_below(state, 256);
	pattern_fill(p, len, seed);
	send_post(&s, w->ep[0][1], 1, p, len);
	if (view)
		view_post(&r, w->ep[1][0], 1, len);
	else
		recv_post(&r, w->ep[1][0], 1, out, len);
	until(w, s.complete && r.complete)
		if (view)
			view_eat(&r, NET_GRAIN * (1 + random_below(state, 200)), seed);
	well(&s);
	well(&r);
	if (!view)
		pattern_check(out, 0, len, seed);
	canary_check(out + (view ? 0 : len), view ? len + 1 : 1);
	free(out);
}

static void pass_many(const char *variable, const char *value)
{
	struct party w;
	const struct net_mem *m;
	uint32_t state = 5;
	unsigned char *private = bytes_new(300001);
	setenv(variable, value, 1);
	party_open(&w, "shm", 2);
	unsetenv(variable);
	until_up(&w);
	need(net_mem_new(300001, &m) == TUTTI_OK, "%s", err_last());
	for (int i = 0; i < 400; i++) {
		static const uint32_t most[] = { 40, 1100, 9000, 300000 };
		size_t len = random_below(&state, most[i % 4]);
		unsigned char *p = random_below(&state, 3) ? private : m->base;
		pass(&w, p + random_below(&state, 2), len, random_below(&state, 2), &state);
	}
	party_close(&w);
	net_mem_free(m);
	free(private);
}

Test(shm, messages_of_every_way_follow_each_other_through_the_smallest_ring) { pass_many("TUTTI_SHM_SLOT", "4k"); }
Test(shm, messages_of_every_way_follow_each_other_through_a_large_ring) { pass_many("TUTTI_SHM_SLOT", "1M"); }
Test(shm, private_memory_is_pulled) { pass_many("TUTTI_SHM_PULL", "2000"); }

/* ---- rings that come round ---- */

/* A body lies where a later line's flag and kind will be: the receiver looks there before that line is written. */
static void body_under_a_later_line(uint32_t kind)
{
	struct party w;
	struct net_op s, r;
	int32_t body[9] = { 130, (int32_t)kind }, out[9];
	uint64_t word;
	party_open(&w, "shm", 2);
	until_up(&w);
	for (uint64_t i = 0; i <= 128; i++) {           /* lines 0 and 1, then one each: the last is line 129, where line 1 was */
		const void *p = i ? (const void *)&i : body;
		size_t len = i ? sizeof(i) : sizeof(body);
		recv_post(&r, w.ep[1][0], 0, i ? (void *)&word : out, len);
		send_post(&s, w.ep[0][1], 0, p, len);
		until(&w, s.complete && r.complete)
			;
		well(&s);
		well(&r);
		need(!memcmp(i ? (void *)&word : out, p, len), "message %d differs", (int)i);
	}
	party_close(&w);
}

Test(shm, bytes_of_a_message_are_not_taken_for_a_line) { body_under_a_later_line(1000); }
Test(shm, bytes_of_a_message_are_not_taken_for_a_skipped_line) { body_under_a_later_line(SHM_SKIP); }

/* The receiver stops in the middle of a grain, where a message's last bytes fit into the ring but their whole grain does not. */
Test(shm, long_messages_of_odd_length_follow_each_other_through_the_ring)
{
	enum { OPS = 6, LEN = 100001, RING = 4 * 4096 };
	struct party w;
	struct net_op s[OPS], r[OPS];
	unsigned char *in[OPS], *out[OPS];
	setenv("TUTTI_SHM_SLOT", "4k", 1);
	party_open(&w, "shm", 2);
	until_up(&w);
	for (int i = 0; i < OPS; i++) {
		in[i] = bytes_new(LEN);
		out[i] = bytes_new(LEN + 1);
		pattern_fill(in[i], LEN, (unsigned)i);
		send_post(&s[i], w.ep[0][1], 0, in[i], LEN);
		recv_set(&r[i], w.ep[1][0], 0, out[i], LEN);
		r[i].limit = 0;
		w.f[1]->t->recv(&r[i]);
	}
	for (int i = 0; i < OPS; i++) {
		const size_t limits[] = { 1, 30003, LEN - RING + 7, LEN };
		for (int k = 0; k < 4; k++) {
			r[i].limit = limits[k];
			w.f[1]->t->advance(&r[i]);
			until(&w, r[i].done == limits[k])
				;
			party_idle(&w, 20);
		}
		well(&r[i]);
		pattern_check(out[i], 0, LEN, (unsigned)i);
		canary_check(out[i] + LEN, 1);
	}
	until(&w, s[OPS - 1].complete)
		;
	party_close(&w);
	for (int i = 0; i < OPS; i++) {
		free(in[i]);
		free(out[i]);
	}
}

Test(shm, private_bytes_wait_behind_lent_ones_longer_than_the_ring)
{
	enum { LEN = 16 * SHM_PAGE };
	struct party w;
	const struct net_mem *m;
	struct net_op s[2], r;
	unsigned char *in = bytes_new(LEN), *out = bytes_new(LEN);
	setenv("TUTTI_SHM_SLOT", "4k", 1);
	party_open(&w, "shm", 2);
	until_up(&w);
	need(net_mem_new(LEN, &m) == TUTTI_OK, "%s", err_last());
	pattern_fill(m->base, LEN, 1);
	pattern_fill(in, LEN, 2);
	send_post(&s[0], w.ep[0][1], 0, m->base, LEN);
	send_post(&s[1], w.ep[0][1], 0, in, LEN);
	party_idle(&w, 20);
	for (unsigned i = 0; i < 2; i++) {
		recv_post(&r, w.ep[1][0], 0, out, LEN);
		until(&w, r.complete && s[i].complete)
			;
		well(&r);
		pattern_check(out, 0, LEN, i + 1);
	}
	party_close(&w);
	net_mem_free(m);
	free(in);
	free(out);
}

Test(shm, a_message_that_grows_by_odd_lengths_is_pulled_to_a_view)
{
	enum { LEN = 50001 };
	struct party w;
	struct net_op s, r;
	unsigned char *in = bytes_new(LEN);
	setenv("TUTTI_SHM_PULL", "2000", 1);
	party_open(&w, "shm", 2);
	until_up(&w);
	party_idle(&w, 2000);                           /* both learn that they can read each other's memory */
	pattern_fill(in, LEN, 3);
	view_post(&r, w.ep[1][0], 0, LEN);
	send_set(&s, w.ep[0][1], 0, in, LEN);
	s.limit = 101;
	w.f[0]->t->send(&s);
	while (s.limit < LEN) {
		until(&w, r.done >= s.limit - s.limit % NET_GRAIN)
			view_eat(&r, LEN, 3);
		s.limit = s.limit + 4099 < LEN ? s.limit + 4099 : LEN;
		w.f[0]->t->advance(&s);
	}
	until(&w, s.complete && r.complete)
		view_eat(&r, LEN, 3);
	well(&s);
	well(&r);
	party_close(&w);
	free(in);
}

Test(shm, a_slot_out_of_range_is_refused)
{
	static const char *const bad[] = { "1", "4095", "65M", "4G" };
	struct auth_key key;
	fixed_key(&key, 0);
	for (int i = 0; i < 4; i++) {
		struct config c;
		struct net_iface *f = NULL;
		setenv("TUTTI_SHM_SLOT", bad[i], 1);
		need(config_parse(&c) == TUTTI_OK, "%s", err_last());
		need(net_find("shm")->open(&f, &(struct net_open){ .nranks = 2, .key = &key, .config = &c }) == TUTTI_ERR_CONFIG && !f, "%s", bad[i]);
		need(strstr(err_last(), "TUTTI_SHM_SLOT: expected 4096..67108864"), "%s", err_last());
	}
}

/* ---- who is reached ---- */

static void refuses(struct net_iface *f, const struct address *a, const char *why)
{
	need(f->t->reaches(f, a->bytes, a->len) == TUTTI_ERR_UNSUPPORTED && strstr(err_last(), why), "expected %s, got %s", why,
	     err_last());
}

Test(shm, ranks_of_different_nodes_do_not_reach_each_other)
{
	struct auth_key key;
	struct config c[2];
	struct address a[2];
	struct net_iface *f[2];
	fixed_key(&key, 0);
	for (int i = 0; i < 2; i++) {
		setenv("TUTTI_NODE", i ? "alpha" : "beta", 1);
		f[i] = rank_open("shm", i, 2, &key, &c[i], &a[i]);
	}
	refuses(f[0], &a[1], "another machine");
	refuses(f[1], &a[0], "another machine");
	need(f[0]->t->reaches(f[0], a[0].bytes, a[0].len) == TUTTI_OK, "%s", err_last());
	for (int i = 0; i < 2; i++)
		f[i]->t->close(f[i]);
}

Test(shm, an_address_of_another_user_or_namespace_or_of_noise_is_refused)
{
	struct party w;
	party_open(&w, "shm", 2);
	struct { size_t at; const char *why; } changes[] = { { 0, "not an shm address" }, { 4, "another user" },
		{ 8, "another network namespace" }, { 16, "another user namespace" }, { 24, "another machine" } };
	for (int i = 0; i < 5; i++) {
		struct address a = w.addr[1];
		a.bytes[changes[i].at] ^= 1;
		refuses(w.f[0], &a, changes[i].why);
	}
	struct address a = w.addr[1];
	memset(a.bytes + 24, 'x', sizeof(a.bytes) - 24);
	refuses(w.f[0], &a, "not an shm address");
	party_close(&w);
}

/* ---- memory that is lent ---- */

/* Mappings of shared regions in this process: its own, and those of peers. */
static int mappings(void)
{
	char line[512];
	int n = 0;
	FILE *f = fopen("/proc/self/maps", "r");
	need(f, "no /proc/self/maps");
	while (fgets(line, sizeof(line), f))
		n += strstr(line, "/memfd:tutti (deleted)") != NULL;
	fclose(f);
	return n;
}

Test(shm, freed_memory_is_unmapped_by_the_peer)
{
	struct party w;
	const struct net_mem *m;
	uint32_t state = 1;
	party_open(&w, "shm", 2);
	until_up(&w);
	for (int i = 0; i < 5; i++) {
		need(net_mem_new(100000, &m) == TUTTI_OK, "%s", err_last());
		pass(&w, m->base, 100000, i & 1, &state);
		cr_assert_eq(mappings(), 2, "%d", mappings());
		net_mem_free(m);
		until(&w, mappings() == 0)
			;
	}
	party_close(&w);
}

Test(shm, memory_lent_by_a_rank_that_has_quiesced_is_not_believed)
{
	struct party w;
	const struct net_mem *m;
	struct net_op s, r[2];
	unsigned char out[5000];
	party_open(&w, "shm", 2);
	until_up(&w);
	need(net_mem_new(5000, &m) == TUTTI_OK, "%s", err_last());
	send_post(&s, w.ep[0][1], 0, m->base, 5000);
	w.f[0]->t->quiesce(w.ep[0][1]);
	need(s.status == TUTTI_ERR_ABORTED, "%s", err_name(s.status));
	recv_post(&r[0], w.ep[1][0], 0, out, 5000);
	view_post(&r[1], w.ep[1][0], 0, 5000);
	until(&w, r[0].complete && r[1].complete)
		;
	need(r[0].status == TUTTI_ERR_PEER && r[1].status == TUTTI_ERR_PEER, "%s, %s", err_name(r[0].status), err_name(r[1].status));
	party_close(&w);
	net_mem_free(m);
}

/* A page that nobody can touch: when it is read, the receiver moves first. */
static struct { struct net_iface *receiver; void *page; } trap;

static void trapped(int sig)
{
	(void)sig;
	mprotect(trap.page, SHM_PAGE, PROT_READ | PROT_WRITE);
	for (int i = 0; i < 10; i++)
		trap.receiver->t->progress(trap.receiver);
}

/* The receiver gives lent memory back while the sender copies a private message that does not fit into the ring. */
Test(shm, a_release_that_comes_while_another_message_is_copied_is_noticed)
{
	enum { LEN = 8 * SHM_PAGE, LENT = 2000 };
	struct party w;
	const struct net_mem *m;
	struct net_op s[2], r[2];
	unsigned char *out = bytes_new(LEN), *in = aligned_alloc(SHM_PAGE, LEN);
	setenv("TUTTI_SHM_SLOT", "4k", 1);
	party_open(&w, "shm", 2);
	until_up(&w);
	need(in && net_mem_new(LENT, &m) == TUTTI_OK, "%s", err_last());
	pattern_fill(in, LEN, 4);
	send_post(&s[0], w.ep[0][1], 0, m->base, LENT);
	recv_set(&r[0], w.ep[1][0], 0, out, LENT);
	r[0].limit = 0;
	w.f[1]->t->recv(&r[0]);
	r[0].limit = LENT;                              /* not told: it is seen when the receiver makes progress */
	trap.receiver = w.f[1];
	trap.page = in;
	signal(SIGSEGV, trapped);
	need(mprotect(in, SHM_PAGE, PROT_NONE) == 0, "cannot protect a page");
	send_post(&s[1], w.ep[0][1], 0, in, LEN);
	well(&r[0]);
	until(&w, s[0].complete)
		;
	recv_post(&r[1], w.ep[1][0], 0, out, LEN);
	until(&w, s[1].complete && r[1].complete)
		;
	pattern_check(out, 0, LEN, 4);
	party_close(&w);
	net_mem_free(m);
	free(in);
	free(out);
}

/* ---- a broken peer ---- */

/* One of n words becomes another: near to it, small, or anything. */
static void scribble(void *p, size_t n, uint32_t *state)
{
	uint64_t word, *at = (uint64_t *)p + random_below(state, (uint32_t)n);
	uint64_t any = (uint64_t)random_below(state, UINT32_MAX) << 32 | random_below(state, UINT32_MAX);
	memcpy(&word, at, 8);
	word = any % 3 == 0 ? word + any % 129 - 64 : any % 3 == 1 ? any >> 50 : any;
	memcpy(at, &word, 8);
}

/*
 * Rank 0's area of the pair is overwritten while messages pass: rank 1 may fail or receive nonsense, and rank 0 may fail; neither may
 * crash or write
 * elsewhere.
 */
static void scribbled(uint32_t seed)
{
	enum { OPS = 6, LEN = 20000 };
	struct party w;
	struct net_op s[OPS], r[OPS];
	const struct net_mem *m;
	uint32_t state = seed;
	unsigned char *out = bytes_new(LEN + 64);
	party_open(&w, "shm", 2);
	until_up(&w);
	need(net_mem_new(LEN, &m) == TUTTI_OK, "%s", err_last());
	const struct shm_tx *t = &((struct shm_ep *)w.ep[0][1])->tx[0];
	struct shm_lane *lane = t->end.mine;
	for (int i = 0; i < OPS; i++) {
		static const size_t lens[] = { 8, 700, LEN, 32, LEN };
		struct shm_line *head = &lane->line[t->line % SHM_LINES];
		send_post(&s[i], w.ep[0][1], 0, m->base, lens[i % 5]);
		if (random_below(&state, 3) == 0)
			scribble(&head->far, 4, &state);
		if (random_below(&state, 10) == 0)
			scribble(head, 4, &state);
		if (random_below(&state, 8) == 0)
			scribble(&lane->ready, 1, &state);
		if (random_below(&state, 8) == 0)
			scribble(&lane->back, 2, &state);
		if (random_below(&state, 2))
			view_post(&r[i], w.ep[1][0], 0, lens[i % 5]);
		else
			recv_post(&r[i], w.ep[1][0], 0, out, lens[i % 5]);
		party_idle(&w, 20);
		need(r[i].done + r[i].avail <= r[i].head.len, "%zu bytes of %zu", r[i].done + r[i].avail, (size_t)r[i].head.len);
		for (size_t k = 0; k < r[i].avail; k++)
			out[LEN] |= ((const unsigned char *)r[i].view)[k];
	}
	party_close(&w);
	canary_check(out + LEN + 1, 63);
	net_mem_free(m);
	free(out);
}

Test(shm, a_peer_that_scribbles_crashes_nobody, .timeout = 60)
{
	for (uint32_t seed = 1; seed <= 300; seed++)
		scribbled(seed);
}

Test(shm, memory_that_can_shrink_is_not_mapped)
{
	int fd = memfd_create("loose", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	need(fd >= 0 && ftruncate(fd, SHM_PAGE) == 0, "no memfd");
	need(!shm_map(fd, SHM_PAGE, false), "mapped");
	close(fd);
	fd = shm_memfd("tight", SHM_PAGE);
	need(!shm_map(fd, 2 * SHM_PAGE, false), "mapped beyond its end");
	void *p = shm_map(fd, SHM_PAGE, false);
	need(p, "not mapped");
	munmap(p, SHM_PAGE);
	need(ftruncate(fd, 0) < 0, "it shrank");
	close(fd);
}

/* ---- sleeping without membarrier; dying; leaving ---- */

static void ping_pong(struct rank *r)
{
	for (uint32_t i = 0; i < 2000; i++) {
		struct net_op s, v;
		uint32_t out = 0;
		recv_post(&v, r->ep[!r->f->rank], 0, &out, 4);
		if (r->f->rank == 0)
			send_post(&s, r->ep[1], 0, &i, 4);
		rank_wait(r->f, &v.complete);
		if (r->f->rank == 1)
			send_post(&s, r->ep[0], 0, &out, 4);
		rank_wait(r->f, &s.complete);
		well(&v);
		need(out == i, "expected %u, got %u", i, out);
	}
}

static void ping_pong_fenced(struct rank *r)
{
	inside(r->f)->membarrier = false;
	for (struct shm_ep *e = inside(r->f)->eps; e; e = e->next)
		e->fence = true;
	ping_pong(r);
}

Test(shm, sleepers_wake_without_membarrier) { ranks_run("shm", 2, ping_pong_fenced, NULL); }

/* A killed rank leaves a child that holds its sockets open. */
Test(shm, a_death_is_seen_though_a_child_lives_on)
{
	struct { struct address a[2]; volatile int there, up; volatile pid_t child; } *s =
		mmap(NULL, SHM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct auth_key key;
	struct config c;
	fixed_key(&key, 0);
	struct net_iface *f = rank_open("shm", 0, 2, &key, &c, &s->a[0]);
	pid_t pid = fork();
	if (!pid) {
		struct config mine;
		struct net_iface *g = rank_open("shm", 1, 2, &key, &mine, &s->a[1]);
		s->there = 1;
		struct shm_ep *e = (struct shm_ep *)rank_connect(g, 0, &s->a[0]);
		while (e->state != SHM_UP)
			g->t->progress(g);
		pid_t child = fork();
		if (!child)
			pause();
		s->child = child;
		s->up = 1;
		pause();
	}
	while (!s->there)
		usleep(1000);
	struct net_ep *ep = rank_connect(f, 1, &s->a[1]);
	struct net_op op;
	char byte;
	while (!s->up)
		f->t->progress(f);
	recv_post(&op, ep, 0, &byte, 1);
	kill(pid, SIGKILL);
	rank_wait(f, &op.complete);
	need(op.status == TUTTI_ERR_PEER && f->dead == ep, "%s", err_name(op.status));
	kill(s->child, SIGKILL);
	waitpid(pid, NULL, 0);
	f->t->quiesce(ep);
	f->t->close(f);
}

/* One that waits at the door and cannot be let in is no news. */
Test(shm, without_descriptors_a_caller_at_the_door_is_no_progress)
{
	struct auth_key key;
	struct config c;
	struct address a;
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct rlimit limit = { 0, 0 };
	fixed_key(&key, 0);
	struct net_iface *f = rank_open("shm", 0, 2, &key, &c, &a);
	size_t n = strlen(inside(f)->name);
	memcpy(to.sun_path + 1, inside(f)->name, n);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	need(connect(fd, (struct sockaddr *)&to, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n)) == 0, "no connection");
	getrlimit(RLIMIT_NOFILE, &limit);
	rlim_t old = limit.rlim_cur;
	limit.rlim_cur = 0;
	setrlimit(RLIMIT_NOFILE, &limit);
	for (int i = 0; i < 2000; i++)
		need(f->t->progress(f) == 0, "progress");
	need(inside(f)->nguests == 0, "a guest");
	limit.rlim_cur = old;
	setrlimit(RLIMIT_NOFILE, &limit);
	for (int i = 0; i < 2000; i++)
		f->t->progress(f);
	need(inside(f)->nguests == 1, "%d guests", inside(f)->nguests);
	f->t->close(f);
	close(fd);
}

static int descriptors(void)
{
	int n = 0;
	DIR *d = opendir("/proc/self/fd");
	need(d, "no /proc/self/fd");
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

Test(shm, nothing_is_left_open_or_mapped)
{
	struct party w;
	uint32_t state = 1;
	const struct net_mem *m;
	int before = descriptors();
	need(net_mem_new(100000, &m) == TUTTI_OK, "%s", err_last());
	party_open(&w, "shm", 3);
	until_up(&w);
	pass(&w, m->base, 100000, false, &state);
	party_close(&w);
	need(mappings() == 1, "%d regions", mappings());
	net_mem_free(m);
	need(descriptors() == before, "%d descriptors, %d before", descriptors(), before);
}
