/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What things cost: figures for who has measured none, and the text that keeps measured ones.
 *
 *      network.latency = 15.000000 us             times; ns, us, ms or s
 *      network.byte_core = 0.250000 ns/byte       bytes' times; ns/byte or us/byte
 *      network.eager = 65536 bytes
 *
 * Numbers are printed and read without the locale's help: a file goes from machine to machine.
 */
#include <base/config.h>
#include <base/err.h>
#include <limits.h>
#include <model/model.h>
#include <string.h>

void costs_default(struct costs *c)
{
	*c = (struct costs){
		.pair = {
			/* two ranks take turns on a core: a switch of context each way; no line leaves the cache */
			[NEAR_CORE] = { 2e-6, 0.1e-6, 0.05e-9, 0, 8192 },
			/* a cache line between cores of one cache: 45 to 100 ns, and a flag and a payload are two; 16 GB/s a core */
			[NEAR_NUMA] = { 0.15e-6, 0.05e-6, 0.06e-9, 0, 8192 },
			/* between the caches of one package: 100 to 200 ns a line; 12 GB/s a core */
			[NEAR_PACKAGE] = { 0.2e-6, 0.05e-6, 0.08e-9, 0, 8192 },
			/* between packages: 130 to 300 ns a line; 10 GB/s a core */
			[NEAR_NODE] = { 0.3e-6, 0.05e-6, 0.1e-9, 0, 8192 },
			/*
			 * TCP in a data centre: 15 us one way with a sleepless receiver, 3 us of system calls at each end, 4 GB/s a core
			 * for copying, checksums and the driver; a socket's buffers take some 64 KiB before the receiver reads
			 */
			[NEAR_NETWORK] = { 15e-6, 3e-6, 0.25e-9, 0, 65536 },
		},
		/* AVX2 or wider: 40 GB/s an operand from the second cache, 10 GB/s from memory, what one core gets */
		.copy = { 0.025e-9, 0.1e-9 },
		.reduce = { 0.025e-9, 0.1e-9 },
		.link = 0.8e-9,                 /* 10 Gbit/s */
		.memory = 0.01e-9,              /* eight channels of DDR4, or four of DDR5, less what is lost: 100 GB/s */
		.step = 0.02e-6,                /* measured: 8 to 20 ns */
		.start = 0.1e-6,                /* a call finds its plan and a run */
		.cache = 1 << 20,               /* the second cache of a current server core */
	};
}

/* ---- names ---------------------------------------------------------------------------------------------------------- */

enum kind { TIME, BYTE_TIME, BYTES };

/* Values are kept in seconds and bytes; a printed one counts millionths of `unit`. most: in that unit. */
static const struct kind_row { const char *unit; double scale, most; } kinds[] = {
	[TIME] = { "us", 1e6, 1e7 },
	[BYTE_TIME] = { "ns/byte", 1e9, 1e6 },
	[BYTES] = { "bytes", 1, 1e12 },
};

static const struct unit { const char *name; uint8_t kind; double factor; } units[] = {
	{ "ns", TIME, 1e-3 }, { "us", TIME, 1 }, { "ms", TIME, 1e3 }, { "s", TIME, 1e6 },
	{ "ns/byte", BYTE_TIME, 1 }, { "us/byte", BYTE_TIME, 1e3 }, { "bytes", BYTES, 1 },
};

static const struct key { const char *name; uint8_t kind; size_t at; } keys[] = {
#define FIELD(near, NEAR, field, kind) { #near "." #field, kind, offsetof(struct costs, pair[NEAR_##NEAR].field) },
#define PAIR(near, NEAR) FIELD(near, NEAR, latency, TIME) FIELD(near, NEAR, overhead, TIME) FIELD(near, NEAR, byte_core, BYTE_TIME) \
	FIELD(near, NEAR, byte, BYTE_TIME) FIELD(near, NEAR, eager, BYTES)
	PAIR(core, CORE) PAIR(numa, NUMA) PAIR(package, PACKAGE) PAIR(node, NODE) PAIR(network, NETWORK)
#undef PAIR
#undef FIELD
	{ "copy.cached", BYTE_TIME, offsetof(struct costs, copy.cached) },
	{ "copy.memory", BYTE_TIME, offsetof(struct costs, copy.memory) },
	{ "reduce.cached", BYTE_TIME, offsetof(struct costs, reduce.cached) },
	{ "reduce.memory", BYTE_TIME, offsetof(struct costs, reduce.memory) },
	{ "link", BYTE_TIME, offsetof(struct costs, link) },
	{ "link_measured", BYTE_TIME, offsetof(struct costs, link_measured) },
	{ "memory", BYTE_TIME, offsetof(struct costs, memory) },
	{ "step", TIME, offsetof(struct costs, step) },
	{ "start", TIME, offsetof(struct costs, start) },
	{ "cache", BYTES, offsetof(struct costs, cache) },
};
enum { KEYS = sizeof keys / sizeof *keys, UNITS = sizeof units / sizeof *units };

