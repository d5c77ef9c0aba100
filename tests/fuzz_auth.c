/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stranger's bytes against both ends of the handshake. Input: one byte of settings (bit 0: which end; bits 1-2: how much of the right frame
 * stands before the stranger's; the rest: piece size), then what the stranger sends. Nobody without the key may ever be believed.
 */
#include <base/auth.h>
#include <base/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t head[] = "tutti\r\n\x1a\1\0\0\0\7\0\0\0";     /* magic, version, purpose 7 */

/* Hand over one piece, then let the machine move. */
static int feed(struct auth *a, int fd, const uint8_t *data, size_t size, size_t piece)
{
	int status = auth_step(a);

	for (size_t i = 0, m; i < size && status == TUTTI_PENDING; i += m) {
		m = size - i < piece ? size - i : piece;
		if (write(fd, data + i, m) != (ssize_t)m)
			abort();
		status = auth_step(a);
	}
	return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct auth_key key = { .bytes = { 1, 2, 3 } };
	struct auth a;
	size_t heads[] = { 0, 8, 12, 16 }, piece;
	int fd[2], status;

	if (!size || size > 4096 || socketpair(AF_UNIX, SOCK_STREAM, 0, fd))
		return 0;
	if (*data & 1)
		auth_dial(&a, &key, fd[0], 7, 1, 3, 5);
	else
		auth_accept(&a, &key, fd[0], 7, 5);
	piece = 1 + (*data >> 3);
	status = feed(&a, fd[1], head, heads[*data >> 1 & 3], piece);
	if (status == TUTTI_PENDING)
		status = feed(&a, fd[1], data + 1, size - 1, piece);
	if (status == TUTTI_PENDING) {
		close(fd[1]);
		fd[1] = -1;
		status = auth_step(&a);
	}
	if (status != TUTTI_ERR_AUTH || !*err_last() || (!a.dialler && a.peer != -1))
		abort();
	close(fd[0]);
	if (fd[1] >= 0)
		close(fd[1]);
	return 0;
}
