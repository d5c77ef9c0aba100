/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What two ranks share: one area a direction, made and written by its owner alone; the other end maps it read-only.
 *
 *      owner's area                                                           written by the owner as
 *      lane[c].line[128]    heads and short messages, 64 bytes each           sender
 *      lane[c].ready        stream position up to which long messages may be read    sender
 *      lane[c].back         what it has consumed of the peer's lane[c]        receiver
 *      closed               the owner has quiesced: what it lent is not to be believed any more
 *      slots, one ring of bytes a channel                                     sender
 *
 *      short message: a head line with up to 32 bytes; or a head line, then up to 16 whole lines, never across the ring's end (a SKIP line
 *                     fills it)
 *      long message:  a head line that says where the bytes lie; they count up a stream of 64-byte grains that all long messages of the
 *                     lane share, so one counter each way (ready, back.bytes) serves any number of them
 *
 * Ordering. Every byte of an area has one writer, and passes to the reader by a release store that the reader's acquire load sees:
 *  - line n is written whole, then its flag becomes n + 1. Lines behind a head have no flag: they are written before the head's. The
 *    owner writes line n + 128 only after back.lines > n, which the reader stores (release) after its last look at line n.
 *  - the reader looks at one line that is not written yet: the one behind the last message. What lies there must not look like its flag.
 *    The flag of the lap before differs. Where there is something else (bytes of a message, or what a SKIP left standing), the owner
 *    stores n, which is not n + 1, as line n's flag before it publishes the message in front of it. Line 0 of a lap always held a flag:
 *    nothing crosses the ring's end.
 *  - bytes [.., ready) of slots or lent memory are written before `ready` (or the head, which carries a first value of it) is stored, and
 *    are not written again before back.bytes has passed them; the reader stores that (release) after its last look.
 *  - positions are 64-bit and never wrap; the flag is their low half, of which 128 in a row differ.
 *  - closed: quiesce stores it (then fences) before lent memory goes back to the user. The reader looks at it after its last look at lent
 *    bytes (fence between): 0 means that they were read while they were still lent.
 *  - asleep (bell): publish; look at asleep || set asleep; look at what is published. Both are Dekker's: one of them must see the other.
 *    Either the publisher has a full fence between its two, or (fast) none, and the sleeper makes every other processor pass one by
 *    membarrier between its own two. Then a publisher whose look came before that barrier had stored before it as well, and the sleeper's
 *    look finds it; one whose look came after it sees asleep.
 * Nothing read from an area is used as an index, a length or an address before it is checked against what the reader knows by itself.
 */
#ifndef SHM_LAYOUT_H
#define SHM_LAYOUT_H
#include <net/transport.h>
#include <stdalign.h>
#include <stdatomic.h>

enum {
	SHM_LINES = 128,        /* of a lane; more than a batch of consumed lines, two of the longest short messages, and one more */
	SHM_BATCH = 32,         /* consumed lines are told in batches */
	SHM_IN_HEAD = 32,       /* bytes that fit into the head line */
	SHM_SHORT = NET_SHORT,  /* bytes of the longest short message */
	SHM_SLOTS = 4           /* slots make a lane's ring of bytes */
};

enum shm_kind { SHM_NONE, SHM_SKIP, SHM_LINE, SHM_SLOT, SHM_MEM, SHM_PULL };

struct shm_line {
	_Atomic uint32_t flag;
	uint32_t kind;
	struct net_head head;
	union {
		unsigned char bytes[SHM_IN_HEAD];
		struct {
			uint64_t base;          /* stream position of the message's first byte */
			uint64_t ready;         /* stream position that may be read already */
			uint64_t mem;           /* MEM: region */
			uint64_t at;            /* MEM: offset in the region; PULL: address */
		} far;
	};
};
_Static_assert(sizeof(struct shm_line) == 64, "a line is a cache line");

struct shm_lane {
	alignas(128) struct shm_line line[SHM_LINES];
	alignas(128) _Atomic uint64_t ready;
	struct { alignas(128) _Atomic uint64_t lines; _Atomic uint64_t bytes; } back;
};

struct shm_area {
	struct shm_lane lane[NET_CHANNELS];
	alignas(128) _Atomic uint32_t closed;
};

#define SHM_PAGE 4096
#define SHM_SLOTS_AT ((sizeof(struct shm_area) + SHM_PAGE - 1) / SHM_PAGE * SHM_PAGE)

/* A rank's own page, seen by all its peers: is it asleep? generation << 2 | SHM_ASLEEP | SHM_SENDING. A peer rings once a generation. */
enum { SHM_ASLEEP = 1, SHM_SENDING = 2 };
struct shm_bell { alignas(64) _Atomic uint32_t asleep; };

/* The thread sanitizer knows no fences; the order of plain accesses around these is the hardware's business, which it does not model. */
#if defined(__SANITIZE_THREAD__)
#define shm_fence(order) atomic_signal_fence(order)
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define shm_fence(order) atomic_signal_fence(order)
#endif
#endif
#ifndef shm_fence
#define shm_fence(order) atomic_thread_fence(order)
#endif
#endif
