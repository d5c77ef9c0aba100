/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PMI-1, the text that mpiexec.hydra and srun --mpi=pmi2 speak on PMI_FD: a request line, a reply line, one at a time.
 *
 *      cmd=init pmi_version=1 pmi_subversion=1         cmd=response_to_init rc=0 pmi_version=1 ...
 *      cmd=get_maxes                                   cmd=maxes kvsname_max=256 keylen_max=64 vallen_max=1024
 *      cmd=get_my_kvsname                              cmd=my_kvsname kvsname=NAME
 *      cmd=put kvsname=NAME key=K value=V              cmd=put_result rc=0 ...
 *      cmd=barrier_in                                  cmd=barrier_out                         when all ranks are in it
 *      cmd=get kvsname=NAME key=K                      cmd=get_result rc=0 value=V ...
 *      cmd=finalize                                    cmd=finalize_ack
 *
 * Values hold no spaces: hexadecimal, in pieces as long as the store allows. A reply is a line of foreign bytes, of PMI_LINE at most.
 * A struct pmi is one conversation, over with the first reply that is not understood. The process has one (pmi_share), which begins once
 * and ends with the process: a launcher takes an end for the end of the rank, and no end for a crash.
 */
#include <base/clock.h>
#include <base/config.h>
#include <boot/inner.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE_MAX = 1024, PIECE_MIN = 16, GOODBYE_MS = 2000 };

/* ---- a line ------------------------------------------------------------------------------------------------- */

static int late(const struct pmi *p, const char *what)
{
	char span[32];

	span_text(span, sizeof span, clock_ns() - p->began);
	return err_set(TUTTI_ERR_TIMEOUT, "PMI-1: the launcher did not answer \"%.40s\" within %s", what, span);
}

/* Until the descriptor is ready; what: the request, for the sentence */
static int ready(const struct pmi *p, short events, const char *what)
{
	struct pollfd f = { .fd = p->fd, .events = events };
	int n;

	do {
		int64_t left = p->deadline == CLOCK_NEVER ? 60000 : (p->deadline - clock_ns() + 999999) / 1000000;

		if (left <= 0)
			return late(p, what);
		n = poll(&f, 1, left > 60000 ? 60000 : (int)left);
	} while (!n || (n < 0 && errno == EINTR));
	return n < 0 ? err_sys("PMI-1: poll of PMI_FD %d", p->fd) : TUTTI_OK;
}

static int say(const struct pmi *p, const char *line, const char *what)
{
	for (size_t len = strlen(line), at = 0; at < len;) {
		ssize_t n = send(p->fd, line + at, len - at, MSG_NOSIGNAL | MSG_DONTWAIT);
		int rc = TUTTI_OK;

		if (n >= 0)
			at += (size_t)n;
		else if (errno == EAGAIN)
			rc = ready(p, POLLOUT, what);
		else if (errno != EINTR)
			rc = err_sys("PMI-1: cannot write \"%.40s\" to PMI_FD %d", what, p->fd);
		if (rc)
			return rc;
	}
	return TUTTI_OK;
}

/* The reply into p->in, as a string without its newline. */
static int hear(struct pmi *p, const char *what)
{
	for (size_t have = 0;;) {
		ssize_t n = recv(p->fd, p->in + have, sizeof p->in - have, MSG_DONTWAIT);
		char *end = n > 0 ? memchr(p->in + have, '\n', (size_t)n) : NULL;
		int rc = TUTTI_OK;

		if (!n)
			return err_set(TUTTI_ERR_PEER, "PMI-1: the launcher closed PMI_FD %d instead of answering \"%.40s\"", p->fd, what);
		if (n < 0 && errno == EAGAIN)
			rc = ready(p, POLLIN, what);
		else if (n < 0 && errno != EINTR)
			rc = err_sys("PMI-1: cannot read from PMI_FD %d", p->fd);
		if (rc)
			return rc;
		have += n > 0 ? (size_t)n : 0;
		if (end && end == p->in + have - 1) {
			*end = 0;
			return TUTTI_OK;
		}
		if (end || have == sizeof p->in)
			return err_set(TUTTI_ERR_INVALID, "PMI-1: expected one line of at most %zu bytes in answer to \"%.40s\", got more",
				sizeof p->in, what);
	}
}

