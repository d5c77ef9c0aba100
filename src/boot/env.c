/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who am I, says the environment? One row a launcher, the first that is there wins: our own variables, torchrun's names, nobody's.
 * TUTTI_ROOT, TUTTI_SECRET and TUTTI_SECRET_FILE add to any row.
 */
#include <base/config.h>
#include <boot/inner.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PORTS = 16, SECRET_MAX = 4096 };

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
	s->ports = PORTS;
	snprintf(context, sizeof context, "torchrun %d %d %.400s", port, s->nranks, run ? run : "");
	bind_key(&s->key, context);
	return set_host(s, "MASTER_ADDR", addr, strlen(addr));
}

static int read_torchrun(struct boot_spec *s, const struct config *c)
{
	int rc = env_int("WORLD_SIZE", 1, MOST_RANKS, &s->nranks);

	if (!rc)
		rc = env_int("RANK", 0, s->nranks - 1, &s->rank);
	if (!rc && getenv("LOCAL_WORLD_SIZE"))
		rc = env_int("LOCAL_WORLD_SIZE", 1, s->nranks, &s->local_size);
	if (!rc && getenv("LOCAL_RANK"))
		rc = env_int("LOCAL_RANK", 0, s->local_size ? s->local_size - 1 : s->nranks - 1, &s->local_rank);
	return rc || s->nranks == 1 || *c->root ? rc : read_master(s);
}

static bool have_alone(const struct config *c) { (void)c; return true; }

static int read_alone(struct boot_spec *s, const struct config *c)
{
	(void)c;
	s->nranks = 1;
	return TUTTI_OK;
}

static const struct {
	const char *source;
	bool (*have)(const struct config *);
	int (*read)(struct boot_spec *, const struct config *);
} launchers[] = {
	{ "TUTTI_RANK", have_own, read_own },
	{ "torchrun", have_torchrun, read_torchrun },
	{ "alone", have_alone, read_alone },
};

int boot_from_env(struct boot_spec *spec)
{
	const struct config *c = config_get();
	struct boot_spec s = { .local_rank = -1, .listen_fd = -1 };
	int i = 0, rc = c ? auth_init() : TUTTI_ERR_CONFIG;

	if (!rc)
		rc = read_key(&s.key, c);
	if (rc)
		return rc;
	while (!launchers[i].have(c))
		i++;
	s.source = launchers[i].source;
	rc = launchers[i].read(&s, c);
	if (!rc && s.nranks > 1 && *c->root)
		rc = read_root(&s, c->root);
	if (rc)
		return rc;
	s.serves = s.rank == 0;
	*spec = s;
	return TUTTI_OK;
}
