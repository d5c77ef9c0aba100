/* SPDX-License-Identifier: Apache-2.0 */
/* The file for TUTTI_FABRIC. It is read back as a job would read it before it gets its name. */
#define _GNU_SOURCE
#include <base/err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <tools/tune_fabric.h>
#include <unistd.h>

enum { SHOWN = 16 };    /* as many machines' times are a table that can be read */

static const char *name_of(const struct fabric_map *m, int machine) { return m->records[m->rank[machine]].host; }

/* ---- before ---------------------------------------------------------------------------------------------------------------------- */

/* A file beside `path`, which will be renamed. */
static int open_new(const char *path, char new[PATH_MAX])
{
	int fd = -1;
	if (snprintf(new, PATH_MAX, "%s.XXXXXX", path) < PATH_MAX)
		fd = mkostemp(new, O_CLOEXEC);
	else
		errno = ENAMETOOLONG;
	return fd < 0 ? err_sys("--fabric: cannot write %.200s", path) : fd;
}

static int check_path(const char *path)
{
	char new[PATH_MAX];
	struct stat s;
	if (!*path || (!stat(path, &s) && !S_ISREG(s.st_mode)))
		return err_set(TUTTI_ERR_INVALID, "--fabric: expected the name of a file, got \"%.200s\"%s", path, *path ? ", which is none" : "");
	int fd = open_new(path, new);
	if (fd < 0)
		return fd;
	close(fd);
	unlink(new);
	return TUTTI_OK;
}

int fabric_check(const struct fabric_map *m, const struct tune_options *o)
{
	for (int i = 0; i < m->n; i++) {
		const char *name = name_of(m, i);
		if (!*name || name[strcspn(name, " \t\r\n#/")])
			return err_set(TUTTI_ERR_INVALID, "--fabric: expected a host's name without blanks, # and /, got \"%s\" from rank %d: "
			               "TUTTI_NODE can give it another", name, m->rank[i]);
		for (int k = 0; k < i; k++)
			if (!strcmp(name, name_of(m, k)))
				return err_set(TUTTI_ERR_INVALID, "--fabric: expected machines with names of their own, got \"%s\" from ranks %d and %d: "
				               "TUTTI_NODE can give them others", name, m->rank[k], m->rank[i]);
	}
	return o->dry_run ? TUTTI_OK : check_path(o->fabric);
}

/* ---- text ------------------------------------------------------------------------------------------------------------------------ */

static void print_times(FILE *f, const struct fabric_map *m)
{
	fprintf(f, "# %d machines, each pair alone, the shortest of several times, in us.\n", m->n);
	if (m->n > SHOWN)
		return;
	fprintf(f, "# Above the diagonal: %d bytes, one way; below: 1 MiB both ways at once.\n#\n#   %-15s", FABRIC_SMALL, "");
	for (int b = 0; b < m->n; b++)
		fprintf(f, " %11.11s", name_of(m, b));
	for (int a = 0; a < m->n; a++) {
		fprintf(f, "\n#   %-15.15s", name_of(m, a));
		for (int b = 0; b < m->n; b++)
			if (a == b)
				fprintf(f, " %11s", "-");
			else
				fprintf(f, " %11.1f", 1e6 * (a < b ? m->times[a * m->n + b].small : m->times[a * m->n + b].large));
	}
	fprintf(f, "\n#\n");
}

/* From the shortest to the longest time of 1 MiB, of pairs of one group or of two. */
static void print_range(FILE *f, const struct fabric_map *m, bool inside)
{
	double least = INFINITY, most = 0;
	for (int a = 0; a < m->n; a++)
		for (int b = 0; b < a; b++)
			if ((m->group[a] == m->group[b]) == inside) {
				least = fmin(least, m->times[a * m->n + b].large);
				most = fmax(most, m->times[a * m->n + b].large);
			}
	fprintf(f, "# 1 MiB both ways between machines of %s: %.1f ... %.1f us, %.1f MB/s each way at best\n",
	        inside ? "one group" : "two groups", 1e6 * least, 1e6 * most, 1e-6 * FABRIC_LARGE / least);
}

/* What the way out of a group carries: as much as the best of its pairs got. Bytes a second. */
static double rate_of(const struct fabric_map *m, int group)
{
	double least = INFINITY;
	for (int a = 0; a < m->n; a++)
		for (int b = 0; b < m->n; b++)
			if (m->group[a] == group && m->group[b] != group)
				least = fmin(least, m->times[a * m->n + b].large);
	return FABRIC_LARGE / least;
}

