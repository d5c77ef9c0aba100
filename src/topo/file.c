/* SPDX-License-Identifier: Apache-2.0 */
/* Topologies by name: text, a file of text, or hwloc's XML. */
#include <base/err.h>
#include <stdlib.h>
#include <string.h>
#include <topo/inner.h>

enum { FILE_MAX = 64 << 20 };

int read_text(const char *path, char **text)
{
	FILE *f = fopen(path, "re");
	size_t n = 0, cap = 4096, got;
	char *buf = NULL, *more;

	if (!f)
		return err_sys("cannot read %.200s", path);
	do {
		cap *= 2;
		if (!(more = realloc(buf, cap))) {
			free(buf);
			fclose(f);
			return err_set(TUTTI_ERR_NOMEM, "no memory to read %.200s", path);
		}
		buf = more;
		n += got = fread(buf + n, 1, cap - n - 1, f);
	} while (got && n < FILE_MAX);
	buf[n] = 0;
	if (ferror(f) || strlen(buf) != n || n >= FILE_MAX) {
		int status = ferror(f) ? err_sys("cannot read %.200s", path) :
					 err_set(TUTTI_ERR_CONFIG, "%.200s: expected text of at most %d bytes", path, FILE_MAX);

		fclose(f);
		free(buf);
		return status;
	}
	fclose(f);
	*text = buf;
	return TUTTI_OK;
}

static bool ends_in(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n > m && !strcmp(text + n - m, end);
}

/* The file that source names; NULL: it is a text itself. */
static const char *file_of(const char *source)
{
	if (*source == '@')
		return source + 1;
	return strchr(source, '/') || ends_in(source, ".xml") || ends_in(source, ".topo") ? source : NULL;
}

/* The last part of its name, without the ending, stands for the machine's. */
static int open_xml(struct topo **t, const char *path, int nranks)
{
	struct source from = { .xml = path };
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	char host[TOPO_NAME];

	snprintf(host, sizeof host, "%.*s", (int)strcspn(name, "."), name);
	return machine_tree(t, &from, host, nranks);
}

static int open_file(struct topo **t, const char *path, int nranks)
{
	char *text = NULL;
	int status = read_text(path, &text);

	if (!status)
		status = text[strspn(text, " \t\r\n")] == '<' ? open_xml(t, path, nranks) : parse_text(t, text, path);
	free(text);
	return status;
}

int topo_open(struct topo **t, const char *source, int nranks)
{
	const char *path = file_of(source);
	struct topo *got = NULL;
	int status = path ? open_file(&got, path, nranks) : topo_parse(&got, source);

	if (!status && nranks && got->nranks != nranks) {
		status = err_set(TUTTI_ERR_CONFIG, "topology %.200s: expected %d ranks, got %d", source, nranks, got->nranks);
		topo_free(got);
	}
	if (!status)
		*t = got;
	return status;
}
