/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UCX itself. Its own variables (UCX_TLS, UCX_NET_DEVICES ...) are read by ucp_config_read; where the
 * user has said nothing, some defaults are ours.
 */
#define _GNU_SOURCE
#include "ucx.h"
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <ucs/debug/debug.h>
#include <ucs/debug/log_def.h>
#include <unistd.h>

enum { LINE = 256, FOUND = 4096 };

/* UCX's registries of memory domains and components are one a process. */
static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;

/*
 * Where the user has said nothing.
 *
 *  shared memory   reports a peer's death only when asked to, and is left out of endpoints that want to hear of it; and 20 s are a long time to learn of it
 *  RDMA devices    hear of it by themselves, and UCX 1.13 aborts when a connection fails that it also keeps alive
 *  TCP             half a piece fits a segment
 *  UD              UCX 1.13 knows a packet's kind by what Mellanox's devices say; others' (rxe) lose every packet to its check: docs/ucx.md
 *
 * The variables of UCX alone are looked up: ours come from the configuration. name: as the transport's own table has it, after the name of a table within that.
 */
static const struct { const char *variable[3], *name, *value, *with, *without; } defaults[] = {
	{ { "UCX_MM_ERROR_HANDLING", "UCX_POSIX_ERROR_HANDLING", "UCX_SYSV_ERROR_HANDLING" }, "MM_ERROR_HANDLING", "y", "", NULL },
	{ { "UCX_KEEPALIVE_INTERVAL" }, "KEEPALIVE_INTERVAL", "1s", "", NULL },
	{ { "UCX_KEEPALIVE_INTERVAL" }, "KEEPALIVE_INTERVAL", "inf", "_verbs/", NULL },
	{ { "UCX_KEEPALIVE_INTERVAL" }, "KEEPALIVE_INTERVAL", "inf", "_mlx5/", NULL },
	{ { "UCX_TCP_TX_SEG_SIZE" }, "TX_SEG_SIZE", "264k", "tcp/", NULL },
	{ { "UCX_TCP_RX_SEG_SIZE" }, "RX_SEG_SIZE", "264k", "tcp/", NULL },
	{ { "UCX_UD_VERBS_ETH_DGID_CHECK", "UCX_UD_ETH_DGID_CHECK" }, "UD_ETH_DGID_CHECK", "n", "_verbs/", "_mlx5/" },
};

static bool said(const char *const variable[3])
{
	for (int i = 0; i < 3 && variable[i]; i++)
		if (getenv(variable[i]))
			return true;
	return false;
}

static ucs_log_func_rc_t log_line(const char *file, unsigned line, const char *function, ucs_log_level_t level,
                                  const ucs_log_component_config_t *component, const char *message, va_list ap)
{
	char text[LINE];
	(void)file, (void)line, (void)function, (void)component;
	if (level == UCS_LOG_LEVEL_FATAL || level == UCS_LOG_LEVEL_PRINT)
		return UCS_LOG_FUNC_RC_CONTINUE;        /* it is about to abort; or was asked to print */
	vsnprintf(text, sizeof(text), message, ap);
	log_msg(LOG_INFO, "ucx: %s", text);
	return UCS_LOG_FUNC_RC_STOP;
}

void ucx_log_here(void) { ucs_log_push_handler(log_line); }

void ucx_signals_alone(void)
{
	static const int signals[] = { SIGILL, SIGSEGV, SIGBUS, SIGFPE };
	for (size_t i = 0; !getenv("UCX_HANDLE_ERRORS") && i < sizeof(signals) / sizeof(*signals); i++)
		ucs_debug_disable_signal(signals[i]);
}

static int failed(const char *what, ucs_status_t status)
{
	return err_set(TUTTI_ERR_UNSUPPORTED, "%s: %s", what, ucs_status_string(status));
}

