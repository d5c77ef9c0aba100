/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of src/boot. Two trees are made of the same parts: the star in which the ranks meet, and the tree that stays.
 *
 *      env.c id.c        who am I, where do we meet (struct boot_spec)
 *      pmi.c pmix.c      what a launcher carries from rank 0 to the others             slurm.c    Slurm's notations
 *      open.c            star, all-gather of cards, tree: boot_open, boot_open_with, boot_split
 *      meet.c            strangers become links: accept and dial, hand-shake, welcome
 *      tree.c            struct boot: poll, raise, goodbye                   gather.c   its all-gather
 *      link.c            one proved connection: two buffers of frames        frame.c    bytes <-> frames, nothing else
 *      place.c           addresses
 *
 * Links: the children first, in the order of their ranks, then the parent. A link without a descriptor (fd < 0) is not there yet, or gone.
 */
#ifndef BOOT_INNER_H
#define BOOT_INNER_H
#include <base/auth.h>
#include <base/err.h>
#include <boot/boot.h>
#include <sys/socket.h>

/* ---- bytes -------------------------------------------------------------------------------------------------- */

void le_put(unsigned char *p, uint64_t v, int bytes);   /* little-endian */
uint64_t le_get(const unsigned char *p, int bytes);

/* ---- frames ------------------------------------------------------------------------------------------------- */
/*      length 4 | kind 4 | counter 8 | body | tag 16       tag: keyed BLAKE2b of the direction and all before it */

enum { LETTER_HEAD = 8, FRAME_HEAD = 16, FRAME_TAG = 16, FRAME_PIECE = 8, FRAME_DATA = 16 << 10 };
enum frame_kind {
	FRAME_WELCOME,          /* acceptor: you are in                          (nothing) */
	FRAME_GATHER,           /* child: my subtree's blobs, in pieces          sequence 4, bytes a rank 4, data */
	FRAME_SPREAD,           /* parent: everybody's blobs, in pieces          the same */
	FRAME_LETTER,           /* any: for one rank                             from 4, to 4, data */
	FRAME_RAISE,            /* the first cause                               status 4, sentence */
	FRAME_BYE,              /* my subtree (child), or everybody (parent), has come to the end     (nothing) */
	FRAME_KINDS
};
struct frame { uint32_t kind; const unsigned char *body; size_t len; };

static inline size_t frame_bytes(size_t len) { return FRAME_HEAD + len + FRAME_TAG; }

/* The body stands at `at` + FRAME_HEAD; head and tag are written around it. dialler: is the sender the one who dialled? */
void frame_seal(unsigned char *at, const unsigned char *key, bool dialler, uint64_t counter, uint32_t kind, size_t len);

/* TUTTI_OK: *f is the frame at `at`. TUTTI_PENDING: *need bytes are needed, and bounded. TUTTI_ERR_AUTH: not a frame of ours. */
int frame_open(const unsigned char *at, size_t have, const unsigned char *key, bool dialler, uint64_t counter, struct frame *f,
                size_t *need);

/* ---- links -------------------------------------------------------------------------------------------------- */

struct buf { unsigned char *p; size_t at, len, cap; };  /* the bytes at .. len of p */

struct link {
	int fd, peer;
	bool dialler;                   /* this end dialled */
	bool got_bye, said_bye, got_raise;
	int why;                        /* errno of the loss; 0: closed */
	uint32_t watch;                 /* epoll events asked for */
	uint64_t sent, received;        /* frames */
	unsigned char session[AUTH_KEY_BYTES];
	struct buf in, out;
	struct buf up;                  /* a child's part of the next all-gather, which may come before this rank's own */
	uint32_t up_seq, up_bytes;
	bool up_full;
	size_t fed;                     /* bytes of the present all-gather handed to this link */
	bool fed_all;
};

int buf_need(struct buf *s, size_t more);               /* room for `more` after len */
void buf_free(struct buf *s);
int link_start(struct link *l, int fd, int peer, bool dialler, const unsigned char *session);   /* takes fd over */
unsigned char *link_room(struct link *l, size_t len);   /* where the body of the next frame goes; NULL: no memory */
void link_put(struct link *l, uint32_t kind, size_t len);
int link_flush(struct link *l);                         /* TUTTI_OK: all is sent; TUTTI_PENDING; TUTTI_ERR_PEER: lost, l->why */
int link_fill(struct link *l);                          /* the same of receiving; one system call */
int link_next(struct link *l, struct frame *f);         /* as frame_open; f is valid until the next call */
static inline bool link_idle(const struct link *l) { return l->out.at == l->out.len; }
void link_end(struct link *l);

/* ---- addresses ---------------------------------------------------------------------------------------------- */

struct place { struct sockaddr_storage addr; socklen_t len; };
enum { PLACE_BYTES = 24, PLACE_TEXT = 80 };

int place_from(struct place *p, const void *addr, size_t len);  /* a mapped IPv4 address becomes plain; TUTTI_ERR_INVALID: no IP address */
void place_put(unsigned char *out, const struct place *p);
int place_get(struct place *p, const unsigned char *in);
int place_port(const struct place *p);
void place_set_port(struct place *p, int port);
int nth_port(int first, int i);                         /* wraps above 65535 to 1024 */
bool place_loopback(const struct place *p);
void place_any(struct place *p, int family, int port);  /* the wildcard of a family */
const char *place_text(const struct place *p, char *buf, size_t cap);
int place_resolve(const char *host, struct place *places, int max);     /* how many, or an error */
int place_listen(const struct place *p, int *fd);       /* fd on success; TUTTI_ERR_SYSTEM leaves errno */
bool place_of_socket(struct place *p, int fd);          /* this end's address */

