/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who am I, says the environment? One row a launcher, the first that is there wins. TUTTI_ROOT, TUTTI_SECRET and TUTTI_SECRET_FILE add to
 * any row: with TUTTI_ROOT, nothing is carried by the launcher.
 *
 *      TUTTI_RANK      ranks and place from our own variables
 *      torchrun        ranks and host from its variables; the key is the user's
 *      PMIx, PMI-1     ranks; place and key go from rank 0 to the others through the launcher
 *      Open MPI        ranks from its variables; place and key are the user's
 *      Slurm           ranks and host from its variables; the key is the user's
 *      alone           one rank
 *
 * All ranks must come to the same row, or they would wait for each other in different places. Only PMIx may give way to a later row, while
 * nobody has been told anything, to one that says the same rank; and never to "alone".
 */
#include <base/config.h>
#include <base/log.h>
#include <boot/inner.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SECRET_MAX = 4096 };

static int env_int(const char *name, long min, long max, int *value)
{
	const char *text = getenv(name);
	long v;

	if (!text)
		return err_set(TUTTI_ERR_CONFIG, "%s: expected an integer %ld..%ld, but it is not set", name, min, max);
	if (parse_int(text, min, max, &v))
		return err_set(TUTTI_ERR_CONFIG, "%s: expected an integer %ld..%ld, got \"%.100s\"", name, min, max, text);
	*value = (int)v;
	return TUTTI_OK;
}

static int set_host(struct boot_spec *s, const char *name, const char *host, size_t len)
{
	if (!len || len >= sizeof s->host)
		return err_set(TUTTI_ERR_CONFIG, "%s: expected a host of 1..%zu characters, got \"%.100s\"", name, sizeof s->host - 1,
			host);
	memcpy(s->host, host, len);
	s->host[len] = 0;
	return TUTTI_OK;
}

/* HOST:PORT or [IPV6]:PORT */
static int read_root(struct boot_spec *s, const char *root)
{
	const char *colon = strrchr(root, ':');
	bool six = *root == '[';
	size_t len = colon ? (size_t)(colon - root) : 0;
	long port;

	if (!colon || parse_int(colon + 1, 1, 65535, &port) || (six ? len < 3 || root[len - 1] != ']' : memchr(root, ':', len) != NULL))
		return err_set(TUTTI_ERR_CONFIG, "TUTTI_ROOT: expected HOST:PORT or [IPV6]:PORT, got \"%.200s\"", root);
	s->port = (int)port;
	s->ports = 1;
	return set_host(s, "TUTTI_ROOT", root + six, len - 2 * six);
}

/* ---- keys --------------------------------------------------------------------------------------------------- */

static int read_secret_file(struct auth_key *key, const char *path)
{
	char text[SECRET_MAX + 1];
	FILE *f = fopen(path, "re");
	size_t n;

	if (!f)
		return err_set(TUTTI_ERR_CONFIG, "TUTTI_SECRET_FILE: cannot read \"%.200s\": %s", path, strerror(errno));
	n = fread(text, 1, sizeof text, f);
	fclose(f);
	if (n > SECRET_MAX)
		return err_set(TUTTI_ERR_CONFIG, "TUTTI_SECRET_FILE: expected at most %d bytes in \"%.200s\"", SECRET_MAX, path);
	while (n && (text[n - 1] == '\n' || text[n - 1] == '\r'))
		n--;
	text[n] = 0;
	return auth_key_from_text(key, text);
}

static int read_key(struct auth_key *key, const struct config *c)
{
	*key = (struct auth_key){ .none = true };
	if (*c->secret)
		return auth_key_from_text(key, c->secret);
	return *c->secret_file ? read_secret_file(key, c->secret_file) : TUTTI_OK;
}

/* Jobs that look for their rank 0 at neighbouring ports must not find another's: the key is of this job alone, also when there is none. */
static void bind_key(struct auth_key *key, const char *context)
{
	struct auth_key open = *key, made;

	open.none = false;
	auth_key_derive(&made, &open, context);
	made.none = key->none;
	*key = made;
}

/* ---- launchers ---------------------------------------------------------------------------------------------- */

static bool have_own(const struct config *c) { return c->rank >= 0 || c->size > 0; }

