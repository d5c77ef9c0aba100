/* SPDX-License-Identifier: Apache-2.0 */
/* Nothing is kept between calls; any thread. */
#define _GNU_SOURCE
#include <base/err.h>
#include <base/log.h>
#include <base/type.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <plan/cache.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CACHE_FORMAT = 1, FILE_MAX = 1 << 20, HEAD_MAX = 128 };

static const struct kind { const char *ending, *what; } kinds[] = {
	[CACHE_COSTS] = { "costs", "what things cost" },
	[CACHE_PLANS] = { "plans", "what was measured as best" },
};

static const char tail[] = "# end\n";

/* ---- the key ----------------------------------------------------------------------------------------------------------- */

/* FNV-1a, 64 bits */
static uint64_t hash(uint64_t h, const void *data, size_t len)
{
	for (const unsigned char *p = data; len--; p++)
		h = (h ^ *p) * 0x100000001b3u;
	return h;
}

static uint64_t hash_text(uint64_t h, const char *text) { return hash(h, text, strlen(text) + 1); }

/* "model name : ..." of the first processor; "" where the system does not tell. */
static void processor(char *name, size_t cap)
{
	char line[256];
	FILE *f = fopen("/proc/cpuinfo", "re");
	*name = 0;
	while (f && !*name && fgets(line, sizeof line, f))
		if (!strncmp(line, "model name", 10))
			snprintf(name, cap, "%s", line);
	if (f)
		fclose(f);
}

/* A host's or a switch's name says nothing about speed, and another host of the same kind is as good; a device's name says what it is. */
static uint64_t hash_place(uint64_t h, const struct topo_place *p)
{
	const int32_t where[] = { p->kind, p->parent, p->end };
	const double edge[] = { p->latency, p->bandwidth };
	h = hash(hash(h, where, sizeof where), edge, sizeof edge);
	return p->kind == TOPO_NIC || p->kind == TOPO_GPU ? hash_text(h, p->name) : h;
}

uint64_t cache_key(const struct topo *topo, const char *const transport[NEARS])
{
	const int version[] = { CACHE_FORMAT, TUTTI_VERSION_MAJOR, TUTTI_VERSION_MINOR, TUTTI_VERSION_PATCH };
	char cpu[256];
	processor(cpu, sizeof cpu);
	uint64_t h = hash(0xcbf29ce484222325u, version, sizeof version);
	h = hash_text(hash_text(h, cpu), reduce_isa());
	for (int i = 0; i < NEARS; i++)
		h = hash_text(h, transport[i] ? transport[i] : "");
	for (int i = 0; i < topo->nplaces; i++)
		h = hash_place(h, &topo->place[i]);
	return hash(h, topo->rank, (size_t)topo->nranks * sizeof *topo->rank);
}

void cache_path(char *path, size_t cap, const char *folder, uint64_t key, enum cache_kind kind)
{
	snprintf(path, cap, "%s/%016llx.%s", folder, (unsigned long long)key, kinds[kind].ending);
}

/* The first line: a file that begins otherwise is not ours. */
static void head_of(char head[HEAD_MAX], uint64_t key, enum cache_kind kind)
{
	snprintf(head, HEAD_MAX, "# tutti %d.%d.%d %s %d %016llx: %s\n", TUTTI_VERSION_MAJOR, TUTTI_VERSION_MINOR, TUTTI_VERSION_PATCH,
	         kinds[kind].ending, CACHE_FORMAT, (unsigned long long)key, kinds[kind].what);
}

/* ---- reading ----------------------------------------------------------------------------------------------------------- */

/* How long the first line is, at most `most`. */
static int line_of(const char *text, int most)
{
	size_t n = strcspn(text, "\n");
	return n < (size_t)most ? (int)n : most;
}

/* Text of at most FILE_MAX bytes, the caller's to free; NULL with a sentence. */
static char *read_text(int fd, size_t bytes)
{
	char *text = malloc(bytes + 1);
	size_t n = 0;
	ssize_t got = 1;
	for (; text && n < bytes && got > 0; n += got > 0 ? (size_t)got : 0)
		got = read(fd, text + n, bytes - n);
	if (text && (got < 0 || n < bytes))
		err_set(TUTTI_ERR_SYSTEM, "expected %zu bytes, could read %zu", bytes, n);
	else if (text && memchr(text, 0, n))
		err_set(TUTTI_ERR_CONFIG, "expected text, got a zero byte");
	else if (text) {
		text[n] = 0;
		return text;
	} else
		err_set(TUTTI_ERR_NOMEM, "no memory for %zu bytes", bytes);
	free(text);
	return NULL;
}