bool pmi_field(const char *line, const char *name, char *value, size_t cap)
{
	size_t n = strlen(name), len;

	for (const char *at = line; *at; at += len) {
		at += strspn(at, " ");
		len = strcspn(at, " ");
		if (len <= n || at[n] != '=' || memcmp(at, name, n))
			continue;
		if (len - n - 1 >= cap)
			return false;
		memcpy(value, at + n + 1, len - n - 1);
		value[len - n - 1] = 0;
		return true;
	}
	return false;
}

static int not_understood(const struct pmi *p, const char *expected)
{
	char shown[80];
	size_t n = 0;

	for (; p->in[n] && n < sizeof shown - 1; n++)
		shown[n] = p->in[n] < ' ' || p->in[n] > '~' ? '?' : p->in[n];
	shown[n] = 0;
	return err_set(TUTTI_ERR_INVALID, "PMI-1: expected %s, got \"%s\"", expected, shown);
}

/* A request and its reply, cmd=answer, in p->in. what: how a sentence names it. TUTTI_ERR_UNSUPPORTED: understood, and refused. */
static int ask(struct pmi *p, const char *line, const char *what, const char *answer)
{
	char expected[64], cmd[32], code[16], reason[64] = "";
	int rc = p->broken ? err_set(TUTTI_ERR_PEER, "PMI-1: the conversation with the launcher failed before") : say(p, line, what);
	long v = 0;

	if (!rc)
		rc = hear(p, what);
	snprintf(expected, sizeof expected, "cmd=%s", answer);
	if (!rc && (!pmi_field(p->in, "cmd", cmd, sizeof cmd) || strcmp(cmd, answer)))
		rc = not_understood(p, expected);
	if (!rc && pmi_field(p->in, "rc", code, sizeof code) && parse_int(code, INT_MIN, INT_MAX, &v))
		rc = not_understood(p, "rc=0");
	p->broken = p->broken || rc;
	if (rc || !v)
		return rc;
	pmi_field(p->in, "msg", reason, sizeof reason);
	return err_set(TUTTI_ERR_UNSUPPORTED, "PMI-1: the launcher refused \"%.40s\": rc=%ld %s", what, v, reason);
}

/* ---- a conversation ----------------------------------------------------------------------------------------- */

static int take_maxes(struct pmi *p)
{
	char text[32];
	long v;

	if (!pmi_field(p->in, "vallen_max", text, sizeof text) || parse_int(text, PIECE_MIN, INT_MAX, &v))
		return not_understood(p, "vallen_max=16 or more");
	p->piece = (v > PIECE_MAX ? PIECE_MAX : (size_t)v - 1) & ~(size_t)1;    /* the end of the string counts */
	return TUTTI_OK;
}

int pmi_start(struct pmi *p, int fd, int64_t deadline)
{
	int rc;

	*p = (struct pmi){ .fd = fd, .deadline = deadline, .began = clock_ns() };
	rc = ask(p, "cmd=init pmi_version=1 pmi_subversion=1\n", "init", "response_to_init");
	if (!rc)
		rc = ask(p, "cmd=get_maxes\n", "get_maxes", "maxes");
	if (!rc)
		rc = take_maxes(p);
	if (!rc)
		rc = ask(p, "cmd=get_my_kvsname\n", "get_my_kvsname", "my_kvsname");
	if (!rc && (!pmi_field(p->in, "kvsname", p->kvs, sizeof p->kvs) || !*p->kvs))
		rc = not_understood(p, "kvsname= and at most 256 characters");
	p->broken = p->broken || rc;
	return rc;
}

static int put(struct pmi *p, const char *key, const char *value)
{
	char line[PMI_LINE];

	snprintf(line, sizeof line, "cmd=put kvsname=%s key=%s value=%s\n", p->kvs, key, value);
	return ask(p, line, "put", "put_result");
}

