/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks for the tests of src/boot: threads of this process, each with its own struct boot, meeting at a port of loopback. */
#ifndef TESTS_BOOT_CREW_H
#define TESTS_BOOT_CREW_H
#include <base/clock.h>
#include <boot/boot.h>
#include <pthread.h>
#include <stdint.h>

enum { CREW_MAX = 64 };

struct hand {
	struct boot_spec spec;
	int64_t wait_ms;                /* of boot_open */
	int64_t late_ms;                /* it starts so much later */
	int absent;                     /* it does not come */
	void (*work)(struct hand *h);   /* after a successful boot_open; may set status and said */
	void *arg;
	struct boot *b;
	int status;                     /* of boot_open, or what work says */
	char said[ERR_TEXT];            /* the sentence of a failure */
	pthread_t thread;
};

struct crew { int n; struct hand hands[CREW_MAX]; };

/* n ranks with a key of their own, rank 0 with a socket that listens already. Each closes its boot after work. */
void crew_make(struct crew *c, int n, void (*work)(struct hand *h));
void crew_run(struct crew *c);

void hand_fails(struct hand *h, int status, const char *said);
int listening(int *port);               /* a socket at a free port of 127.0.0.1 */
int free_port(void);                    /* nobody listens there now */
int64_t soon(void);                     /* a deadline no good run comes near */
#endif