/* list: what is known to be there */
static int context_make(ucp_context_h *context, bool wakes, const char *list)
{
	ucp_params_t p = { .field_mask = UCP_PARAM_FIELD_FEATURES, .features = UCP_FEATURE_AM | (wakes ? UCP_FEATURE_WAKEUP : 0) };
	ucp_config_t *c;
	ucs_status_t status = ucp_config_read(NULL, NULL, &c);
	if (status != UCS_OK)
		return failed("UCX cannot read its configuration", status);
	for (size_t i = 0; i < sizeof(defaults) / sizeof(*defaults); i++)
		if (!said(defaults[i].variable) && strstr(list, defaults[i].with) && !(defaults[i].without && strstr(list, defaults[i].without)) &&
		    ucp_config_modify(c, defaults[i].name, defaults[i].value) != UCS_OK)
			log_msg(LOG_DEBUG, "ucx: this UCX has no %s", defaults[i].variable[0]);
	status = ucp_init(&p, c, context);
	ucp_config_release(c);
	return status == UCS_OK ? TUTTI_OK : failed("UCX does not start (UCX_TLS and UCX_NET_DEVICES say what it may use)", status);
}

static int worker_make(ucp_context_h context, ucp_worker_h *worker)
{
	ucp_worker_params_t p = { .field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE, .thread_mode = UCS_THREAD_MODE_SERIALIZED };
	ucs_status_t status = ucp_worker_create(context, &p, worker);
	return status == UCS_OK ? TUTTI_OK : failed("UCX makes no worker", status);
}

/* ---- what there is -------------------------------------------------------------------------------------------------- */

/* The word after `mark` of each line that has it, once: "tcp/eth0, posix/memory". What UCX prints is for people, and not promised. */
static size_t words(char *text, const char *mark, char *buf, size_t cap)
{
	size_t at = 0;
	char *save = NULL;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char word[LINE] = "", *p = strstr(line, mark);
		if (!p || sscanf(p + strlen(mark), " %255[^ ]", word) != 1 || !strchr(word, '/'))
			continue;
		size_t digits = strspn(word, "0123456789");
		char *name = digits && word[digits] == ':' ? word + digits + 1 : word;
		if (strrchr(name, '.') > strchr(name, '/'))
			*strrchr(name, '.') = 0;
		if (!(at && ucx_is_among(buf, name)) && at + strlen(name) + 3 < cap)
			at += (size_t)snprintf(buf + at, cap - at, "%s%s", at ? ", " : "", name);
	}
	return at;
}

static size_t printed(void (*print)(const void *what, FILE *f), const void *what, const char *mark, char *buf, size_t cap)
{
	char *text = NULL;
	size_t len = 0, at = 0;
	FILE *f = open_memstream(&text, &len);
	if (cap)
		*buf = 0;
	if (!f)
		return 0;
	print(what, f);
	if (!fclose(f) && cap)
		at = words(text, mark, buf, cap);
	free(text);
	return at;
}

static void print_context(const void *what, FILE *f) { ucp_context_print_info((ucp_context_h)(uintptr_t)what, f); }
static void print_ep(const void *what, FILE *f) { ucp_ep_print_info((ucp_ep_h)(uintptr_t)what, f); }

int ucx_lanes(const struct ucx_ep *e, char *buf, size_t cap)
{
	if (!e->h)
		return 0;
	return (int)printed(print_ep, e->h, "]: ", buf, cap);
}

/* Opens a context and a worker, as an interface does, and looks what they have. */
static int look(bool wakes, char list[FOUND])
{
	ucp_context_h context = NULL;
	ucp_worker_h worker = NULL;
	int status = context_make(&context, wakes, ""), fd;
	if (!status)
		status = worker_make(context, &worker);
	if (!status && wakes && ucp_worker_get_efd(worker, &fd) != UCS_OK)
		status = err_set(TUTTI_ERR_UNSUPPORTED, "UCX cannot wake a sleeper with these transports: let UCX_TLS name others, or set TUTTI_UCX_WAKEUP=0");
	if (context)
		printed(print_context, context, "-- ", list, FOUND);
	if (worker)
		ucp_worker_destroy(worker);
	if (context)
		ucp_cleanup(context);
	return status;
}

