/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table row a variable, made from CONFIG_ROWS. The process's configuration is parsed once and never changes or is freed; its strings
 * are the environment's or literals. Everything else works on the caller's struct.
 */
#include <base/config.h>
#include <base/err.h>
#include <base/log.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "TUTTI_"

enum kind { KIND_TIME, KIND_SIZE, KIND_INT, KIND_WORD, KIND_STR };

struct row {
	const char *name, *dflt, *help;
	size_t offset;
	int affects_plan;
	enum kind kind;
	long min, max;
	const char *words;
};

#define ROW_TIME .kind = KIND_TIME
#define ROW_SIZE .kind = KIND_SIZE
#define ROW_STR  .kind = KIND_STR
#define ROW_INT(lo, hi) .kind = KIND_INT, .min = lo, .max = hi
#define ROW_WORD(list)  .kind = KIND_WORD, .words = list

static const struct row rows[] = {
#define X(field, NAME, type, dfl, plan, text) \
	{ .name = PREFIX #NAME, .dflt = dfl, .help = text, .offset = offsetof(struct config, field), .affects_plan = plan, ROW_##type },
	CONFIG_ROWS(X)
#undef X
};
enum { ROWS = sizeof rows / sizeof *rows };

extern char **environ;

static const char *row_text(const struct row *r)
{
	const char *text = getenv(r->name);

	return text && *text ? text : r->dflt;
}

/* "a|b|c" contains text as one of its words. */
static int word_in(const char *words, const char *text)
{
	size_t len = strlen(text), n;

	for (;; words += n + 1) {
		n = strcspn(words, "|");
		if (n == len && !memcmp(words, text, n))
			return 1;
		if (!words[n])
			return 0;
	}
}

/* The parsers: store at p and return 0, or say in `expected` what would have been right. */
static int parse_row(const struct row *r, const char *text, void *p, char *expected, size_t cap)
{
	long v;

	switch (r->kind) {
	case KIND_TIME:
		snprintf(expected, cap, "a time (500ms, 30s, 5min)");
		return parse_time_ms(text, p);
	case KIND_SIZE:
		snprintf(expected, cap, "a size in bytes (65536, 64k, 1M)");
		return parse_size(text, p);
	case KIND_INT:
		snprintf(expected, cap, "an integer %ld..%ld", r->min, r->max);
		if (parse_int(text, r->min, r->max, &v))
			return TUTTI_ERR_INVALID;
		*(int *)p = (int)v;
		return TUTTI_OK;
	case KIND_WORD:
		snprintf(expected, cap, "one of %s", r->words + (*r->words == '|'));
		if (!word_in(r->words, text))
			return TUTTI_ERR_INVALID;
		/* fall through */
	case KIND_STR:
		*(const char **)p = text;
	}
	return TUTTI_OK;
}

int config_parse(struct config *c)
{
	char expected[128];

	memset(c, 0, sizeof *c);
	for (const struct row *r = rows; r < rows + ROWS; r++)
		if (parse_row(r, row_text(r), (char *)c + r->offset, expected, sizeof expected))
			return err_set(TUTTI_ERR_CONFIG, "%s: expected %s, got \"%s\"", r->name, expected, row_text(r));
	return TUTTI_OK;
}

static void warn_name(const char *name)
{
	const struct row *nearest = rows;
	int best = PARSE_WORD_MAX;

	for (const struct row *r = rows; r < rows + ROWS; r++) {
		int d = parse_distance(name, r->name);
		if (!d)
			return;
		if (d < best) {
			best = d;
			nearest = r;
		}
	}
	log_msg(LOG_WARN, "%s is no variable of tutti; did you mean %s?", name, nearest->name);
}

static void warn_unknown(void)
{
	char name[PARSE_WORD_MAX + 1];

	for (char **e = environ; e && *e; e++) {
		size_t len = strcspn(*e, "=");

		if (strncmp(*e, PREFIX, strlen(PREFIX)))
			continue;
		snprintf(name, sizeof name, "%.*s", (int)len, *e);
		warn_name(name);
	}
}

static struct config global;
static int global_status;
static char global_error[ERR_TEXT];
static pthread_once_t global_once = PTHREAD_ONCE_INIT;

static void global_init(void)
{
	static const char *const level[] = { "error", "warn", "info", "debug" };

	global_status = config_parse(&global);
	if (global_status) {
		snprintf(global_error, sizeof global_error, "%s", err_last());
		return;
	}
	for (int i = 0; i < 4; i++)
		if (!strcmp(global.log, level[i]))
			log_limit((enum log_level)i);
	warn_unknown();
}

const struct config *config_get(void)
{
	pthread_once(&global_once, global_init);
	if (!global_status)
		return &global;
	err_set(global_status, "%s", global_error);
	return NULL;
}

/* An absolute path, as the XDG base directory specification wants: others are ignored. */
static const char *folder(const char *name)
{
	const char *path = getenv(name);

	return path && *path == '/' ? path : NULL;
}

bool config_cache(const struct config *c, char *path, size_t cap)
{
	const char *xdg = folder("XDG_CACHE_HOME"), *home = folder("HOME");
	int n = 0;

	*path = 0;
	if (!strcmp(c->cache, "none"))
		return false;
	if (*c->cache)
		n = snprintf(path, cap, "%s", c->cache);
	else if (xdg || home)
		n = snprintf(path, cap, "%s/%stutti", xdg ? xdg : home, xdg ? "" : ".cache/");
	if (n <= 0 || (size_t)n >= cap)
		*path = 0;
	return *path;
}

/* FNV-1a, 64 bits */
static uint64_t hash(uint64_t h, const void *data, size_t len)
{
	for (const unsigned char *p = data; len--; p++)
		h = (h ^ *p) * 0x100000001b3u;
	return h;
}

uint64_t config_digest(const struct config *c)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (const struct row *r = rows; r < rows + ROWS; r++) {
		const void *p = (const char *)c + r->offset;
		char value[32] = "";
		const char *text = value;

		if (!r->affects_plan)
			continue;
		switch (r->kind) {
		case KIND_TIME: snprintf(value, sizeof value, "%lld", (long long)*(const int64_t *)p); break;
		case KIND_SIZE: snprintf(value, sizeof value, "%zu", *(const size_t *)p); break;
		case KIND_INT:  snprintf(value, sizeof value, "%d", *(const int *)p); break;
		case KIND_WORD: case KIND_STR: text = *(const char *const *)p; break;
		}
		h = hash(h, r->name, strlen(r->name) + 1);
		h = hash(h, text, strlen(text) + 1);
	}
	return h;
}

int config_line(int i, struct config_line *line)
{
	const struct row *r;
	const char *text;

	if (i < 0 || i >= ROWS)
		return 0;
	r = rows + i;
	text = row_text(r);
	line->name = r->name;
	line->dflt = r->dflt;
	line->help = r->help;
	line->affects_plan = r->affects_plan;
	line->from = text == r->dflt ? "default" : "environment";
	if (r->offset == offsetof(struct config, secret) && *text)
		text = "(set)";
	snprintf(line->value, sizeof line->value, "%s", text);
	return 1;
}
