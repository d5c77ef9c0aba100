/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How links come to be. This rank listens for its children and dials its parent at the same time; whatever connects is a stranger until
 * it has proved the key, its rank and its purpose (base/auth.h).
 *
 *      accepted -> hand-shake -> admitted: WELCOME, a link                  one slow or silent stranger holds one of PENDING places,
 *                             -> refused: RAISE with the reason             for HANDSHAKE_MS at most; the meeting goes on
 *      dial, rest, dial ... -> hand-shake -> wait for WELCOME -> a link
 *
 * The dialler starts again until the deadline: the other may not listen yet, or something else may listen there. Being refused, or a
 * proof with another key at the only place there is (after AUTH_ROUNDS attempts), is final.
 */
#define _GNU_SOURCE     /* accept4 */
#include <base/clock.h>
#include <base/config.h>
#include <base/log.h>
#include <boot/inner.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { PENDING = 64, HANDSHAKE_MS = 5000, PATIENCE_MS = 60000, SEARCH_MS = 1000, MIN_HANDSHAKE_MS = 500, FIRST_REST_MS = 10,
                LONGEST_REST_MS = 500, AUTH_ROUNDS = 5, LOGGED = 5, EVENTS = 32, ADDRESSES = 8 };

struct pending { struct auth auth; int fd; int64_t since; char from[PLACE_TEXT]; };

enum dialling { DIAL_REST, DIAL_CONNECT, DIAL_PROVE, DIAL_WELCOME, DIAL_DONE };
struct dial {
	enum dialling state;
	int fd;
	struct auth auth;
	struct place addresses[ADDRESSES];
	int naddresses, attempt;        /* attempt: address within port, from 0 in each round */
	int64_t until;                  /* end of the rest, or of the attempt */
	int rest_ms, auth_rounds;
	bool auth_failed;               /* in this round */
	char why[ERR_TEXT];             /* of the last attempt, or of the one that answered with another key */
};

struct meet {
	struct boot *b;
	const struct meet_plan *plan;
	struct pending pending[PENDING];
	struct dial dial;
	int dropped;
	bool listening;                 /* the listener is in the epoll */
	int64_t began, report_at;
	int status;                     /* final for this meeting: the sentence is err_last */
};

/* epoll data: links by their index, then these */
static uint32_t index_listen(const struct meet *m) { return (uint32_t)m->b->nlinks; }
static uint32_t index_dial(const struct meet *m) { return (uint32_t)m->b->nlinks + 1; }
static uint32_t index_pending(const struct meet *m) { return (uint32_t)m->b->nlinks + 2; }

static int watch(struct meet *m, int op, int fd, uint32_t events, uint32_t index)
{
	struct epoll_event e = { .events = events, .data.u32 = index };

	return epoll_ctl(m->b->epfd, op, fd, &e) ? err_sys("epoll_ctl") : TUTTI_OK;
}

static uint32_t auth_epoll(const struct auth *a) { return auth_events(a) & 4 ? EPOLLOUT : EPOLLIN; }

static void forget(struct meet *m, int *fd)
{
	if (*fd < 0)
		return;
	epoll_ctl(m->b->epfd, EPOLL_CTL_DEL, *fd, NULL);
	close(*fd);
	*fd = -1;
}

/* ---- accepting ---------------------------------------------------------------------------------------------- */

static void dropped(struct meet *m, const char *from, const char *why)
{
	if (m->dropped++ < LOGGED)
		log_msg(LOG_WARN, "meeting: dropped a connection from %s: %s", from, why);
}

/* Tell a rank that proved the key why it may not come in, and drop it. Ends p->fd. */
static void refuse(struct meet *m, struct pending *p, int status, const char *why)
{
	struct link l;
	unsigned char *body;

	dropped(m, p->from, why);
	epoll_ctl(m->b->epfd, EPOLL_CTL_DEL, p->fd, NULL);
	if (!link_start(&l, p->fd, p->auth.peer, false, p->auth.session) && (body = link_room(&l, 4 + strlen(why)))) {
		le_put(body, (uint32_t)status, 4);
		memcpy(body + 4, why, strlen(why));
		link_put(&l, FRAME_RAISE, 4 + strlen(why));
		link_flush(&l);
	}
	link_end(&l);
	p->fd = -1;
}