/* ---- the tree ----------------------------------------------------------------------------------------------- */

struct boot {
	int rank, nranks;
	bool star;                      /* all ranks are children of the one that serves */
	bool root;
	int epfd;
	struct auth_key key;
	int status;                     /* the first cause */
	char cause[ERR_TEXT];
	struct link *links;
	int nlinks, nchildren;
	unsigned char *all;             /* the present all-gather, or NULL */
	size_t bytes, have;             /* a rank's; of `all`, from its beginning */
	bool gathered, spread;          /* my subtree is in `all`; everybody is */
	uint32_t seq;
	boot_taker *letters;
	void *letters_ctx;
};

enum { MOST_RANKS = 1 << 24 };
int rank_check(int nranks, int rank);
int tree_new(struct boot **b, int rank, int nranks, bool star, bool root);
void tree_free(struct boot *b);
struct link *tree_child(struct boot *b, int rank);      /* its link; NULL: not a child of mine */
struct link *tree_parent(struct boot *b);
void tree_event(struct boot *b, uint32_t index, uint32_t events);       /* what epoll told about link `index` */
int tree_watch(struct boot *b, struct link *l);         /* ask epoll for what the link waits for */
void tree_push(struct boot *b, struct link *l);
void tree_say(struct boot *b, struct link *l, uint32_t kind);
int tree_told(const struct boot *b);                    /* the first cause as this thread's last error */
int tree_meanwhile(void);                               /* move what boot_meanwhile was told of; how much of it still runs */
int tree_wait(struct boot *b, int64_t until);           /* sleep, then poll; TUTTI_ERR_TIMEOUT without a sentence */
void tree_take(struct boot *b, struct link *l, const struct frame *f);  /* a frame, authenticated but not believed */
int gather_take(struct boot *b, struct link *l, const struct frame *f);

/* "0, 2..5, 9", given in rising order; cut with "..." */
struct ranges { char text[160]; size_t used; int first, last, count; };
void ranges_add(struct ranges *r, int rank);
const char *ranges_end(struct ranges *r);
const char *span_text(char *buf, size_t cap, int64_t ns);      /* "30 s" */

/* ---- meeting ------------------------------------------------------------------------------------------------ */

struct meet_plan {
	struct auth_key key;
	uint32_t purpose;
	int self, parent;               /* names in the hand-shake; in the star, who serves is 0 there */
	int listen_fd;                  /* -1: no children */
	bool loopback_only;
	const char *host;               /* the parent: a name and the ports to try ... */
	int port, ports;
	const struct place *place;      /* ... or its address */
};
enum { PURPOSE_STAR = 0x62730001, PURPOSE_TREE = 0x62740001 };

/* Until all children and the parent are linked. elder: a tree whose failure is ours. The caller keeps listen_fd. */
int meet_run(struct boot *b, const struct meet_plan *plan, struct boot *elder, int64_t deadline);

/* ---- the unique id ------------------------------------------------------------------------------------------ */

int id_read(const unsigned char *bytes, struct place *place, unsigned char *key);

/* ---- launchers ---------------------------------------------------------------------------------------------- */

/* Where ranks that know only a host and a job look for rank 0: blocks of STORE_PORTS, below the ports that the system hands out. */
enum { STORE_PORTS = 16, SLURM_PORT = 16384, SLURM_BLOCKS = 1024 };
int slurm_first_host(const char *list, char *host, size_t cap);         /* "n[01-03,7],m1": n01 */
int slurm_tasks_on(const char *list, int node, int *tasks);             /* "4(x2),3", 2: 3 */
int slurm_port(const char *job, const char *step);

enum { PMI_LINE = 4096 };
struct pmi {                            /* a conversation with a PMI-1 launcher */
	int fd, shared;                 /* pmi_casts so far: each has keys of its own */
	bool broken;
	size_t piece;                   /* hexadecimal digits that a value holds */
	int64_t began, deadline;
	char kvs[257], in[PMI_LINE];
};
int pmi_start(struct pmi *p, int fd, int64_t deadline);
int pmi_cast(struct pmi *p, unsigned char *bytes, size_t len, bool mine, int64_t deadline);     /* as pmi_share */
void pmi_end(struct pmi *p, int64_t deadline);
bool pmi_field(const char *line, const char *name, char *value, size_t cap);   /* of "name=value name=value"; false: none, or too long */

/* Collective: the bytes of the rank whose they are (mine: rank 0) become everybody's. Blocking, in the same order on all ranks. The
 * process's conversation begins with the first call and ends with the process. */
int pmi_share(int fd, unsigned char *bytes, size_t len, bool mine, int64_t deadline);

enum { PMIX_SHARE_MAX = 256, PMIX_GOODBYE_MS = 2000 };
int pmix_open(struct boot_spec *s, int64_t deadline);   /* the ranks; TUTTI_ERR_UNSUPPORTED: no library, or no launcher behind it */
int pmix_share(unsigned char *bytes, size_t len, bool mine, int64_t deadline);  /* as pmi_share; len <= PMIX_SHARE_MAX */
#endif
