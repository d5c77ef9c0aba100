/* SPDX-License-Identifier: Apache-2.0 */
/* A launcher's bytes as PMI-1: refused in words, or understood. Zero bytes end packets; a good beginning, or none, stands before. */
#include <base/clock.h>
#include <boot/inner.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void tell(int fd, const void *bytes, size_t len)
{
	if (len && send(fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return;                 /* the socket is full: so much is heard, and no more */
}

static void converse(const uint8_t *data, size_t size, int begun)
{
	static const char *const good[] = { "cmd=response_to_init rc=0\n", "cmd=maxes vallen_max=64\n", "cmd=my_kvsname kvsname=a\n",
		"cmd=barrier_out\n" };
	unsigned char bytes[80] = { 0 };
	struct pmi p;
	int ends[2], rc;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends))
		abort();
	for (int i = 0; i < begun; i++)
		tell(ends[0], good[i], strlen(good[i]));
	for (size_t at = 0, len; at < size; at += len + 1) {
		const uint8_t *end = memchr(data + at, 0, size - at);

		len = end ? (size_t)(end - data) - at : size - at;
		tell(ends[0], data + at, len);
	}
	shutdown(ends[0], SHUT_WR);
	rc = pmi_start(&p, ends[1], CLOCK_NEVER);
	if (rc && (!p.broken && rc != TUTTI_ERR_UNSUPPORTED))
		abort();
	if (!rc && (!*p.kvs || strlen(p.kvs) >= sizeof p.kvs || p.piece < 2 || p.piece % 2))
		abort();
	if (!rc)
		rc = pmi_cast(&p, bytes, sizeof bytes, begun == 3, CLOCK_NEVER);
	if (rc && !strstr(err_last(), "PMI-1: "))
		abort();
	pmi_end(&p, CLOCK_NEVER);
	close(ends[0]);
	close(ends[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (int begun = 0; begun <= 4; begun++)
		converse(data, size, begun);
	return 0;
}