static void admit(struct meet *m, struct pending *p)
{
	struct boot *b = m->b;
	int peer = p->auth.peer;
	struct link *l = tree_child(b, peer);
	char why[160];

	if ((int64_t)p->auth.tag != b->nranks)
		snprintf(why, sizeof why, "rank %d counts %u ranks, rank %d counts %d", peer, p->auth.tag, b->rank, b->nranks);
	else if (peer >= b->nranks)
		snprintf(why, sizeof why, "rank: expected 0..%d, got %d", b->nranks - 1, peer);
	else if (peer == b->rank || (l && l->fd >= 0))
		snprintf(why, sizeof why, "rank %d is here already: two processes have the same rank", peer);
	else if (!l)
		snprintf(why, sizeof why, "rank %d is not a child of rank %d in the control tree", peer, b->rank);
	else
		why[0] = 0;
	if (why[0]) {
		refuse(m, p, TUTTI_ERR_MISMATCH, why);
		return;
	}
	epoll_ctl(b->epfd, EPOLL_CTL_DEL, p->fd, NULL);
	m->status = link_start(l, p->fd, peer, false, p->auth.session);
	p->fd = -1;
	if (!m->status)
		tree_say(b, l, FRAME_WELCOME);
}

static void step_pending(struct meet *m, struct pending *p)
{
	int rc = auth_step(&p->auth);

	if (rc == TUTTI_OK)
		admit(m, p);
	else if (rc == TUTTI_PENDING)
		watch(m, EPOLL_CTL_MOD, p->fd, auth_epoll(&p->auth), index_pending(m) + (uint32_t)(p - m->pending));
	else {
		dropped(m, p->from, err_last());
		forget(m, &p->fd);
	}
}

static void begin_pending(struct meet *m, struct pending *p, int fd, const struct place *from)
{
	if (p->fd >= 0)
		dropped(m, p->from, "too slow, and others are waiting");
	forget(m, &p->fd);
	place_text(from, p->from, sizeof p->from);
	p->fd = fd;
	p->since = clock_ns();
	if (m->plan->loopback_only && !place_loopback(from)) {
		dropped(m, p->from, "there is no key, so only loopback is accepted");
		forget(m, &p->fd);
		return;
	}
	auth_accept(&p->auth, &m->plan->key, fd, m->plan->purpose, m->plan->self);
	m->status = watch(m, EPOLL_CTL_ADD, fd, EPOLLIN, index_pending(m) + (uint32_t)(p - m->pending));
	if (m->status)
		forget(m, &p->fd);
	else
		step_pending(m, p);
}

/* A free place; or the oldest's, if it had its chance; or NULL. */
static struct pending *find_room(struct meet *m)
{
	struct pending *oldest = &m->pending[0];

	for (int i = 0; i < PENDING; i++) {
		if (m->pending[i].fd < 0)
			return &m->pending[i];
		if (m->pending[i].since < oldest->since)
			oldest = &m->pending[i];
	}
	return clock_ns() - oldest->since < MIN_HANDSHAKE_MS * INT64_C(1000000) ? NULL : oldest;
}

static int listen_on(struct meet *m, bool on)
{
	if (m->listening == on)
		return TUTTI_OK;
	m->listening = on;
	return watch(m, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, m->plan->listen_fd, EPOLLIN, index_listen(m));
}

static void accept_all(struct meet *m)
{
	struct place from;
	struct sockaddr_storage addr;
	struct pending *p;

	while (!m->status && (p = find_room(m))) {
		socklen_t len = sizeof addr;
		int fd = accept4(m->plan->listen_fd, (struct sockaddr *)&addr, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0 && !place_from(&from, &addr, len))
			begin_pending(m, p, fd, &from);
		else if (fd >= 0)
			close(fd);
		else if (errno == EMFILE || errno == ENFILE)
			m->status = err_sys("rank %d needs a descriptor for each of %d ranks that connect to it (raise `ulimit -n`)",
				m->b->rank, m->b->nchildren);
		else if (errno == EAGAIN || errno == EWOULDBLOCK)
			return;
		/* else: that connection is gone already; the next */
	}
	if (!m->status)
		m->status = listen_on(m, false);        /* full: they wait in the kernel's queue */
}