struct probed { bool done; int status; char why[LINE], list[FOUND], sleepless[LINE]; };

/* What there is does not change while the process lives; looking takes milliseconds, hundreds with many devices. */
static struct probed probe(bool wakes)
{
	static struct probed probed[2];
	struct probed *p = &probed[wakes];
	pthread_mutex_lock(&opening);
	if (!p->done) {
		p->status = look(wakes, p->list);
		snprintf(p->why, sizeof(p->why), "%s", p->status < 0 ? err_last() : "");
		if (!p->status && wakes)
			ucx_sleepless(p->list, p->sleepless, sizeof(p->sleepless));
		p->done = !p->status;   /* else memory may have been short */
	}
	struct probed copy = *p;
	pthread_mutex_unlock(&opening);
	return copy;
}

int ucx_probe(const struct config *config, char *found, size_t cap)
{
	const struct probed p = probe(config->ucx_wakeup);
	int n = snprintf(found, cap, "UCX %s%s%s", ucp_get_version_string(), *p.list ? ": " : "", p.list);
	if (*p.sleepless && (size_t)n < cap)
		snprintf(found + n, cap - (size_t)n, "\nnot used, for they cannot wake a sleeper: %s (TUTTI_UCX_WAKEUP=0 uses them)", p.sleepless);
	return p.status < 0 ? err_set(p.status, "%s", p.why) : TUTTI_OK;
}

/* Does any of these lead to another machine? If nothing can be read, let it be tried. */
static bool leads_far(const char *list)
{
	static const char *const near[] = { "self/", "posix/", "sysv/", "mm/", "cma/", "knem/", "xpmem/", "cuda_", "gdr_copy/", "rocm_", "ze_" };
	bool far = !*list;
	for (const char *word = list; word && *word; word = strchr(word, ' '), word += word != NULL) {
		bool is_near = false;
		for (size_t i = 0; i < sizeof(near) / sizeof(*near); i++)
			is_near |= !strncmp(word, near[i], strlen(near[i]));
		far |= !is_near;
	}
	return far;
}

/* ---- for an interface ----------------------------------------------------------------------------------------------- */

/* On what a sleeper sleeps: what the worker says, or a short time. */
static int open_fd(struct ucx_iface *s)
{
	if (!s->wakes)
		return (s->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) < 0 ? err_sys("timerfd_create") : TUTTI_OK;
	ucs_status_t status = ucp_worker_get_efd(s->worker, &s->fd);
	return status == UCS_OK ? TUTTI_OK : failed("UCX's worker has no descriptor to sleep on", status);
}

int ucx_context_open(struct ucx_iface *s)
{
	const struct probed p = probe(s->wakes);
	pthread_mutex_lock(&opening);
	int status = context_make(&s->context, s->wakes, p.list);
	if (!status)
		status = worker_make(s->context, &s->worker);
	pthread_mutex_unlock(&opening);
	if (!status)
		status = open_fd(s);
	if (status < 0)
		return status;
	ucs_status_t why = ucp_worker_get_address(s->worker, &s->address, &s->address_len);
	if (why != UCS_OK)
		return failed("UCX's worker has no address", why);
	if (s->address_len > UCX_ADDRESS_MAX)
		return err_set(TUTTI_ERR_UNSUPPORTED, "the address of UCX's worker has %zu bytes, expected up to %d: let UCX_NET_DEVICES name fewer",
		               s->address_len, UCX_ADDRESS_MAX);
	s->far = leads_far(p.list);
	return TUTTI_OK;
}

void ucx_context_close(struct ucx_iface *s)
{
	if (!s->wakes && s->fd >= 0)
		close(s->fd);
	pthread_mutex_lock(&opening);
	if (s->address)
		ucp_worker_release_address(s->worker, s->address);
	if (s->worker)
		ucp_worker_destroy(s->worker);
	ucx_mem_close(s);
	if (s->context)
		ucp_cleanup(s->context);
	pthread_mutex_unlock(&opening);
}
