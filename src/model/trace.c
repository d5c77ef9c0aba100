/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pictures of a run. Both writers run the simulation once more with a sink that keeps the events, sort these by rank and time, and give
 * each a lane:
 *
 *      rank 0   sends            lane 0   [send 1][send 1]      [send 3]        steps of a queue that overlap lie in different lanes
 *                                lane 1        [send 2 .............]
 *               everything else  lane 0   [recv_reduce 1 .....][recv]
 */
#include <base/err.h>
#include <model/inner.h>
#include <stdlib.h>

enum { KEEP_MOST = 4000000, LANES = SIM_WINDOW };

struct kept {
	const struct sim *s;
	struct sim_event *e;
	uint32_t n, cap, most;
	int rows;                       /* ranks kept: 0, a stride, and so on; the last one too */
	int status;
};

void sim_trace(struct sim *s, sim_sink *sink, void *ctx)
{
	s->sink = sink;
	s->ctx = ctx;
}

/* Row i of `rows` is this rank: all, or as many as there are, evenly from the first to the last. */
static int rank_of_row(const struct kept *k, int row)
{
	return k->rows < 2 ? 0 : (int)((int64_t)row * (k->s->nranks - 1) / (k->rows - 1));
}

static int row_of_rank(const struct kept *k, int rank)
{
	int row = k->rows < 2 ? 0 : (int)(((int64_t)rank * (k->rows - 1) + k->s->nranks - 2) / (k->s->nranks - 1));
	return row < k->rows && rank_of_row(k, row) == rank ? row : -1;
}

static void keep(void *ctx, const struct sim_event *e)
{
	struct kept *k = ctx;
	if (k->status || e->op == STEP_NOP || row_of_rank(k, e->rank) < 0)       /* a nop carries waits, no bytes */
		return;
	if (k->n >= k->most)
		k->status = err_set(TUTTI_ERR_UNSUPPORTED, "more than %u steps are too many to write down", k->most);
	else if (!(k->status = sim_grow(&k->e, &k->cap, k->n + 1ull, sizeof *k->e)))
		k->e[k->n++] = *e;
}

static int lane_group(const struct sim_event *e) { return e->channel * 2 + (e->op == STEP_SEND); }

static int by_rank_and_time(const void *a, const void *b)
{
	const struct sim_event *x = a, *y = b;
	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	if (lane_group(x) != lane_group(y))
		return lane_group(x) < lane_group(y) ? -1 : 1;
	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return (x->step > y->step) - (x->step < y->step);
}

static int run_and_keep(struct kept *k, struct sim *s, uint64_t bytes, size_t slice, struct sim_result *r)
{
	sim_sink *sink = s->sink;
	void *ctx = s->ctx;
	sim_trace(s, keep, k);
	int status = sim_run(s, bytes, slice, r);
	sim_trace(s, sink, ctx);
	if (!status)
		status = k->status;
	if (!status && k->n)
		qsort(k->e, k->n, sizeof *k->e, by_rank_and_time);
	return status;
}

/* The first lane that is free; event i of its group. */
static int lane_of(const struct kept *k, uint32_t i, double *busy)
{
	const struct sim_event *e = &k->e[i];
	int lane = 0;
	if (!i || e[-1].rank != e->rank || lane_group(&e[-1]) != lane_group(e))
		for (int l = 0; l < LANES; l++)
			busy[l] = 0;
	while (lane < LANES - 1 && busy[lane] > e->start)
		lane++;
	busy[lane] = e->end;
	return lane;
}

/* A text inside quotes or tags. */
static void put_escaped(FILE *f, const char *text)
{
	for (; *text; text++)
		if (*text == '"' || *text == '\\' || *text == '<' || *text == '&' || (unsigned char)*text < ' ')
			fputc('_', f);
		else
			fputc(*text, f);
}

/* ---- Chrome's and Perfetto's trace format --------------------------------------------------------------------------- */

