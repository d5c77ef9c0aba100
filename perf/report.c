/* SPDX-License-Identifier: Apache-2.0 */
/* nccl-tests' columns on stdout, a row as soon as it is measured; and the same with its distribution as JSON. Rank 0 only. */
#include <base/type.h>
#include <errno.h>
#include <perf/inner.h>
#include <stdlib.h>
#include <string.h>

/* As many decimals as the width has room for */
static void cell(double v, int width)
{
	int digits = 1;

	for (double x = v; x >= 10; x /= 10)
		digits++;
	printf("  %*.*f", width, digits < width - 3 ? 2 : digits < width - 1 ? 1 : 0, v);
}

static void cells(struct perf *p, const struct perf_case *k, const struct perf_result *r)
{
	double alg = r->us > 0 ? (double)k->size / r->us / 1e3 : 0, bus = alg * perf_busbw_factor(p->coll->factor, p->nranks);

	if (r->none) {
		printf("  %7s  %6s  %6s  %6s", "N/A", "N/A", "N/A", "N/A");
		return;
	}
	cell(r->us, 7);
	if (p->coll->factor == FACTOR_NONE) {
		printf("  %6s  %6s", "N/A", "N/A");
	} else {
		cell(alg, 6);
		cell(bus, 6);
		p->busbw += bus;
		p->bandwidths++;
	}
	if (r->wrong < 0 || p->coll->factor == FACTOR_NONE)
		printf("  %6s", "N/A");
	else
		printf("  %6lld", (long long)r->wrong);
}

/* A string that may hold anything */
static void json_text(FILE *f, const char *s)
{
	putc('"', f);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			putc('\\', f);
		if ((unsigned char)*s < ' ')
			fprintf(f, "\\u%04x", (unsigned)*s);
		else
			putc(*s, f);
	}
	putc('"', f);
}

static void json_result(struct perf *p, const struct perf_case *k, const char *name, const struct perf_result *r)
{
	double alg = r->us > 0 ? (double)k->size / r->us / 1e3 : 0;

	fprintf(p->json, ", \"%s\": ", name);
	if (r->none) {
		fprintf(p->json, "null");
		return;
	}
	fprintf(p->json, "{\"time_us\": %.3f, \"min_us\": %.3f, \"median_us\": %.3f, \"p99_us\": %.3f", r->us, r->min, r->median, r->p99);
	if (p->coll->factor != FACTOR_NONE)
		fprintf(p->json, ", \"algbw_gbs\": %.4f, \"busbw_gbs\": %.4f", alg, alg * perf_busbw_factor(p->coll->factor, p->nranks));
	if (r->wrong >= 0)
		fprintf(p->json, ", \"wrong\": %lld", (long long)r->wrong);
	fprintf(p->json, ", \"plan\": ");
	json_text(p->json, r->plan);
	putc('}', p->json);
}

static void json_open(struct perf *p)
{
	const struct perf_options *o = p->o;

	fprintf(p->json, "{\"version\": \"%s\", \"collective\": \"%s\", \"ranks\": %d, \"iters\": %d, \"warmup\": %d, \"agg\": %d, \"touch\": %d, \"memory\": \"%s\"",
	        tutti_version(), p->coll->name, p->nranks, o->iters, o->warmup, o->agg, o->touch, o->memory);
	fprintf(p->json, ", \"transport\": ");
	json_text(p->json, o->transport ? o->transport : "");
	fprintf(p->json, ", \"algo\": ");
	json_text(p->json, o->algo ? o->algo : "");
	fprintf(p->json, ",\n \"rows\": [");
}

static void json_row(struct perf *p, const struct perf_case *k, const struct perf_result *out, const struct perf_result *in)
{
	fprintf(p->json, "%s\n  {\"size\": %zu, \"count\": %zu, \"type\": \"%s\"", p->rows ? "," : "", k->size, k->count, tutti_type_name((enum tutti_type)k->type));
	if (p->coll->reduces)
		fprintf(p->json, ", \"redop\": \"%s\"", tutti_op_name(k->op));
	if (p->coll->rooted)
		fprintf(p->json, ", \"root\": %d", k->root);
	json_result(p, k, "out_of_place", out);
	json_result(p, k, "in_place", in);
	putc('}', p->json);
	fflush(p->json);
}