static void expire(struct meet *m)
{
	int64_t now = clock_ns();

	for (int i = 0; i < PENDING; i++)
		if (m->pending[i].fd >= 0 && now - m->pending[i].since > HANDSHAKE_MS * INT64_C(1000000)) {
			dropped(m, m->pending[i].from, "it did not finish the hand-shake in time");
			forget(m, &m->pending[i].fd);
		}
}

/* ---- dialling ----------------------------------------------------------------------------------------------- */

static int places(const struct meet *m) { return m->plan->place ? 1 : m->dial.naddresses * m->plan->ports; }

static bool one_place(const struct meet *m) { return m->plan->place || m->plan->ports == 1; }

static struct place place_at(const struct meet *m, int attempt)
{
	struct place p;

	if (m->plan->place)
		return *m->plan->place;
	p = m->dial.addresses[attempt % m->dial.naddresses];
	place_set_port(&p, nth_port(m->plan->port, attempt / m->dial.naddresses));
	return p;
}

/* The round is over without success: rest, then begin again with the names resolved anew. */
static void rest(struct meet *m)
{
	struct dial *d = &m->dial;

	if (d->auth_failed && one_place(m) && ++d->auth_rounds >= AUTH_ROUNDS)
		m->status = err_set(TUTTI_ERR_AUTH, "%s", d->why);
	d->auth_failed = false;
	d->state = DIAL_REST;
	d->attempt = 0;
	d->until = clock_after_ms(d->rest_ms);
	d->rest_ms = d->rest_ms * 2 < LONGEST_REST_MS ? d->rest_ms * 2 : LONGEST_REST_MS;
}

static void begin_dial(struct meet *m);

static void failed(struct meet *m, int status, const char *why)
{
	struct dial *d = &m->dial;
	struct place at = place_at(m, d->attempt);
	char where[PLACE_TEXT];
	bool answered = status == TUTTI_ERR_AUTH && d->auth.want && d->auth.got == d->auth.want;        /* with another key */

	place_text(&at, where, sizeof where);
	log_msg(LOG_DEBUG, "meeting: %s: %s", where, why);
	if (answered || !d->auth_failed)        /* else: nobody being at the other ports says less */
		snprintf(d->why, sizeof d->why, "%s: %.400s", where, why);
	d->auth_failed |= answered;
	forget(m, &d->fd);
	if (++d->attempt < places(m))
		begin_dial(m);
	else
		rest(m);
}

static void begin_dial(struct meet *m)
{
	struct dial *d = &m->dial;
	struct place at = place_at(m, d->attempt);

	d->fd = socket(at.addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	d->state = DIAL_CONNECT;
	d->until = clock_after_ms(HANDSHAKE_MS);
	if (d->fd < 0 || (connect(d->fd, (struct sockaddr *)&at.addr, at.len) && errno != EINPROGRESS))
		failed(m, TUTTI_ERR_SYSTEM, strerror(errno));
	else if (watch(m, EPOLL_CTL_ADD, d->fd, EPOLLOUT, index_dial(m)))
		failed(m, TUTTI_ERR_SYSTEM, err_last());
}

static void begin_round(struct meet *m)
{
	struct dial *d = &m->dial;
	int n;

	if (!m->plan->place) {
		n = place_resolve(m->plan->host, d->addresses, ADDRESSES);
		if (n < 0) {
			if (!d->why[0])
				log_msg(LOG_WARN, "meeting: %s; trying again", err_last());
			snprintf(d->why, sizeof d->why, "%s", err_last());
			rest(m);
			return;
		}
		d->naddresses = n;
	}
	begin_dial(m);
}

static void dial_connected(struct meet *m)
{
	struct dial *d = &m->dial;
	int code = 0;
	socklen_t len = sizeof code;

	getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &code, &len);
	if (code) {
		failed(m, TUTTI_ERR_SYSTEM, strerror(code));
		return;
	}
	/* with nowhere else to look, wait: whoever serves may come late */
	d->until = clock_after_ms(one_place(m) ? PATIENCE_MS : SEARCH_MS);
	auth_dial(&d->auth, &m->plan->key, d->fd, m->plan->purpose, (uint32_t)m->b->nranks, m->b->rank, m->plan->parent);
	d->state = DIAL_PROVE;
}

