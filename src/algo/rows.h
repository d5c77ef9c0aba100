/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The algorithms: a row each. Adding one is a file with its builder and a row here; tests, mutants, `tutti plan`, perf and the planner
 * read the table.
 *
 *      X(collective, name, chunks a block, keeps rank order?, help)     its builder is NAME_COLLECTIVE
 */
#ifndef ALGO_ROWS_H
#define ALGO_ROWS_H
#include <algo/parts.h>

#define ALGO_ROWS(X) \
	X(ALL_REDUCE, all_reduce, ring, k_shards, 0, "2(n-1) rounds, least volume: long vectors") \
	X(ALL_REDUCE, all_reduce, recursive_doubling, k_channels, 1, \
			"log2 n rounds of the whole vector, two more when n is no power of 2: short vectors") \
	X(ALL_REDUCE, all_reduce, direct, k_channels, 1, \
			"1 round, everybody sends everything to everybody: shortest vectors, shared memory") \
	X(ALL_REDUCE, all_reduce, direct_rs_ag, k_shards, 1, \
			"2 rounds, each rank reduces its shard over all ranks in one pass: shared memory, few ranks") \
	X(ALL_REDUCE, all_reduce, tree, k_pieces, 1, "binomial tree up and down, pipelined: short vectors, many ranks") \
	X(ALL_REDUCE, all_reduce, double_tree, k_two_pieces, 0, \
			"two complementary binary trees, pipelined: long vectors, many ranks (Sanders, Speck, Traeff 2009)") \
	X(ALL_REDUCE, all_reduce, circulant, k_shards, 0, "2 ceil(log2 n) rounds, least volume, for every n (Traeff, arXiv 2410.14234)") \
	X(REDUCE_SCATTER, reduce_scatter, ring, k_channels, 0, "n-1 rounds, least volume") \
	X(REDUCE_SCATTER, reduce_scatter, direct, k_channels, 1, "1 round, one pass over all ranks' blocks: shared memory, few ranks") \
	X(REDUCE_SCATTER, reduce_scatter, circulant, k_one, 0, \
			"ceil(log2 n) rounds, least volume, for every n (Traeff, arXiv 2410.14234)") \
	X(ALL_GATHER, all_gather, ring, k_channels, 0, "n-1 rounds, least volume, neighbours only") \
	X(ALL_GATHER, all_gather, direct, k_channels, 0, "1 round: short blocks, shared memory") \
	X(ALL_GATHER, all_gather, circulant, k_one, 0, "ceil(log2 n) rounds, least volume, for every n (Bruck 1997, Traeff 2024)") \
	X(BROADCAST, broadcast, binomial, k_pieces, 0, "log2 n rounds, pipelined: short vectors") \
	X(BROADCAST, broadcast, direct, k_channels, 0, "1 round, the root sends to all: shared memory") \
	X(BROADCAST, broadcast, chain, k_pieces, 0, "n-1 hops, pipelined: long vectors, few ranks") \
	X(BROADCAST, broadcast, scatter_all_gather, k_shards, 0, "the root scatters, a ring gathers: long vectors (van de Geijn)") \
	X(REDUCE, reduce, binomial, k_pieces, 1, "log2 n rounds, pipelined: short vectors") \
	X(REDUCE, reduce, direct, k_channels, 1, "1 round, the root reduces all in one pass: shared memory") \
	X(REDUCE, reduce, chain, k_pieces, 0, "n-1 hops, pipelined: long vectors, few ranks") \
	X(GATHER, gather, direct, k_channels, 0, "1 round, all send to the root") \
	X(GATHER, gather, binomial, k_one, 0, "log2 n rounds: short blocks, many ranks") \
	X(SCATTER, scatter, direct, k_channels, 0, "1 round, the root sends to all") \
	X(SCATTER, scatter, binomial, k_one, 0, "log2 n rounds: short blocks, many ranks") \
	X(ALL_TO_ALL, all_to_all, direct, k_channels, 0, "all at once; half of the blocks pass through scratch") \
	X(ALL_TO_ALL, all_to_all, pairwise, k_channels, 0, \
			"n rounds with one partner each, two blocks of scratch: long blocks, many ranks") \
	X(BARRIER, barrier, dissemination, k_one, 0, "ceil(log2 n) rounds of empty messages (Hensgen, Finkel, Manber 1988)") \
	X(SEND, send, p2p, k_one, 0, "one message to the peer") \
	X(RECV, recv, p2p, k_one, 0, "one message from the peer")

