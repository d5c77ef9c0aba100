/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every TUTTI_* variable is one row here, and nothing else of the library reads the environment (launchers' variables: src/boot/env.c).
 *
 *      X(field, NAME, type, default, affects_plan, help)
 *
 * type: TIME ("30s"), SIZE ("64k"), INT(min, max), WORD("one|of|these") or STR. A row gives the field of struct config, the parser with its
 * error ("TUTTI_CHANNELS: expected an integer 0..8, got \"x\""), `tutti info --config`, the man page, the digest of what affects plans
 * (compared between ranks), and the did-you-mean warning for unknown TUTTI_* names. A variable that is set but empty counts as not set.
 */
#ifndef BASE_CONFIG_H
#define BASE_CONFIG_H
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_ROWS(X) \
	X(timeout_ms,   TIMEOUT,   TIME, "30min", 0, "deadline of every wait (a time: 500ms, 30s, 5min)") \
	X(report_ms,    REPORT,    TIME, "30s",   0, "a blocked call says for whom it waits after this long; 0 never") \
	X(transport,    TRANSPORT, STR,  "shm,verbs,tcp", 0, "transports allowed, in order of preference: loop, shm, verbs, ucx, tcp") \
	X(modules,      MODULES,   STR,  "",      0, "folder of the loadable transports; empty: where they were installed") \
	X(algo,         ALGO,      STR,  "",      1, "force an algorithm for every collective that has it; empty: the planner chooses") \
	X(slice,        SLICE,     SIZE, "0",     1, "bytes a step moves at a time; 0: the planner chooses") \
	X(channels,     CHANNELS,  INT(0, 8), "0",     1, "channels a large collective uses, 1..8; 0: the planner chooses") \
	X(plan_ms,      PLAN_TIME, TIME, "200ms", 0, "so long rank 0 may simulate candidates when a communicator over several machines is made; what is not through goes by rules") \
	X(cache,        CACHE,     STR,  "",      0, "folder that keeps what was measured (tutti tune); empty: $XDG_CACHE_HOME/tutti or ~/.cache/tutti; none: nothing is read or written") \
	X(calibrate_ms, CALIBRATE, TIME, "0",     0, "so long the ranks may measure what things cost when a communicator is made and the cache of rank 0 does not know; 0: never") \
	X(explain,      EXPLAIN,   INT(0, 1), "0", 0, "1: rank 0 says what is chosen for each kind of call, why, and how long it took") \
	X(spin_us,      SPIN,      INT(-1, 1000000), "-1",    0, "microseconds to spin before yielding; -1: 30 when ranks <= cores, else 0") \
	X(yields,       YIELDS,    INT(0, 1000000), "20",    0, "times to yield before sleeping") \
	X(iface,        IFACE,     STR,  "",      0, "network interface (eth0) or subnet (10.0.0.0/8, fd00::/8) for tcp and bootstrap; empty: the default route's, another, or loopback") \
	X(tcp_sockbuf,  TCP_BUFFER, SIZE, "0",    0, "bytes of a TCP socket's send and receive buffer; 0: the system's own tuning") \
	X(shm_slot,     SHM_SLOT,  SIZE, "0",     0, "bytes of a shared-memory slot; 0: from the cache size") \
	X(shm_pull,     SHM_PULL,  SIZE, "0",     0, "private messages from this many bytes on are pulled with process_vm_readv; 0: never") \
	X(verbs_devices, VERBS_DEVICES, STR, "",  0, "RDMA ports to use: mlx5_0:1,mlx5_2 (a device: all its ports), or all but: ^mlx5_1; empty: those near this rank") \
	X(verbs_gid,    VERBS_GID, INT(-1, 255), "-1", 0, "index of the GID to use on every port; -1: a RoCE v2 one, IPv4 first") \
	X(verbs_tclass, VERBS_TRAFFIC_CLASS, INT(0, 255), "0", 0, "traffic class (RoCE: DSCP << 2)") \
	X(verbs_sl,     VERBS_SERVICE_LEVEL, INT(0, 15), "0", 0, "service level") \
	X(verbs_mtu,    VERBS_MTU, INT(0, 4096), "0", 0, "path MTU at most, bytes: 256, 512, 1024, 2048, 4096; 0: what both ports have") \
	X(verbs_timeout, VERBS_TIMEOUT, INT(1, 31), "16", 0, "a write not answered is repeated after 4.096 us * 2^this (16: 0.27 s)") \
	X(verbs_retry,  VERBS_RETRY, INT(0, 6), "5", 0, "so often it is repeated before the peer counts as lost (7 would mean for ever)") \
	X(verbs_sends,  VERBS_SENDS, INT(64, 8192), "128", 0, "writes a queue pair holds") \
	X(verbs_receives, VERBS_RECEIVES, INT(64, 8192), "256", 0, "writes that a queue pair takes before it is looked at") \
	X(verbs_slot,   VERBS_SLOT, SIZE, "0",   0, "bytes of a piece of a long message; 0: 128 KiB") \
	X(verbs_relaxed, VERBS_RELAXED, INT(0, 1), "0", 0, "1: the device may write a message's bytes in any order (PCIe relaxed ordering)") \
	X(verbs_on_demand, VERBS_ON_DEMAND, INT(0, 1), "0", 0, "1: pages of registered memory are not pinned, but found by the device when it needs them (on-demand paging), where it can") \
	X(ucx_wakeup,   UCX_WAKEUP, INT(0, 1), "1", 0, "0: ranks that wait for UCX look every 0.1 ms instead of sleeping, and transports of UCX that cannot wake a sleeper are used, too") \
	X(loop_mode,    LOOP,      STR,  "",      0, "test modes of the loop transport: zero (no buffering), random (random slices), a number seeds it: zero,random,7") \
	X(rank,         RANK,      INT(-1, INT_MAX), "-1",    0, "this rank; with TUTTI_SIZE and TUTTI_ROOT instead of the launcher's variables") \
	X(size,         SIZE,      INT(0, INT_MAX), "0",     0, "number of ranks") \
	X(root,         ROOT,      STR,  "",      0, "HOST:PORT where rank 0 listens for the others") \
	X(secret,       SECRET,    STR,  "",      0, "the job's key: 64 hex digits, or any text (hashed); never printed") \
	X(secret_file,  SECRET_FILE, STR, "",     0, "a file that holds the key") \
	X(auth,         AUTH,      WORD("key|none"), "key",   0, "key: without a key only loopback is accepted; none: trust the network") \
	X(node,         NODE,      STR,  "",      0, "name of this machine: ranks with equal names may share memory; empty: found") \
	X(topology,     TOPOLOGY,  STR,  "",      1, "where the ranks are, instead of what is found: \"switch:2 node:8 nic:2 rank:8\", or a file (.topo, hwloc's .xml)") \
	X(fabric,       FABRIC,    STR,  "",      1, "a file of switches, and of the hosts and subnets below each; empty: nodes that share a subnet share a switch") \
	X(log,          LOG,       WORD("error|warn|info|debug"), "warn",  0, "error, warn, info or debug") \
	X(isa,          ISA,       WORD("|baseline|avx2|avx512"), "",      0, "kernels to use: baseline, avx2, avx512; empty: the best that the processor has")

#define CONFIG_C_TIME int64_t
#define CONFIG_C_SIZE size_t
#define CONFIG_C_INT(min, max) int
#define CONFIG_C_WORD(words) const char *
#define CONFIG_C_STR  const char *

struct config {
#define X(field, NAME, type, dflt, plan, help) CONFIG_C_##type field;
	CONFIG_ROWS(X)
#undef X
};

/* The process's configuration, parsed from the environment once (thread-safe). Returns NULL after a bad value (sentence: err_last). */
const struct config *config_get(void);

/* Parse the environment into a fresh c (strings point into the environment). TUTTI_OK or TUTTI_ERR_CONFIG. For config_get, tests and tools. */
int config_parse(struct config *c);

/* The folder of TUTTI_CACHE, which may not exist yet. False (and path is "") when there is none: "none", no home, or too long. */
bool config_cache(const struct config *c, char *path, size_t cap);

/* 64-bit digest of the rows that affect plans. */
uint64_t config_digest(const struct config *c);

/* One row as people read it; i = 0.. until 0 is returned. value: as in force; from: "default" or "environment". */
struct config_line { const char *name, *dflt, *help; int affects_plan; char value[256]; const char *from; };
int config_line(int i, struct config_line *line);

/* "64M" -> 67108864; k, M, G (powers of 1024). "1.5s" is not a size. TUTTI_OK or TUTTI_ERR_INVALID (no sentence is set). */
int parse_size(const char *text, size_t *value);
int parse_time_ms(const char *text, int64_t *ms);       /* "500ms" "30s" "5min" "2h"; a bare number is milliseconds */
int parse_int(const char *text, long min, long max, long *value);

/* Edit distance (Levenshtein) of two words of at most PARSE_WORD_MAX characters; longer ones are as far apart as can be. */
enum { PARSE_WORD_MAX = 63 };
int parse_distance(const char *a, const char *b);
#endif