/* The value must be len bytes in hexadecimal, no more and no less. */
static int get(struct pmi *p, const char *key, unsigned char *bytes, size_t len)
{
	char line[PMI_LINE], value[PIECE_MAX + 1];
	size_t got = 0;
	int rc;

	snprintf(line, sizeof line, "cmd=get kvsname=%s key=%s\n", p->kvs, key);
	rc = ask(p, line, "get", "get_result");
	if (rc)
		return rc;
	if (!pmi_field(p->in, "value", value, sizeof value) || strlen(value) != 2 * len ||
	    sodium_hex2bin(bytes, len, value, 2 * len, NULL, &got, NULL) || got != len)
		return not_understood(p, "value= and rank 0's bytes in hexadecimal");
	return TUTTI_OK;
}

static int each_piece(struct pmi *p, unsigned char *bytes, size_t len, bool mine)
{
	char key[48], value[PIECE_MAX + 1];
	int rc = TUTTI_OK;

	for (size_t at = 0, i = 0, n; !rc && at < len; at += n, i++) {
		n = len - at < p->piece / 2 ? len - at : p->piece / 2;
		snprintf(key, sizeof key, "tutti-%d-%zu", p->shared, i);
		if (mine)
			rc = put(p, key, sodium_bin2hex(value, sizeof value, bytes + at, n));
		else
			rc = get(p, key, bytes + at, n);
	}
	return rc;
}

/* When rank 0's put is refused, it comes to the barrier all the same: then the others find nothing, and nobody waits. */
int pmi_cast(struct pmi *p, unsigned char *bytes, size_t len, bool mine, int64_t deadline)
{
	char said[ERR_TEXT];
	int put_rc, rc;

	p->deadline = deadline;
	p->began = clock_ns();
	put_rc = mine ? each_piece(p, bytes, len, true) : TUTTI_OK;
	snprintf(said, sizeof said, "%s", err_last());
	if (put_rc && p->broken)
		return put_rc;
	rc = ask(p, "cmd=barrier_in\n", "barrier_in, for all ranks to come", "barrier_out");
	if (!rc && !mine)
		rc = each_piece(p, bytes, len, false);
	p->shared++;
	return put_rc ? err_set(put_rc, "%s", said) : rc;
}

void pmi_end(struct pmi *p, int64_t deadline)
{
	p->deadline = deadline;
	if (!p->broken)
		ask(p, "cmd=finalize\n", "finalize", "finalize_ack");
}

/* ---- the process's own -------------------------------------------------------------------------------------- */

static struct { pid_t pid; dev_t dev; ino_t ino; int status; char why[ERR_TEXT]; struct pmi p; } session;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Is PMI_FD what it was? An MPI in this process may have said goodbye and closed it, and the number may be another file's now. */
static bool same_socket(void)
{
	struct stat st;

	return !fstat(session.p.fd, &st) && st.st_dev == session.dev && st.st_ino == session.ino;
}

static void at_exit(void)
{
	if (session.pid == getpid() && same_socket())
		pmi_end(&session.p, clock_after_ms(GOODBYE_MS));
}

static int begin(int fd, int64_t deadline)
{
	struct stat st;
	bool open = !fstat(fd, &st);

	if (!open || !S_ISSOCK(st.st_mode))
		return err_set(TUTTI_ERR_CONFIG, "PMI_FD: expected the launcher's socket, but descriptor %d is %s", fd,
			open ? "something else" : "not open: was it closed on the way to this program?");
	session.dev = st.st_dev;
	session.ino = st.st_ino;
	session.pid = getpid();
	atexit(at_exit);
	session.status = pmi_start(&session.p, fd, deadline);
	snprintf(session.why, sizeof session.why, "%s", err_last());
	return session.status;
}

int pmi_share(int fd, unsigned char *bytes, size_t len, bool mine, int64_t deadline)
{
	int rc = TUTTI_OK;

	pthread_mutex_lock(&lock);
	if (!session.pid)
		rc = begin(fd, deadline);
	else if (session.status)
		rc = err_set(session.status, "%s", session.why);
	else if (session.pid != getpid() || !same_socket())
		rc = err_set(TUTTI_ERR_UNSUPPORTED, "PMI-1: PMI_FD %d is no longer this process's: %s", fd, session.pid != getpid() ?
			"its parent speaks to the launcher" : "it was closed after the last communicator was made");
	if (!rc)
		rc = pmi_cast(&session.p, bytes, len, mine, deadline);
	pthread_mutex_unlock(&lock);
	return rc;
}