static void json_name(FILE *f, const char *what, int rank, int tid, const char *fmt, int number, const char *tail)
{
	fprintf(f, ",\n{\"ph\":\"M\",\"name\":\"%s\",\"pid\":%d,\"tid\":%d,\"args\":{\"name\":\"", what, rank, tid);
	fprintf(f, fmt, number);
	fprintf(f, "%s\"}}", tail);
}

static void json_event(FILE *f, const struct sim *s, const struct sim_event *e, int tid)
{
	char name[64];
	fprintf(f, ",\n{\"ph\":\"X\",\"name\":\"%s", step_names[e->op]);
	if (e->peer >= 0)
		fprintf(f, " %s %d", e->op == STEP_SEND ? "to" : "from", e->peer);
	sim_resource_name(s, e->resource, name, sizeof name);
	fprintf(f, "\",\"cat\":\"%s\",\"pid\":%d,\"tid\":%d,\"ts\":%.4f,\"dur\":%.4f,\"args\":{\"step\":%u,\"bytes\":%llu,\"bound by\":\"",
			step_names[e->op], e->rank, tid, e->start * 1e6, (e->end - e->start) * 1e6, e->step, (unsigned long long)e->bytes);
	put_escaped(f, name);
	fprintf(f, "\"}}");
}

/* A process a rank, a thread a lane. */
static void json_body(FILE *f, const struct kept *k)
{
	double busy[LANES] = { 0 };
	int named = 0;
	for (uint32_t i = 0; i < k->n; i++) {
		const struct sim_event *e = &k->e[i];
		int lane = lane_of(k, i, busy), tid = lane_group(e) * LANES + lane;
		bool first = !i || e[-1].rank != e->rank;
		if (first)
			json_name(f, "process_name", e->rank, 0, "rank %d", e->rank, "");
		if (first || lane_group(&e[-1]) != lane_group(e))
			named = -1;
		for (; named < lane; named++)
			json_name(f, "thread_name", e->rank, lane_group(e) * LANES + named + 1, "channel %d", e->channel,
					e->op == STEP_SEND ? " sends" : "");
		json_event(f, k->s, e, tid);
	}
}

int sim_write_json(struct sim *s, uint64_t bytes, size_t slice, FILE *f)
{
	struct kept k = { .s = s, .rows = s->nranks, .most = KEEP_MOST };
	struct sim_result r;
	int status = run_and_keep(&k, s, bytes, slice, &r);
	if (!status) {
		fprintf(f, "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n{\"ph\":\"M\",\"name\":\"process_labels\",\"pid\":0,\"tid\":0,"
				"\"args\":{\"labels\":\"%s %s, %llu bytes\"}}", coll_rows[s->problem.coll].name, s->algo->name,
				(unsigned long long)bytes);
		json_body(f, &k);
		fprintf(f, "\n]}\n");
	}
	free(k.e);
	return status;
}

/* ---- a drawing ------------------------------------------------------------------------------------------------------ */

enum { ROWS_MOST = 64, RECTS_MOST = 40000, LEFT = 80, TOP = 64, WIDTH = 1200, HALF = 9, ROW = 2 * HALF + 4, TICKS = 8 };

static const char *const colours[] = {
	[STEP_NOP] = "#bbbbbb",
	[STEP_SEND] = "#4e79a7",
	[STEP_RECV] = "#59a14f",
	[STEP_RECV_REDUCE] = "#e15759",
	[STEP_REDUCE] = "#b07aa1",
	[STEP_COPY] = "#f28e2b",
};
enum { OPS = sizeof colours / sizeof *colours };