void costs_print(FILE *f, const struct costs *c)
{
	for (int i = 0; i < KEYS; i++) {
		const struct kind_row *k = &kinds[keys[i].kind];
		const void *at = (const char *)c + keys[i].at;
		if (keys[i].kind == BYTES) {
			fprintf(f, "%s = %zu %s\n", keys[i].name, *(const size_t *)at, k->unit);
			continue;
		}
		unsigned long long millionths = (unsigned long long)(*(const double *)at * k->scale * 1e6 + 0.5);
		fprintf(f, "%s = %llu.%06llu %s\n", keys[i].name, millionths / 1000000, millionths % 1000000, k->unit);
	}
}

/* ---- parsing -------------------------------------------------------------------------------------------------------- */

static bool blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

/* Cut blanks off both ends of text[0 ... n). */
static const char *trim(const char *text, int *n)
{
	for (; *n && blank(*text); text++)
		--*n;
	while (*n && blank(text[*n - 1]))
		--*n;
	return text;
}

static const struct key *key_of(const char *name)
{
	for (int i = 0; i < KEYS; i++)
		if (!strcmp(keys[i].name, name))
			return &keys[i];
	return NULL;
}

static int unknown(int line, const char *name)
{
	const char *near = NULL;
	int best = 4;
	for (int i = 0; i < KEYS; i++) {
		int d = parse_distance(name, keys[i].name);
		if (d < best) {
			best = d;
			near = keys[i].name;
		}
	}
	return err_set(TUTTI_ERR_CONFIG, "costs, line %d: there is no \"%s\"%s%s%s", line, name, near ? "; did you mean " : "",
		near ? near : "", near ? "?" : "");
}

/* "12.5 us": in the kind's unit. False when it is not one, or not 0 ... most. */
static bool value_of(const char *text, const struct key *key, double *value)
{
	const char *p = text;
	double v = 0, place = 1;
	for (; *p >= '0' && *p <= '9' && v < 1e15; p++)
		v = v * 10 + (*p - '0');
	if (p == text)
		return false;
	if (*p == '.')
		for (p++; *p >= '0' && *p <= '9' && place > 1e-12; p++)
			v += (place /= 10) * (*p - '0');
	while (blank(*p))
		p++;
	for (int i = 0; i < UNITS; i++)
		if (units[i].kind == key->kind && !strcmp(units[i].name, p)) {
			*value = v * units[i].factor;
			return *value <= kinds[key->kind].most && (key->kind != BYTES || place == 1);
		}
	return false;
}

static int parse_line(struct costs *c, bool *seen, const char *text, int len, int line)
{
	const char *hash = memchr(text, '#', (size_t)len), *equals;
	int n = hash ? (int)(hash - text) : len, left, right;
	char name[PARSE_WORD_MAX + 1], value[48];
	double v;

	text = trim(text, &n);
	if (!n)
		return 0;
	equals = memchr(text, '=', (size_t)n);
	left = equals ? (int)(equals - text) : 0;
	right = n - left - 1;
	const char *key_at = trim(text, &left), *value_at = equals ? trim(equals + 1, &right) : NULL;
	if (!equals || !left || left >= (int)sizeof name || right >= (int)sizeof value)
		return err_set(TUTTI_ERR_CONFIG, "costs, line %d: expected \"name = value unit\", got \"%.*s\"", line,
			n < 60 ? n : 60, text);
	snprintf(name, sizeof name, "%.*s", left, key_at);
	snprintf(value, sizeof value, "%.*s", right, value_at);
	const struct key *k = key_of(name);
	if (!k)
		return unknown(line, name);
	if (seen[k - keys])
		return err_set(TUTTI_ERR_CONFIG, "costs, line %d: %s for the second time", line, name);
	if (!value_of(value, k, &v))
		return err_set(TUTTI_ERR_CONFIG, "costs, line %d: %s: expected 0 to %.0f %s, got \"%s\"", line, name, kinds[k->kind].most,
				kinds[k->kind].unit, value);
	seen[k - keys] = true;
	if (k->kind == BYTES)
		*(size_t *)((char *)c + k->at) = (size_t)v;
	else
		*(double *)((char *)c + k->at) = v / kinds[k->kind].scale;
	return 0;
}

int costs_parse(struct costs *out, const char *text)
{
	struct costs c = { 0 };
	bool seen[KEYS] = { false };
	for (int line = 1; *text; line++) {
		size_t len = strcspn(text, "\n");
		if (len > 4096)
			return err_set(TUTTI_ERR_CONFIG, "costs, line %d: expected \"name = value unit\", got %zu bytes", line, len);
		int status = parse_line(&c, seen, text, (int)len, line);
		if (status)
			return status;
		text += len + (text[len] == '\n');
	}
	for (int i = 0; i < KEYS; i++)
		if (!seen[i])
			return err_set(TUTTI_ERR_CONFIG, "costs: %s is missing", keys[i].name);
	*out = c;
	return 0;
}