static int read_own(struct boot_spec *s, const struct config *c)
{
	if (c->size < 1)
		return err_set(TUTTI_ERR_CONFIG, "TUTTI_SIZE: expected the number of ranks, 1 or more, with TUTTI_RANK=%d; got %d", c->rank,
			c->size);
	if (c->rank < 0 || c->rank >= c->size)
		return err_set(TUTTI_ERR_CONFIG, "TUTTI_RANK: expected 0..%d with TUTTI_SIZE=%d, got %d", c->size - 1, c->size, c->rank);
	s->rank = c->rank;
	s->nranks = c->size;
	if (s->nranks > 1 && !*c->root)
		return err_set(TUTTI_ERR_CONFIG, "TUTTI_ROOT: expected HOST:PORT where rank 0 listens, with TUTTI_SIZE=%d; it is not set",
			c->size);
	return TUTTI_OK;
}

static bool have_torchrun(const struct config *c)
{
	(void)c;
	return getenv("RANK") && getenv("WORLD_SIZE");  /* RANK alone is set by many */
}

struct names { const char *size, *rank, *local_size, *local_rank; };   /* the last two may be NULL, or not set */

static int read_ranks(struct boot_spec *s, const struct names *n)
{
	int rc = env_int(n->size, 1, MOST_RANKS, &s->nranks);

	if (!rc)
		rc = env_int(n->rank, 0, s->nranks - 1, &s->rank);
	if (!rc && n->local_size && getenv(n->local_size))
		rc = env_int(n->local_size, 1, s->nranks, &s->local_size);
	if (!rc && n->local_rank && getenv(n->local_rank))
		rc = env_int(n->local_rank, 0, s->local_size ? s->local_size - 1 : s->nranks - 1, &s->local_rank);
	return rc;
}

/* MASTER_PORT is torch's own store: rank 0 takes the first free port after it. */
static int read_master(struct boot_spec *s)
{
	const char *addr = getenv("MASTER_ADDR"), *run = getenv("TORCHELASTIC_RUN_ID");
	char context[512];
	int port, rc = env_int("MASTER_PORT", 1, 65535, &port);

	if (rc)
		return rc;
	if (!addr)
		return err_set(TUTTI_ERR_CONFIG, "MASTER_ADDR: expected rank 0's host, with WORLD_SIZE=%d; it is not set", s->nranks);
	s->port = nth_port(port, 1);
	s->ports = STORE_PORTS;
	snprintf(context, sizeof context, "torchrun %d %d %.400s", port, s->nranks, run ? run : "");
	bind_key(&s->key, context);
	return set_host(s, "MASTER_ADDR", addr, strlen(addr));
}

static int read_torchrun(struct boot_spec *s, const struct config *c)
{
	static const struct names names = { "WORLD_SIZE", "RANK", "LOCAL_WORLD_SIZE", "LOCAL_RANK" };
	int rc = read_ranks(s, &names);

	return rc || s->nranks == 1 || *c->root ? rc : read_master(s);
}

/* In a batch script, and in whatever another launcher starts there, SLURM_PROCID is 0 for everybody: only a step's own variables count. */
static bool have_slurm(const struct config *c)
{
	(void)c;
	return getenv("SLURM_STEP_ID") && getenv("SLURM_STEP_NUM_TASKS") && getenv("SLURM_PROCID");
}

static int read_slurm_local(struct boot_spec *s)
{
	const char *tasks = getenv("SLURM_STEP_TASKS_PER_NODE");
	int node, rc = TUTTI_OK;

	if (getenv("SLURM_LOCALID"))
		rc = env_int("SLURM_LOCALID", 0, s->nranks - 1, &s->local_rank);
	if (rc || !tasks || !getenv("SLURM_NODEID"))
		return rc;
	rc = env_int("SLURM_NODEID", 0, MOST_RANKS, &node);
	return rc ? rc : slurm_tasks_on(tasks, node, &s->local_size);
}

static bool have_pmix(const struct config *c)
{
	(void)c;
	return getenv("PMIX_NAMESPACE") && getenv("PMIX_RANK");
}

static int read_pmix(struct boot_spec *s, const struct config *c)
{
	(void)c;
	return env_int("PMIX_RANK", 0, MOST_RANKS, &s->rank);
}

static int join_pmix(struct boot_spec *s, int64_t deadline)
{
	int said = s->rank, rc = pmix_open(s, deadline);

	return rc || s->rank == said ? rc : err_set(TUTTI_ERR_CONFIG, "PMIX_RANK: expected %d, as libpmix says, got %d", s->rank, said);
}