static void svg_head(FILE *f, const struct kept *k, const struct sim_result *r, const char *title)
{
	int height = TOP + k->rows * ROW + 30;
	fprintf(f,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" "
		"font-size=\"11\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n<text x=\"%d\" y=\"18\" font-size=\"14\">",
		LEFT + WIDTH + 20, height, LEFT + WIDTH + 20, height, LEFT);
	put_escaped(f, title);
	fprintf(f, "</text>\n<text x=\"%d\" y=\"36\">%.3f us; busiest: ", LEFT, r->seconds * 1e6);
	put_escaped(f, r->busiest);
	fprintf(f, ", %.0f %%; each row: sends above, everything else below", r->busy * 100);
	if (k->rows < k->s->nranks)
		fprintf(f, "; %d of %d ranks are drawn", k->rows, k->s->nranks);
	fprintf(f, "</text>\n");
	for (int op = 1, x = LEFT; op < OPS; op++, x += 110)
		fprintf(f, "<rect x=\"%d\" y=\"44\" width=\"10\" height=\"10\" fill=\"%s\"/><text x=\"%d\" y=\"53\">%s</text>\n", x,
			colours[op], x + 14, step_names[op]);
}

static void svg_axes(FILE *f, const struct kept *k, double seconds)
{
	int bottom = TOP + k->rows * ROW;
	bool long_one = seconds >= 10e-3;
	for (int row = 0; row < k->rows; row++)
		fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">rank %d</text>\n", LEFT - 6, TOP + row * ROW + HALF + 4,
			rank_of_row(k, row));
	for (int i = 0; i <= TICKS; i++) {
		int x = LEFT + WIDTH * i / TICKS;
		fprintf(f, "<path d=\"M%d %dV%d\" stroke=\"#dddddd\"/><text x=\"%d\" y=\"%d\" text-anchor=\"%s\">%.2f %s</text>\n", x, TOP,
			bottom, x, bottom + 16, i == TICKS ? "end" : "middle", seconds * (long_one ? 1e3 : 1e6) * i / TICKS,
			long_one ? "ms" : "us");
	}
}

static void svg_steps(FILE *f, const struct kept *k, double seconds)
{
	double scale = seconds > 0 ? WIDTH / seconds : 0;
	for (uint32_t i = 0; i < k->n; i++) {
		const struct sim_event *e = &k->e[i];
		double w = (e->end - e->start) * scale;
		int y = TOP + row_of_rank(k, e->rank) * ROW + (e->op == STEP_SEND ? 0 : HALF);
		fprintf(f,
			"<rect x=\"%.2f\" y=\"%d\" width=\"%.2f\" height=\"%d\" fill=\"%s\" fill-opacity=\"0.6\" stroke=\"%s\" "
			"stroke-width=\"0.4\">"
			"<title>step %u %s",
			LEFT + e->start * scale, y, w < 0.3 ? 0.3 : w, HALF - 1, colours[e->op], colours[e->op], e->step,
			step_names[e->op]);
		if (e->peer >= 0)
			fprintf(f, " %s %d", e->op == STEP_SEND ? "to" : "from", e->peer);
		fprintf(f, ", %llu bytes, %.3f to %.3f us</title></rect>\n", (unsigned long long)e->bytes, e->start * 1e6, e->end * 1e6);
	}
}

int sim_write_svg(struct sim *s, uint64_t bytes, size_t slice, const char *title, FILE *f)
{
	uint64_t rows = s->nranks < ROWS_MOST ? (uint64_t)s->nranks : ROWS_MOST,
		 fit = (uint64_t)RECTS_MOST * (uint64_t)s->nranks / (s->nsteps + 1ull);
	struct kept k = { .s = s, .rows = (int)(rows < fit ? rows : fit ? fit : 1), .most = KEEP_MOST };
	struct sim_result r;
	int status = run_and_keep(&k, s, bytes, slice, &r);
	if (!status) {
		svg_head(f, &k, &r, title);
		svg_axes(f, &k, r.seconds);
		svg_steps(f, &k, r.seconds);
		fprintf(f, "</svg>\n");
	}
	free(k.e);
	return status;
}