static int trusted(int fd, size_t *bytes)
{
	struct stat s;
	if (fstat(fd, &s))
		return err_sys("cannot look at it");
	if (!S_ISREG(s.st_mode))
		return err_set(TUTTI_ERR_CONFIG, "expected a file");
	if (s.st_uid != geteuid() && s.st_uid != 0)
		return err_set(TUTTI_ERR_CONFIG, "expected a file of this user or of root, got one of user %u", (unsigned)s.st_uid);
	if (s.st_mode & (S_IWGRP | S_IWOTH))
		return err_set(TUTTI_ERR_CONFIG, "expected a file that only its owner may write, got mode %03o",
		               (unsigned)s.st_mode & 0777);
	if (s.st_size > FILE_MAX)
		return err_set(TUTTI_ERR_CONFIG, "expected at most %d bytes, got %lld", FILE_MAX, (long long)s.st_size);
	*bytes = (size_t)s.st_size;
	return TUTTI_OK;
}

static int parse(const char *text, enum cache_kind kind, uint64_t key, void *out)
{
	char head[HEAD_MAX];
	head_of(head, key, kind);
	if (strncmp(text, head, strlen(head)))
		return err_set(TUTTI_ERR_CONFIG, "expected the first line \"%.*s\", got \"%.*s\"", (int)strlen(head) - 1, head,
		               line_of(text, 80), text);
	size_t n = strlen(text), end = strlen(tail);
	if (n < end || strcmp(text + n - end, tail))
		return err_set(TUTTI_ERR_CONFIG, "expected \"# end\" as the last line: it is not whole");
	if (kind == CACHE_COSTS)
		return costs_parse(out, text);
	int status = plan_table_parse(out, text);
	return status ? status : plan_table_check(out);
}

/* out is written to in any case: the callers' own. */
static bool load(const char *folder, uint64_t key, enum cache_kind kind, void *out)
{
	char path[PATH_MAX], *text;
	size_t bytes = 0;
	cache_path(path, sizeof path, folder, key, kind);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);         /* does not wait for the writer of a pipe */
	if (fd < 0) {
		if (errno != ENOENT && errno != ENOTDIR)
			log_msg(LOG_WARN, "%s is left alone: cannot open it: %s", path, strerror(errno));
		return false;
	}
	int status = trusted(fd, &bytes);
	text = status ? NULL : read_text(fd, bytes);
	if (!status)
		status = text ? parse(text, kind, key, out) : TUTTI_ERR_CONFIG;
	if (status)
		log_msg(LOG_WARN, "%s is left alone: %s", path, err_last());
	free(text);
	close(fd);
	return !status;
}

bool cache_load_costs(const char *folder, uint64_t key, struct costs *out)
{
	struct costs c;
	bool good = load(folder, key, CACHE_COSTS, &c);
	if (good)
		*out = c;
	return good;
}

bool cache_load_table(const char *folder, uint64_t key, struct plan_table *out)
{
	struct plan_table t;
	bool good = load(folder, key, CACHE_PLANS, &t);
	if (good)
		*out = t;
	return good;
}

/* ---- writing ----------------------------------------------------------------------------------------------------------- */

/* All folders of path that are missing, for this user alone. */
static int make_folder(const char *folder)
{
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s/", folder);
	for (char *p = path + 1; (p = strchr(p, '/')); p++) {
		*p = 0;
		if (mkdir(path, 0700) && errno != EEXIST)
			return err_sys("cannot make the folder %s", path);
		*p = '/';
	}
	return TUTTI_OK;
}

static int write_all(int fd, enum cache_kind kind, uint64_t key, const char *about, const void *what)
{
	char head[HEAD_MAX];
	FILE *f = fdopen(fd, "w");
	if (!f) {
		close(fd);
		return -1;
	}
	head_of(head, key, kind);
	fprintf(f, "%s# %s\n# Written by tutti, read when a job of the same kind starts; remove it to forget.\n", head, about);
	if (kind == CACHE_COSTS)
		costs_print(f, what);
	else
		plan_table_print(f, what);
	fputs(tail, f);
	int bad = fflush(f) || ferror(f) || fsync(fileno(f));
	return fclose(f) || bad ? -1 : 0;
}

static int save(const char *folder, uint64_t key, enum cache_kind kind, const char *about, const void *what)
{
	char path[PATH_MAX], new[PATH_MAX + 8], line[256];
	int status = make_folder(folder);
	if (status)
		return status;
	snprintf(line, sizeof line, "%.*s", line_of(about, 250), about);
	cache_path(path, sizeof path, folder, key, kind);
	snprintf(new, sizeof new, "%s.XXXXXX", path);
	int fd = mkostemp(new, O_CLOEXEC);              /* mode 0600 */
	if (fd < 0)
		return err_sys("cannot write %s", new);
	if (write_all(fd, kind, key, line, what) || rename(new, path)) {
		status = err_sys("cannot write %s", path);
		unlink(new);
	}
	return status;
}

int cache_save_costs(const char *folder, uint64_t key, const char *about, const struct costs *c)
{
	return save(folder, key, CACHE_COSTS, about, c);
}

int cache_save_table(const char *folder, uint64_t key, const char *about, const struct plan_table *t)
{
	return save(folder, key, CACHE_PLANS, about, t);
}
