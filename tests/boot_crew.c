/* SPDX-License-Identifier: Apache-2.0 */
#include "boot_crew.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int64_t soon(void) { return clock_after_ms(60000); }

int listening(int *port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof at;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 128) || getsockname(fd, (struct sockaddr *)&at, &len)) {
		perror("listening");
		abort();
	}
	*port = ntohs(at.sin_port);
	return fd;
}

int free_port(void)
{
	int port;

	close(listening(&port));
	return port;
}

void hand_fails(struct hand *h, int status, const char *said)
{
	h->status = status;
	snprintf(h->said, sizeof h->said, "%s", said);
}

void crew_make(struct crew *c, int n, void (*work)(struct hand *h))
{
	int port, fd = listening(&port);
	struct auth_key key;

	auth_key_random(&key);
	memset(c, 0, sizeof *c);
	c->n = n;
	for (int r = 0; r < n; r++) {
		struct boot_spec *s = &c->hands[r].spec;

		*s = (struct boot_spec){ .rank = r, .nranks = n, .local_rank = -1, .key = key, .port = port, .listen_fd = r ? -1 : fd,
			.serves = !r };
		strcpy(s->host, "127.0.0.1");
		c->hands[r].work = work;
		c->hands[r].wait_ms = 60000;
	}
}

static void *hand_main(void *arg)
{
	struct hand *h = arg;
	struct timespec late = { h->late_ms / 1000, h->late_ms % 1000 * 1000000 };

	nanosleep(&late, NULL);
	h->status = boot_open(&h->b, &h->spec, clock_after_ms(h->wait_ms));
	if (h->status) {
		hand_fails(h, h->status, err_last());
		return NULL;
	}
	if (h->work)
		h->work(h);
	if (h->b)
		boot_close(h->b, soon());
	return NULL;
}

void crew_run(struct crew *c)
{
	for (int r = 0; r < c->n; r++)
		if (!c->hands[r].absent && pthread_create(&c->hands[r].thread, NULL, hand_main, &c->hands[r]))
			abort();
	for (int r = 0; r < c->n; r++)
		if (!c->hands[r].absent)
			pthread_join(c->hands[r].thread, NULL);
}