static bool have_pmi(const struct config *c)
{
	(void)c;
	return getenv("PMI_FD") && getenv("PMI_RANK") && getenv("PMI_SIZE");
}

static int read_pmi(struct boot_spec *s, const struct config *c)
{
	static const struct names names = { "PMI_SIZE", "PMI_RANK", "MPI_LOCALNRANKS", "MPI_LOCALRANKID" };
	int rc = read_ranks(s, &names);

	return rc || s->local_size || !have_slurm(c) ? rc : read_slurm_local(s);
}

static int share_pmi(unsigned char *bytes, size_t len, bool mine, int64_t deadline)
{
	int fd, rc = env_int("PMI_FD", 0, INT_MAX, &fd);

	return rc ? rc : pmi_share(fd, bytes, len, mine, deadline);
}

static bool have_openmpi(const struct config *c)
{
	(void)c;
	return getenv("OMPI_COMM_WORLD_RANK") && getenv("OMPI_COMM_WORLD_SIZE");
}

static int read_openmpi(struct boot_spec *s, const struct config *c)
{
	static const struct names names = { "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE",
	                                    "OMPI_COMM_WORLD_LOCAL_RANK" };
	int rc = read_ranks(s, &names);

	if (rc || s->nranks == 1 || *c->root)
		return rc;
	return err_set(TUTTI_ERR_CONFIG, "Open MPI's variables name no host: expected PMIx (libpmix.so.2), or TUTTI_ROOT=HOST:PORT where "
	               "rank 0 listens and TUTTI_SECRET, equally on all %d ranks", s->nranks);
}

/* Slurm tells hosts, and nothing that only the job's ranks know: the key is the user's, or all ranks are on one machine. */
static int read_step(struct boot_spec *s, const struct config *c)
{
	const char *job = getenv("SLURM_JOB_ID"), *step = getenv("SLURM_STEP_ID"), *nodes = getenv("SLURM_STEP_NODELIST");
	const char *count = getenv("SLURM_STEP_NUM_NODES");
	bool one = count && !strcmp(count, "1");
	char context[160];
	int rc = TUTTI_OK;

	if (!job || (!nodes && !one))
		return err_set(TUTTI_ERR_CONFIG, "%s: expected it with SLURM_STEP_NUM_TASKS=%d; it is not set",
			job ? "SLURM_STEP_NODELIST" : "SLURM_JOB_ID", s->nranks);
	if (one)
		snprintf(s->host, sizeof s->host, "127.0.0.1");
	else
		rc = slurm_first_host(nodes, s->host, sizeof s->host);
	if (!rc && s->key.none && strcmp(c->auth, "none") && strncmp(s->host, "127.", 4))
		return err_set(TUTTI_ERR_AUTH, "Slurm step %.40s.%.40s is on several machines and brings no key: set TUTTI_SECRET (or "
		               "TUTTI_SECRET_FILE) equally on all ranks, or use srun --mpi=pmi2, or TUTTI_AUTH=none to trust the network",
		               job, step);
	s->port = slurm_port(job, step);
	s->ports = STORE_PORTS;
	snprintf(context, sizeof context, "slurm %.60s %.60s %d", job, step, s->nranks);
	bind_key(&s->key, context);
	return rc;
}

static int read_slurm(struct boot_spec *s, const struct config *c)
{
	static const struct names names = { "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", NULL, NULL };
	int rc = read_ranks(s, &names);

	if (!rc)
		rc = read_slurm_local(s);
	return rc || s->nranks == 1 || *c->root ? rc : read_step(s, c);
}

static bool have_alone(const struct config *c) { (void)c; return true; }

static int read_alone(struct boot_spec *s, const struct config *c)
{
	(void)c;
	s->nranks = 1;
	return TUTTI_OK;
}

static const struct launcher {
	const char *source;
	bool (*have)(const struct config *);
	int (*read)(struct boot_spec *, const struct config *);         /* its variables */
	int (*join)(struct boot_spec *, int64_t deadline);              /* what it tells when asked; TUTTI_ERR_UNSUPPORTED: it gives way */
	int (*share)(unsigned char *bytes, size_t len, bool mine, int64_t deadline);    /* what it carries from rank 0 to all */
} launchers[] = {
	{ "TUTTI_RANK", have_own, read_own, NULL, NULL },
	{ "torchrun", have_torchrun, read_torchrun, NULL, NULL },
	{ "PMIx", have_pmix, read_pmix, join_pmix, pmix_share },
	{ "PMI-1", have_pmi, read_pmi, NULL, share_pmi },
	{ "Open MPI", have_openmpi, read_openmpi, NULL, NULL },
	{ "Slurm", have_slurm, read_slurm, NULL, NULL },
	{ "alone", have_alone, read_alone, NULL, NULL },
};