int report_open(struct perf *p)
{
	const struct perf_options *o = p->o;

	if (p->rank)
		return 0;
	if (o->json && !(p->json = fopen(o->json, "we"))) {
		fprintf(stderr, "tutti perf: cannot write \"%s\": %s\n", o->json, strerror(errno));
		return -1;
	}
	if (p->json)
		json_open(p);
	printf("# tutti %s  %s  ranks %d  minbytes %zu  maxbytes %zu  step %zu(%s)  warmup %d  iters %d  agg %d  check %d  touch %d  memory %s\n#\n",
	       tutti_version(), p->coll->name, p->nranks, o->min, o->max, o->factor > 1 ? (size_t)o->factor : o->step, o->factor > 1 ? "factor" : "bytes",
	       o->warmup, o->iters, o->agg, o->check, o->touch, o->memory);
	printf("# %10s  %12s  %8s  %6s  %6s  %*s  %*s\n", "", "", "", "", "", 28, "out-of-place       ", 32, "in-place          ");
	printf("# %10s  %12s  %8s  %6s  %6s", "size", "count", "type", "redop", "root");
	for (int i = 0; i < 2; i++)
		printf("  %7s  %6s  %6s  %6s", "time", "algbw", "busbw", "#wrong");
	printf("\n# %10s  %12s  %8s  %6s  %6s", "(B)", "(elements)", "", "", "");
	for (int i = 0; i < 2; i++)
		printf("  %7s  %6s  %6s  %6s", "(us)", "(GB/s)", "(GB/s)", "");
	printf("\n");
	fflush(stdout);
	return 0;
}

void report_row(struct perf *p, const struct perf_case *k, const struct perf_result *out, const struct perf_result *in)
{
	if (p->rank)
		return;
	printf("%12zu  %12zu  %8s  %6s  %6d", k->size, k->count, tutti_type_name((enum tutti_type)k->type), p->coll->reduces ? tutti_op_name(k->op) : "none",
	       p->coll->rooted ? k->root : -1);
	cells(p, k, out);
	cells(p, k, in);
	printf("\n");
	fflush(stdout);
	if (p->json)
		json_row(p, k, out, in);
	p->rows++;
}

void report_describe(struct perf *p, struct perf_result *r)
{
	size_t room = 256 * ((size_t)p->nranks + 1);
	char *last;

	if (p->rank || (!p->routes && !(p->routes = malloc(room))) || tutti_comm_describe(p->comm, p->routes, room))
		return;
	last = strstr(p->routes, "last: ");
	if (!last)
		return;
	snprintf(r->plan, sizeof r->plan, "%.*s", (int)strcspn(last + 6, "\n"), last + 6);
	*last = 0;
}

/* Each line as a comment */
static void print_routes(const struct perf *p)
{
	size_t len;

	for (const char *line = p->routes; line && *line; line += len + (line[len] == '\n')) {
		len = strcspn(line, "\n");
		printf("# %.*s\n", (int)len, line);
	}
}

int report_close(struct perf *p, int status)
{
	bool checked = p->o->check && p->coll->factor != FACTOR_NONE;
	int bad = 0;

	if (p->rank)
		return 0;
	if (!status) {
		printf("# Wrong elements    : %lld %s\n", (long long)p->wrong, p->wrong ? "FAILED" : checked ? "OK" : "(not checked)");
		if (p->bandwidths)
			printf("# Avg bus bandwidth : %.4f\n", p->busbw / p->bandwidths);
		print_routes(p);
		fflush(stdout);
	}
	free(p->routes);
	if (!p->json)
		return 0;
	fprintf(p->json, "],\n \"complete\": %s, \"wrong\": %lld, \"avg_busbw_gbs\": %.4f}\n", status ? "false" : "true", (long long)p->wrong,
	        p->bandwidths ? p->busbw / p->bandwidths : 0);
	bad = ferror(p->json);
	if (fclose(p->json) || bad) {
		fprintf(stderr, "tutti perf: cannot write \"%s\": %s\n", p->o->json, strerror(errno));
		return -1;
	}
	return 0;
}
