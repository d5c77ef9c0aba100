/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two ranks, each on a core of its own: what tutti_send and tutti_recv take, measured as ucx_perftest measures its own (tag_lat, tag_bw).
 *
 *      pair latency|bandwidth ITERATIONS WINDOW BYTES
 *
 *  latency     rank 0 and 1 send and receive in turn, blocking; half a turn
 *  bandwidth   rank 0 keeps WINDOW sends going, rank 1 as many receives; then rank 1 answers with 8 bytes. From the first send to that
 *              answer, divided by the iterations.
 *
 * Rank 0 prints: what bytes iterations us, the median of ROUNDS rounds. Each is preceded by a tenth of the iterations, untimed. Before
 * all rounds each rank has seen the other's bytes, which differ from its own, and after them again.
 *
 * All receives in flight have one buffer, as ucx_perftest's have, so that it stays in the cache for both or for none. A program must not
 * do that (tutti.h, Memory): which message it would find there is not said. Here all are the same.
 */
#define _GNU_SOURCE
#include "common.h"
#include <stdio.h>
#include <tutti/tutti.h>

enum { ROUNDS = 5, WINDOW_MAX = 1024 };

struct pair { int rank, iters, window; size_t bytes; unsigned char *out, *in; };

static struct tutti_comm *comm;

static int check(int status)
{
	if (status)
		fprintf(stderr, "pair: %s\n", tutti_last_error(comm));
	return status;
}

static void *memory(size_t bytes)
{
	void *p = NULL;

	if (!wants_plain())
		return check(tutti_mem_alloc(&p, bytes)) ? NULL : p;
	p = plain_memory(bytes);
	if (!p)
		fprintf(stderr, "pair: no memory for %zu bytes\n", bytes);
	return p;
}

static int put(const struct pair *p, size_t bytes)
{
	return check(tutti_send(p->out, bytes, TUTTI_UINT8, !p->rank, comm));
}

static int get(const struct pair *p, size_t bytes)
{
	return check(tutti_recv(p->in, bytes, TUTTI_UINT8, !p->rank, comm));
}

/* As rank 0 sees it; rank 1 does the same the other way round. */
static int ping(const struct pair *p, int n)
{
	for (int i = 0; i < n; i++)
		if (p->rank == 0 ? put(p, p->bytes) || get(p, p->bytes) : get(p, p->bytes) || put(p, p->bytes))
			return -1;
	return 0;
}

static int start(const struct pair *p, struct tutti_request **req)
{
	if (p->rank == 0)
		return check(tutti_send_async(p->out, p->bytes, TUTTI_UINT8, 1, comm, req));
	return check(tutti_recv_async(p->in, p->bytes, TUTTI_UINT8, 0, comm, req));
}

static int stream(const struct pair *p, int n)
{
	struct tutti_request *req[WINDOW_MAX] = { NULL };
	struct pair answer = *p;
	unsigned char eight[8] = { 0 };

	for (int i = 0; i < n; i++)
		if (check(tutti_wait(&req[i % p->window], -1)) || start(p, &req[i % p->window]))
			return -1;
	for (int i = n; i < n + p->window; i++)
		if (check(tutti_wait(&req[i % p->window], -1)))
			return -1;
	answer.in = answer.out = eight;
	return p->rank == 0 ? get(&answer, sizeof eight) : put(&answer, sizeof eight);
}

/* Median of the rounds' time of one iteration; negative after a failure */
static double measure(const struct pair *p, int (*run)(const struct pair *p, int n))
{
	double us[ROUNDS], begun;

	for (int r = 0; r < ROUNDS; r++) {
		if (run(p, (p->iters + 9) / 10) || check(tutti_barrier(comm)))
			return -1;
		begun = now_us();
		if (run(p, p->iters))
			return -1;
		us[r] = (now_us() - begun) / p->iters;
	}
	return median(us, ROUNDS);
}

static unsigned char byte_of(int rank, size_t i)
{
	return (unsigned char)(i * 7 + i / 251 + (rank ? 101 : 3));
}

/* What comes is the other's, and not what an earlier exchange has left. */
static int is_right(const struct pair *p)
{
	memset(p->in, 0, p->bytes);
	for (size_t i = 0; i < p->bytes; i++)
		p->out[i] = byte_of(p->rank, i);
	if (ping(p, 1))
		return 0;
	for (size_t i = 0; i < p->bytes; i++)
		if (p->in[i] != byte_of(!p->rank, i)) {
			fprintf(stderr, "pair: rank %d: byte %zu of %zu is %d, expected %d\n", p->rank, i, p->bytes, p->in[i],
			        byte_of(!p->rank, i));
			return 0;
		}
	return 1;
}

static int arguments(struct pair *p, int argc, char **argv)
{
	if (argc == 5 && (!strcmp(argv[1], "latency") || !strcmp(argv[1], "bandwidth"))) {
		p->iters = atoi(argv[2]);
		p->window = atoi(argv[3]);
		p->bytes = strtoull(argv[4], NULL, 10);
		if (p->iters > 0 && p->window > 0 && p->window <= WINDOW_MAX && p->bytes > 0)
			return 0;
	}
	fprintf(stderr, "usage: %s latency|bandwidth ITERATIONS WINDOW BYTES (a window of at most %d)\n", argv[0], WINDOW_MAX);
	return -1;
}

int main(int argc, char **argv)
{
	struct pair p = { 0 };
	int streams;
	double us;

	if (arguments(&p, argc, argv) || check(tutti_comm_init_env(&comm, NULL)))
		return EXIT_FAILURE;
	p.rank = tutti_comm_rank(comm);
	if (tutti_comm_size(comm) != 2) {
		fprintf(stderr, "pair: expected 2 ranks, got %d\n", tutti_comm_size(comm));
		return EXIT_FAILURE;
	}
	pin(p.rank, 2);
	p.out = memory(p.bytes);
	p.in = memory(p.bytes);
	streams = !strcmp(argv[1], "bandwidth");
	if (!p.out || !p.in || !is_right(&p) || (us = measure(&p, streams ? stream : ping)) < 0 || !is_right(&p))
		return EXIT_FAILURE;
	if (p.rank == 0)
		printf("%s %zu %d %.4f\n", argv[1], p.bytes, p.iters, streams ? us : us / 2);
	fflush(stdout);         /* seen even when the end is not reached */
	return check(tutti_comm_destroy(comm)) ? EXIT_FAILURE : EXIT_SUCCESS;
}