static void dial_prove(struct meet *m)
{
	struct dial *d = &m->dial;
	struct link *l = tree_parent(m->b);
	int rc = auth_step(&d->auth);

	if (rc == TUTTI_PENDING)
		rc = watch(m, EPOLL_CTL_MOD, d->fd, auth_epoll(&d->auth), index_dial(m));
	else if (rc == TUTTI_OK) {
		/* a proved peer answers or dies: only the deadline ends this wait */
		d->state = DIAL_WELCOME;
		d->until = CLOCK_NEVER;
		rc = link_start(l, d->fd, m->b->star ? -1 : m->plan->parent, true, d->auth.session);
		d->fd = -1;
		if (rc || watch(m, EPOLL_CTL_MOD, l->fd, EPOLLIN, index_dial(m)))
			m->status = TUTTI_ERR_SYSTEM;
		return;
	}
	if (rc)
		failed(m, rc, err_last());
}

static void dial_welcome(struct meet *m)
{
	struct link *l = tree_parent(m->b);
	struct frame f;
	int rc = link_fill(l);

	if (rc == TUTTI_OK)
		rc = link_next(l, &f);
	if (rc == TUTTI_PENDING)
		return;
	epoll_ctl(m->b->epfd, EPOLL_CTL_DEL, l->fd, NULL);
	if (rc == TUTTI_OK && f.kind == FRAME_WELCOME) {
		m->dial.state = DIAL_DONE;
		m->status = tree_watch(m->b, l);
		while (!m->b->status && link_next(l, &f) == TUTTI_OK)   /* came with it */
			tree_take(m->b, l, &f);
		return;
	}
	if (rc == TUTTI_OK) {           /* refused: the cause is this rank's alone to hear */
		l->got_bye = true;
		tree_take(m->b, l, &f);
		return;
	}
	link_end(l);
	failed(m, TUTTI_ERR_PEER, "the connection was closed before the welcome");
}

static void dial_event(struct meet *m)
{
	if (m->dial.state == DIAL_CONNECT)
		dial_connected(m);
	if (m->dial.state == DIAL_PROVE)
		dial_prove(m);
	else if (m->dial.state == DIAL_WELCOME)
		dial_welcome(m);
}

static void dial_tick(struct meet *m)
{
	if (m->dial.state == DIAL_DONE || clock_ns() < m->dial.until)
		return;
	if (m->dial.state == DIAL_REST)
		begin_round(m);
	else
		failed(m, TUTTI_ERR_TIMEOUT, "no answer");
}

/* ---- the meeting -------------------------------------------------------------------------------------------- */

static bool met(const struct meet *m)
{
	for (int i = 0; i < m->b->nchildren; i++)
		if (m->b->links[i].fd < 0)
			return false;
	return m->b->root || m->dial.state == DIAL_DONE;
}

/* For whom this rank waits, in a sentence. */
static void waits_for(const struct meet *m, char *text, size_t cap)
{
	struct boot *b = m->b;
	struct ranges late = { 0 };
	char span[32];

	span_text(span, sizeof span, clock_ns() - m->began);
	for (int r = 0, missing = b->nchildren; missing && r < b->nranks; r++) {
		struct link *l = tree_child(b, r);

		missing -= l != NULL;
		if (l && l->fd < 0)
			ranges_add(&late, r);
	}
	if (b->star && b->root)
		snprintf(text, cap, "%d of %d ranks did not come within %s: %s", late.count, b->nranks, span, ranges_end(&late));
	else if (late.count)
		snprintf(text, cap, "rank %d waited %s for rank %s to join the control tree", b->rank, span, ranges_end(&late));
	else if (b->star)
		snprintf(text, cap, "rank %d waited %s for the meeting at %s, port %d (%.300s)", b->rank, span, m->plan->host,
			m->plan->port, m->dial.why);
	else
		snprintf(text, cap, "rank %d waited %s for rank %d, its parent in the control tree (%.300s)", b->rank, span,
			m->plan->parent, m->dial.why);
}

static int too_late(struct meet *m)
{
	char text[ERR_TEXT];

	waits_for(m, text, sizeof text);
	boot_raise(m->b, TUTTI_ERR_TIMEOUT, text);
	return tree_told(m->b);
}