/* Those that look at the problem's shape: an algorithm between machines or racks, composed with what is near (hier.c). */
#define HIER_ROWS(X) \
	X(ALL_REDUCE, all_reduce, hier_ring, k_rail_shards, 0, "reduce-scatter inside, a ring a rail between, all-gather inside: long vectors") \
	X(ALL_REDUCE, all_reduce, hier_circulant, k_rail_shards, 0, "the same with circulant between: long vectors, many machines") \
	X(ALL_REDUCE, all_reduce, hier_direct, k_rail_shards, 0, "the same with direct_rs_ag between: few machines") \
	X(ALL_REDUCE, all_reduce, hier_doubling, k_rails, 0, "the same with recursive doubling between: middling vectors, many machines") \
	X(ALL_REDUCE, all_reduce, leaders_doubling, k_channels, 0, "one rank a machine reduces for it, recursive doubling between: short vectors") \
	X(ALL_REDUCE, all_reduce, leaders_direct, k_channels, 0, "one rank a machine reduces for it, one round between: short vectors, few machines") \
	X(REDUCE_SCATTER, reduce_scatter, hier_ring, k_channels, 0, "reduced inside first; a ring a rail between: long vectors") \
	X(REDUCE_SCATTER, reduce_scatter, hier_direct, k_channels, 0, "reduced inside first; one round between: few machines") \
	X(ALL_GATHER, all_gather, hier_ring, k_channels, 0, "a ring a rail between, and inside what has come: long vectors") \
	X(ALL_GATHER, all_gather, hier_direct, k_channels, 0, "one round between, and inside what has come: short blocks, few machines") \
	X(BROADCAST, broadcast, hier_binomial, k_pieces, 0, "binomial between machines, one to all inside, pipelined: short vectors") \
	X(BROADCAST, broadcast, hier_chain, k_pieces, 0, "a chain of machines, one to all inside, pipelined: long vectors, few machines") \
	X(BROADCAST, broadcast, hier_scatter_all_gather, k_top_shards, 0, "scatter and ring between machines, one to all inside: long vectors") \
	X(REDUCE, reduce, hier_binomial, k_pieces, 0, "one pass inside, binomial between machines, pipelined: short vectors") \
	X(REDUCE, reduce, hier_chain, k_pieces, 0, "one pass inside, a chain of machines, pipelined: long vectors, few machines") \
	X(BARRIER, barrier, hier_dissemination, k_one, 0, "one rank a machine waits for it, dissemination between")

#define X(COLL, coll, name, ...) void name##_##coll(struct recorder *w, const struct problem *p, const struct group *g);
ALGO_ROWS(X)
HIER_ROWS(X)
#undef X

/* What builders of others are made of: one channel's steps, in a group's part of the vector. */
void ring_all_reduce_one(struct recorder *w, const struct problem *p, const struct group *g);
void ring_reduce_scatter_one(struct recorder *w, const struct problem *p, const struct group *g);
void ring_all_gather_one(struct recorder *w, const struct problem *p, const struct group *g);
void circulant_all_reduce_one(struct recorder *w, const struct problem *p, const struct group *g);
void recursive_doubling_one(struct recorder *w, const struct problem *p, const struct group *g);
void direct_all_reduce_one(struct recorder *w, const struct problem *p, const struct group *g);
void direct_rs_ag_one(struct recorder *w, const struct problem *p, const struct group *g);
void direct_reduce_scatter_one(struct recorder *w, const struct problem *p, const struct group *g);
void direct_all_gather_one(struct recorder *w, const struct problem *p, const struct group *g);
void scatter_all_gather_one(struct recorder *w, const struct problem *p, const struct group *g);

uint32_t k_two_pieces(const struct problem *p);         /* a half a tree */
uint32_t k_rails(const struct problem *p);              /* hier.c: a chunk a shard; a shard's shards on top; shards on top alone */
uint32_t k_rail_shards(const struct problem *p);
uint32_t k_top_shards(const struct problem *p);
#endif