/* A switch must not be called like a host. */
static void choose_prefix(const struct fabric_map *m, char prefix[16])
{
	strcpy(prefix, "group");
	for (int i = 0; i < m->n && strlen(prefix) < 15; i++)
		if (!strncmp(name_of(m, i), prefix, strlen(prefix))) {
			strcat(prefix, "_");
			i = -1;
		}
}

static void print_groups(FILE *f, const struct fabric_map *m)
{
	char prefix[16];
	choose_prefix(m, prefix);
	for (int g = 0; g < m->groups; g++) {
		double kbits = 8e-3 * rate_of(m, g);
		fprintf(f, "switch %s%d@%.0f%s:", prefix, g + 1, kbits < 1e5 ? kbits : kbits / 1000, kbits < 1e5 ? "kb" : "Mb");
		for (int i = 0; i < m->n; i++)
			if (m->group[i] == g)
				fprintf(f, " %s", name_of(m, i));
		fprintf(f, "\n");
	}
}

static void print_file(FILE *f, const struct fabric_map *m)
{
	fprintf(f, "# Written by tutti tune --fabric, for TUTTI_FABRIC: a switch for machines that are near each other.\n#\n");
	print_times(f, m);
	print_range(f, m, true);
	print_range(f, m, false);
	fprintf(f, "#\n# Behind the @ stands what one pair got on the way out of a group: say more where it carries more for several at once.\n");
	print_groups(f, m);
}

/* ---- the file -------------------------------------------------------------------------------------------------------------------- */

/* As others' files are: mkostemp's are for this user alone. */
static int write_text(int fd, const char *text, size_t bytes)
{
	FILE *f = fdopen(fd, "w");
	mode_t mask = umask(0);
	umask(mask);
	if (!f) {
		close(fd);
		return -1;
	}
	int bad = fchmod(fd, 0666 & ~mask) || fwrite(text, 1, bytes, f) != bytes || fflush(f) || fsync(fd);
	return fclose(f) || bad ? -1 : 0;
}

/* Would a job see these groups? Machines' names may be alike in more ways than were looked at. */
static int read_back(const struct fabric_map *m, const char *file)
{
	struct topo *t;
	int status = topo_from_records(&t, m->records, m->nranks, file);
	if (status)
		return status;
	for (int a = 0; a < m->n && !status; a++)
		for (int b = 0; b < a && !status; b++) {
			bool one = t->place[t->node[m->rank[a]]].parent == t->place[t->node[m->rank[b]]].parent;
			if (one != (m->group[a] == m->group[b]))
				status = err_set(TUTTI_ERR_INTERNAL, "--fabric: expected %s and %s below %s, the file says otherwise",
				                 name_of(m, a), name_of(m, b), one ? "two switches" : "one switch");
		}
	topo_free(t);
	return status;
}

static int save(const struct fabric_map *m, const char *path, const char *text, size_t bytes)
{
	char new[PATH_MAX];
	int fd = open_new(path, new);
	if (fd < 0)
		return fd;
	int status = write_text(fd, text, bytes) ? err_sys("--fabric: cannot write %.200s", path) : read_back(m, new);
	if (!status && rename(new, path))
		status = err_sys("--fabric: cannot write %.200s", path);
	if (status)
		unlink(new);
	return status;
}

static int write_groups(const struct fabric_map *m, const struct tune_options *o)
{
	char *text = NULL;
	size_t bytes = 0;
	FILE *f = open_memstream(&text, &bytes);
	if (f)
		print_file(f, m);
	if (!f || fclose(f))
		return err_set(TUTTI_ERR_NOMEM, "no memory for a file of %d machines", m->n);
	fputs(text, stdout);
	int status = o->dry_run ? TUTTI_OK : save(m, o->fabric, text, bytes);
	free(text);
	if (!status && o->dry_run)
		printf("#\n# %s is not written: --dry-run\n", o->fabric);
	else if (!status)
		printf("#\n# %s is written. Jobs use it with TUTTI_FABRIC=%s; every machine must be able to read it. Tune them then\n", o->fabric,
		       o->fabric);
	return status;
}

int fabric_write(const struct fabric_map *m, const struct tune_options *o)
{
	if (m->groups > 1)
		return write_groups(m, o);
	print_times(stdout, m);
	printf("# No clear gap between near and far (a factor of %d)%s: no groups; %s is not written\n", FABRIC_FACTOR,
	       m->n == 2 ? ", two machines have but one distance" : "", o->fabric);
	return TUTTI_OK;
}