/* Once, after TUTTI_REPORT. */
static void report(struct meet *m)
{
	char text[ERR_TEXT];

	if (clock_ns() < m->report_at)
		return;
	m->report_at = CLOCK_NEVER;
	waits_for(m, text, sizeof text);
	log_msg(LOG_WARN, "meeting: still waiting: %s", text);
}

static void dispatch(struct meet *m, const struct epoll_event *e)
{
	uint32_t i = e->data.u32;

	if (i < index_listen(m))
		tree_event(m->b, i, e->events);
	else if (i == index_listen(m))
		accept_all(m);
	else if (i == index_dial(m))
		dial_event(m);
	else if (m->pending[i - index_pending(m)].fd >= 0)
		step_pending(m, &m->pending[i - index_pending(m)]);
}

/* How long nothing can happen without an event: until the rest or a hand-shake ends. */
static int64_t next_tick(const struct meet *m, int64_t deadline)
{
	int64_t at = deadline < m->report_at ? deadline : m->report_at, tick = clock_after_ms(100);
	bool timed = m->plan->listen_fd >= 0 && !m->listening;

	for (int i = 0; i < PENDING; i++)
		timed |= m->pending[i].fd >= 0;
	if (timed && tick < at)
		at = tick;
	if (m->dial.state != DIAL_DONE && m->dial.until < at)
		at = m->dial.until;
	return at;
}

static int turn(struct meet *m, struct boot *elder, int64_t deadline)
{
	struct epoll_event events[EVENTS];
	int64_t until = next_tick(m, deadline), left;
	int n, rc = TUTTI_OK, timeout;

	left = until == CLOCK_NEVER ? 60000 : (until - clock_ns() + 999999) / 1000000;
	timeout = left < 0 ? 0 : left > 60000 ? 60000 : (int)left;
	if (elder && timeout > 50)
		timeout = 50;           /* the elder's failure is looked for this often */
	if (tree_meanwhile() && timeout > 1)
		timeout = 1;
	n = epoll_wait(m->b->epfd, events, EVENTS, timeout);
	for (int i = 0; i < n && !m->status; i++)
		dispatch(m, &events[i]);
	if (elder && boot_poll(elder))
		rc = tree_told(elder);
	return rc;
}

static int run(struct meet *m, struct boot *elder, int64_t deadline)
{
	int rc = TUTTI_OK;

	while (!rc && !met(m)) {
		if (m->plan->listen_fd >= 0 && find_room(m))
			rc = listen_on(m, true);
		expire(m);
		dial_tick(m);
		report(m);
		if (!rc && !m->status && !m->b->status)
			rc = turn(m, elder, deadline);
		if (m->b->status)
			return tree_told(m->b);
		if (m->status)
			return m->status;
		if (!rc && !met(m) && deadline != CLOCK_NEVER && clock_ns() >= deadline)
			return too_late(m);
	}
	return rc;
}

int meet_run(struct boot *b, const struct meet_plan *plan, struct boot *elder, int64_t deadline)
{
	const struct config *cfg = config_get();
	struct meet *m = calloc(1, sizeof *m);
	int rc;

	if (!cfg) {
		free(m);
		return TUTTI_ERR_CONFIG;
	}
	if (!m)
		return err_set(TUTTI_ERR_NOMEM, "meeting: no memory");
	m->b = b;
	m->plan = plan;
	m->began = clock_ns();
	m->report_at = cfg->report_ms > 0 ? clock_after_ms(cfg->report_ms) : CLOCK_NEVER;
	m->dial = (struct dial){ .state = b->root ? DIAL_DONE : DIAL_REST, .fd = -1, .rest_ms = FIRST_REST_MS };
	for (int i = 0; i < PENDING; i++)
		m->pending[i].fd = -1;
	rc = run(m, elder, deadline);
	for (int i = 0; i < PENDING; i++)
		forget(m, &m->pending[i].fd);
	forget(m, &m->dial.fd);
	if (m->listening)
		listen_on(m, false);
	if (m->dropped > LOGGED)
		log_msg(LOG_WARN, "meeting: dropped %d more connections", m->dropped - LOGGED);
	free(m);
	return rc;
}
