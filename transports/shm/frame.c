/* SPDX-License-Identifier: Apache-2.0 */
/* A frame is sent by one call, and a UNIX socket keeps so few bytes together: half a frame is a broken peer. */
#define _GNU_SOURCE
#include "shm.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

union control { struct cmsghdr align; char bytes[CMSG_SPACE(SHM_FDS * sizeof(int))]; };

int shm_frame_send(int fd, const struct shm_frame *f, const int *fds, int nfds)
{
	union control control;
	struct iovec iov = { (void *)(uintptr_t)f, sizeof(*f) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	if (nfds) {
		memset(&control, 0, sizeof(control));
		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE((size_t)nfds * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN((size_t)nfds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, (size_t)nfds * sizeof(int));
	}
	ssize_t n;
	do
		n = sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n == sizeof(*f) ? 0 : -EPROTO;
}

int shm_frame_recv(int fd, struct shm_frame *f, int fds[SHM_FDS], int *nfds)
{
	union control control;
	struct iovec iov = { f, sizeof(*f) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	ssize_t n;
	*nfds = 0;
	do
		n = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n ? -errno : -ECONNRESET;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
			*nfds = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
			memcpy(fds, CMSG_DATA(c), (size_t)*nfds * sizeof(int));
		}
	if (m.msg_flags & MSG_CTRUNC)
		return -EMFILE;
	return n == sizeof(*f) ? 0 : -EPROTO;
}
