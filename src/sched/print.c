/* SPDX-License-Identifier: Apache-2.0 */
/* A schedule as a table for people: the picture at the top of sched.h. */
#include <sched/sched.h>
#include <string.h>

const char *const step_names[] = { "nop", "send", "recv", "recv_reduce", "reduce", "copy" };
const char *const buf_names[] = { "", "in", "out", "scratch" };

enum { CELL = 64 };

/* "0-2,5": the members of a set, cut short with "..." when they do not fit. */
static void set_cell(char *t, const struct sched *s, const struct sched_set *set)
{
	const int32_t *m = s->members + set->first;
	size_t at = 0;
	for (uint32_t i = 0, j; i < set->n; i = j) {
		for (j = i + 1; j < set->n && m[j] == m[j - 1] + 1; j++)
			;
		if (at + 28 > CELL) {
			strcpy(t + at, ",...");
			return;
		}
		at += (size_t)snprintf(t + at, CELL - at, j - i > 1 ? "%s%d-%d" : "%s%d", i ? "," : "", m[i], m[j - 1]);
	}
}

static void span_cell(char *t, struct span x)
{
	*t = 0;
	if (x.buf)
		snprintf(t, CELL, "%-7s [%u,%u)", buf_names[x.buf], x.chunk, x.chunk + x.n);
}

static void waits_cell(char *t, const struct step *x)
{
	int a = x->wait[0], b = x->wait[1];
	*t = 0;
	if (a >= 0)
		snprintf(t, CELL, b >= 0 ? "%d %d" : "%d", a, b);
}

void sched_print_step(FILE *f, const struct sched *s, uint32_t i)
{
	const struct step *x = &s->steps[i];
	char peer[CELL] = "", dst[CELL], src[CELL], waits[CELL];
	if (x->flags & STEP_SET)
		set_cell(peer, s, &s->sets[x->peer]);
	else if (x->peer >= 0)
		snprintf(peer, CELL, "%d", x->peer);
	span_cell(dst, x->dst);
	span_cell(src, x->src);
	waits_cell(waits, x);
	fprintf(f, "%-6u %-7u %-12s %-11s %-20s %-20s %-10s%s%s\n", i, x->channel, step_names[x->op], peer, dst, src, waits,
		x->flags & STEP_REVERSED ? " reversed" : "", x->flags & STEP_FINAL ? " final" : "");
}

void sched_print(FILE *f, const struct sched *s)
{
	fprintf(f, "%s %s: rank %d of %d", coll_rows[s->coll].name, s->algo->name, s->rank, s->nranks);
	if (coll_rows[s->coll].rooted)
		fprintf(f, ", root %d", s->root);
	fprintf(f, "; chunks a block: %u, scratch: %u, channels: %d, steps: %u, id %016llx\n\n", s->k, s->scratch_chunks, s->nchannels,
		s->nsteps, (unsigned long long)s->hash);
	fprintf(f, "%-6s %-7s %-12s %-11s %-20s %-20s %-10s\n", "step", "channel", "op", "peer", "dst", "src", "waits");
	for (uint32_t i = 0; i < s->nsteps; i++)
		sched_print_step(f, s, i);
}