/* ---- from the launcher to the meeting ----------------------------------------------------------------------- */

/* Rank 0 makes a unique id, the launcher carries it. When it cannot, zeros tell the others. A secret that is given is needed still. */
static int exchange(struct boot_spec *s, const struct launcher *l, int64_t deadline)
{
	static const struct tutti_unique_id nothing;
	struct tutti_unique_id id = nothing;
	struct boot_spec met;
	char said[ERR_TEXT], context[2 * AUTH_KEY_BYTES + 1];
	int made = s->rank ? TUTTI_OK : boot_make_id(&id), rc;

	snprintf(said, sizeof said, "%s", err_last());
	if (made)
		id = nothing;
	rc = l->share(id.bytes, sizeof id.bytes, s->rank == 0, deadline);
	if (made)
		return err_set(made, "%s", said);
	if (!rc && !memcmp(&id, &nothing, sizeof id))
		rc = err_set(TUTTI_ERR_PEER, "%s: rank 0 could not listen, and has said why", l->source);
	if (rc && s->rank)
		return rc;
	snprintf(said, sizeof said, "%s", err_last());
	made = boot_from_id(&met, &id, s->nranks, s->rank);
	if (rc && !made)
		close(met.listen_fd);
	if (rc || made)
		return rc ? err_set(rc, "%s", said) : made;
	sodium_bin2hex(context, sizeof context, met.key.bytes, sizeof met.key.bytes);
	if (!s->key.none)
		bind_key(&s->key, context);
	else
		s->key = met.key;
	memcpy(s->host, met.host, sizeof s->host);
	s->port = met.port;
	s->ports = met.ports;
	s->listen_fd = met.listen_fd;
	return TUTTI_OK;
}

static const struct launcher *first(const struct launcher *l, const struct config *c)
{
	while (!l->have(c))
		l++;
	return l;
}

const char *boot_env_source(void)
{
	const struct config *c = config_get();

	return c ? first(launchers, c)->source : NULL;
}

/* The launcher gives way: to the next one that is there, and says the same rank. *l: whose answer it is. */
static int give_way(struct boot_spec *s, const struct launcher **l, const struct config *c)
{
	int said = s->rank, rc;
	char why[ERR_TEXT];

	snprintf(why, sizeof why, "%s", err_last());
	*l = first(*l + 1, c);
	if ((*l)->read == read_alone)
		return err_set(TUTTI_ERR_UNSUPPORTED, "%s", why);
	rc = (*l)->read(s, c);
	if (rc)
		return err_set(rc, "%.250s (%.200s)", err_last(), why);
	if (s->rank != said)
		return err_set(TUTTI_ERR_CONFIG, "%.300s; and %s says rank %d, not %d", why, (*l)->source, s->rank, said);
	log_msg(LOG_INFO, "%s: the ranks are from %s instead", why, (*l)->source);
	return TUTTI_OK;
}

int boot_from_env(struct boot_spec *spec, int64_t deadline)
{
	const struct config *c = config_get();
	struct boot_spec s = { .local_rank = -1, .listen_fd = -1 };
	const struct launcher *l;
	int rc = c ? auth_init() : TUTTI_ERR_CONFIG;

	if (!rc)
		rc = read_key(&s.key, c);
	if (rc)
		return rc;
	l = first(launchers, c);
	rc = l->read(&s, c);
	if (!rc && l->join)
		rc = l->join(&s, deadline);
	if (rc == TUTTI_ERR_UNSUPPORTED)
		rc = give_way(&s, &l, c);
	s.source = l->source;
	if (!rc && s.nranks > 1 && *c->root)
		rc = read_root(&s, c->root);
	else if (!rc && s.nranks > 1 && l->share)
		rc = exchange(&s, l, deadline);
	if (rc)
		return rc;
	s.serves = s.rank == 0;
	*spec = s;
	return TUTTI_OK;
}
