/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data-parallel training of a small character-level language model.
 *
 *     tutti run -n 4 -- train_charlm --steps 2000
 *
 * Every rank has all parameters, and computes the gradients of its share of each batch; one all-reduce adds them, in buckets that start while the
 * backward pass is still busy with the layers before; then every rank takes the same step. Which samples make a batch does not depend on how
 * many ranks there are, so any number of them trains the same model, but for the order in which floats are added.
 */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <tutti/tutti.h>

#include "charlm/model.h"
#include "charlm/selftest.h"
#include "charlm/text.h"

enum { CONTEXT = 16, EMBED_WIDTH = 16, HIDDEN = 320, EVAL_BATCH = 256, EVAL_SHORT = 8192 };

/*
 * Runs of some 100 steps agree when their parameters differ by less than this, as |a - b| / |b| (Euclidean), and their held-out losses by less than
 * this too. Another order of adding floats makes 1e-7 of it; training multiplies that slowly.
 */
#define TOLERANCE 1e-4

struct options {
	long steps, batch, report, seed;
	const char *text, *json, *save, *compare;
	int selftest;
};

struct trainer {
	struct options o;
	struct tutti_comm *comm;
	int rank, ranks;
	struct text text;
	struct model model;
	struct adam adam;
	float *w, *g;                           /* g has one more: the batch's loss, reduced with the last bucket */
	unsigned char *ids;
	struct tutti_request *buckets[BUCKETS]; /* in flight */
	double comm_s, loss_bits, heldout_bits, seconds, train_s;
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

__attribute__((noreturn, format(printf, 2, 3)))
static void die(const struct trainer *t, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "train_charlm: rank %d: ", t->rank);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static void check(const struct trainer *t, int status)
{
	if (status < 0)
		die(t, "%s", tutti_last_error(t->comm));
}

/* All of them, once rank 0 has said why: a launcher ends the others as soon as one has gone. */
static void leave(const struct trainer *t)
{
	tutti_barrier(t->comm);
	exit(1);
}

/* ---- the text: rank 0 reads it, all get it ---- */

static void share_text(struct trainer *t)
{
	char why[600];
	uint64_t length = 0;

	if (t->rank == 0) {
		if (text_read(&t->text, t->o.text, why, sizeof why) < 0)
			fprintf(stderr, "train_charlm: %s\n", why);
		length = t->text.length;
	}
	check(t, tutti_broadcast(&length, &length, 1, TUTTI_UINT64, 0, t->comm));
	if (length == 0) {
		if (t->rank == 0 && t->text.bytes)
			fprintf(stderr, "train_charlm: the text is empty\n");
		leave(t);
	}
	if (t->rank != 0)
		t->text = (struct text){ .bytes = malloc(length), .length = length };
	if (!t->text.bytes)
		die(t, "no memory for a text of %llu bytes", (unsigned long long)length);
	check(t, tutti_broadcast(t->text.bytes, t->text.bytes, length, TUTTI_UINT8, 0, t->comm));
	if (text_index(&t->text, CONTEXT, why, sizeof why) < 0) {
		if (t->rank == 0)
			fprintf(stderr, "train_charlm: %s: %s\n", t->o.text ? t->o.text : TEXT_FORTUNES, why);
		leave(t);
	}
}

/* ---- training ---- */

/* What share of n things is rank's: [share(n, rank), share(n, rank + 1)) */
static long share(const struct trainer *t, long n, int rank)
{
	return n / t->ranks * rank + (n % t->ranks) * rank / t->ranks;
}

static void take_sample(const struct trainer *t, size_t at, unsigned char *ids)
{
	memcpy(ids, t->text.bytes + at - CONTEXT, CONTEXT + 1);
}

/* A bucket is finished: start to reduce it, and move those before it on. */
static void bucket_ready(int bucket, void *arg)
{
	struct trainer *t = arg;
	size_t from = t->model.start[bucket], to = t->model.start[bucket + 1] + (bucket == EMBED);
	double begun = now();

	check(t, tutti_all_reduce_async(t->g + from, t->g + from, to - from, TUTTI_FLOAT32, TUTTI_SUM, t->comm, &t->buckets[bucket]));
	for (int b = 0; b < bucket; b++)
		check(t, tutti_test(&t->buckets[b]));
	t->comm_s += now() - begun;
}

static void train_step(struct trainer *t, long step)
{
	long first = share(t, t->o.batch, t->rank), n = share(t, t->o.batch, t->rank + 1) - first;
	size_t params = t->model.start[BUCKETS];
	double begun;

	for (long i = 0; i < n; i++) {
		uint64_t random = random_at((uint64_t)t->o.seed, (uint64_t)((step - 1) * t->o.batch + first + i));
		take_sample(t, text_train_at(&t->text, random % t->text.train), t->ids + i * (CONTEXT + 1));
	}
	t->g[params] = (float)(model_forward(&t->model, t->w, t->ids, (int)n) / (double)t->o.batch);
	model_backward(&t->model, t->w, t->g, t->ids, (int)n, 1 / (float)t->o.batch, bucket_ready, t);
	begun = now();
	for (int b = 0; b < BUCKETS; b++)
		check(t, tutti_wait(&t->buckets[b], -1));
	t->comm_s += now() - begun;
	t->loss_bits += t->g[params] / M_LN2;
	adam_step(&t->adam, t->w, t->g, params, 6e-3f * (float)(t->o.steps + 1 - step) / (float)t->o.steps);
}

/* Held-out bits a character over `samples` of them, spread over the text; each rank evaluates its share. */
static double evaluate(struct trainer *t, size_t samples)
{
	long first = share(t, (long)samples, t->rank), end = share(t, (long)samples, t->rank + 1);
	double loss = 0;

	for (long i = first; i < end;) {
		int n = 0;

		for (; i < end && n < EVAL_BATCH && n < t->model.capacity; i++, n++)
			take_sample(t, text_heldout_at(&t->text, (size_t)i * t->text.heldout / samples), t->ids + n * (CONTEXT + 1));
		loss += model_forward(&t->model, t->w, t->ids, n);
	}
	check(t, tutti_all_reduce(&loss, &loss, 1, TUTTI_FLOAT64, TUTTI_SUM, t->comm));
	return loss / (double)samples / M_LN2;
}

static void train(struct trainer *t)
{
	size_t some = t->text.heldout < EVAL_SHORT ? t->text.heldout : EVAL_SHORT;
	double begun = now(), window_s = 0, window_comm = 0;
	long window = 0;

	if (t->rank == 0)
		printf("%8s  %10s  %10s  %12s  %8s     (losses in bits a character)\n", "step", "training", "held out", "characters/s", "in comm");
	for (long step = 1; step <= t->o.steps; step++) {
		double started = now();

		train_step(t, step);
		window_s += now() - started;
		window++;
		if (step % t->o.report && step < t->o.steps)
			continue;
		t->heldout_bits = evaluate(t, step < t->o.steps ? some : t->text.heldout);
		if (t->rank == 0) {
			printf("%8ld  %10.4f  %10.4f  %12.0f  %7.1f%%\n", step, t->loss_bits / (double)window, t->heldout_bits,
			       (double)(window * t->o.batch) / window_s, 100 * (t->comm_s - window_comm) / window_s);
			fflush(stdout);
		}
		t->train_s += window_s;
		t->loss_bits = step < t->o.steps ? 0 : t->loss_bits / (double)window;
		window = 0;
		window_s = 0;
		window_comm = t->comm_s;
	}
	t->seconds = now() - begun;
}

/* ---- proof ---- */

static uint64_t checksum(const void *data, size_t bytes)
{
	const unsigned char *p = data;
	uint64_t hash = 0xcbf29ce484222325u;

	for (size_t i = 0; i < bytes; i++)
		hash = (hash ^ p[i]) * 0x100000001b3u;
	return hash;
}

/* 0 when all ranks have the same bits. */
static int compare_ranks(struct trainer *t, uint64_t *sum)
{
	uint64_t *all = calloc((size_t)t->ranks, sizeof *all);
	int differ = 0;

	if (!all)
		die(t, "no memory");
	*sum = checksum(t->w, t->model.start[BUCKETS] * sizeof *t->w);
	check(t, tutti_all_gather(sum, all, 1, TUTTI_UINT64, t->comm));
	for (int r = 0; r < t->ranks; r++) {
		if (t->rank == 0)
			printf("parameters of rank %d: checksum %016llx%s\n", r, (unsigned long long)all[r], all[r] == all[0] ? "" : " DIFFERS");
		differ |= all[r] != all[0];
	}
	free(all);
	return differ;
}

static void save(const struct trainer *t)
{
	FILE *f = fopen(t->o.save, "wb");
	size_t n = t->model.start[BUCKETS];

	if (!f || fwrite(&t->heldout_bits, sizeof t->heldout_bits, 1, f) != 1 || fwrite(t->w, sizeof *t->w, n, f) != n || fclose(f) != 0)
		die(t, "%s: %s", t->o.save, strerror(errno));
}

/* Against what --save wrote: 0 within the tolerance. */
static int compare(const struct trainer *t)
{
	FILE *f = fopen(t->o.compare, "rb");
	size_t n = t->model.start[BUCKETS];
	float *other = malloc((n + 1) * sizeof *other);
	double bits, apart = 0, norm = 0, distance, loss;

	if (!f)
		die(t, "%s: %s", t->o.compare, strerror(errno));
	if (!other)
		die(t, "no memory");
	if (fread(&bits, sizeof bits, 1, f) != 1 || fread(other, sizeof *other, n + 1, f) != n)
		die(t, "%s: expected %zu parameters as --save writes them: another text, or another file", t->o.compare, n);
	fclose(f);
	for (size_t i = 0; i < n; i++) {
		apart += ((double)t->w[i] - other[i]) * ((double)t->w[i] - other[i]);
		norm += (double)other[i] * other[i];
	}
	free(other);
	distance = sqrt(apart / norm);
	loss = fabs(t->heldout_bits - bits);
	printf("against %s: parameters %.2e apart, held-out loss %.2e apart (tolerance %.0e): %s\n", t->o.compare, distance, loss, TOLERANCE,
	       distance < TOLERANCE && loss < TOLERANCE ? "agrees" : "DIFFERS");
	return !(distance < TOLERANCE && loss < TOLERANCE);
}

static void write_json(const struct trainer *t, uint64_t sum, int same)
{
	FILE *f = fopen(t->o.json, "w");

	if (!f)
		die(t, "%s: %s", t->o.json, strerror(errno));
	fprintf(f, "{ \"ranks\": %d, \"steps\": %ld, \"batch\": %ld, \"parameters\": %zu, \"train_bits\": %.9f, \"heldout_bits\": %.9f,\n",
	        t->ranks, t->o.steps, t->o.batch, t->model.start[BUCKETS], t->loss_bits, t->heldout_bits);
	fprintf(f, "  \"characters_per_second\": %.0f, \"comm_share\": %.4f, \"seconds\": %.3f, \"checksum\": \"%016llx\", \"ranks_equal\": %s }\n",
	        (double)(t->o.steps * t->o.batch) / t->train_s, t->comm_s / t->train_s, t->seconds, (unsigned long long)sum, same ? "true" : "false");
	if (fclose(f) != 0)
		die(t, "%s: %s", t->o.json, strerror(errno));
}

/* ---- command line ---- */

static const struct option_row {
	const char *name, *arg, *help;
} rows[] = {
	{ "--steps", "N", "how many steps to train (3000)" },
	{ "--batch", "N", "samples a step, of all ranks together (1024)" },
	{ "--report", "N", "a line of progress every N steps (a twentieth of the steps)" },
	{ "--seed", "N", "of the first parameters and the samples (1)" },
	{ "--text", "FILE", "what to learn (all of " TEXT_FORTUNES ")" },
	{ "--json", "FILE", "write the results" },
	{ "--save", "FILE", "write the parameters" },
	{ "--compare", "FILE", "compare the parameters with what --save wrote, from any number of ranks" },
	{ "--self-test", NULL, "check the gradients against finite differences, and stop" },
	{ "--help", NULL, "this" },
};

static int usage(FILE *to)
{
	fprintf(to, "usage: train_charlm [options], on many ranks: tutti run -n 4 -- train_charlm [options]\n");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		fprintf(to, "  %-11s %-5s %s\n", rows[i].name, rows[i].arg ? rows[i].arg : "", rows[i].help);
	return to == stderr;
}

static long number(const char *name, const char *value, long most)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(value, &end, 10);
	if (errno || *value == 0 || *end || n < 1 || n > most) {
		fprintf(stderr, "train_charlm: %s: expected a number from 1 to %ld, got '%s'\n", name, most, value);
		exit(2);
	}
	return n;
}

static void set_option(struct options *o, size_t row, const char *value)
{
	long *numbers[] = { &o->steps, &o->batch, &o->report, &o->seed };
	static const long most[] = { 100000000, 65536, 100000000, 1000000000 };
	const char **files[] = { &o->text, &o->json, &o->save, &o->compare };

	if (row < 4)
		*numbers[row] = number(rows[row].name, value, most[row]);
	else if (row < 8)
		*files[row - 4] = value;
	else
		o->selftest = 1;
}

static struct options parse(int argc, char **argv)
{
	struct options o = { .steps = 3000, .batch = 1024, .seed = 1 };
	size_t count = sizeof rows / sizeof *rows;

	for (int i = 1; i < argc; i++) {
		size_t row = 0;

		while (row < count && strcmp(argv[i], rows[row].name))
			row++;
		if (row == count || (rows[row].arg && i + 1 == argc)) {
			fprintf(stderr, "train_charlm: %s '%s'\n", row == count ? "unknown option" : "a value is missing after", argv[i]);
			exit(usage(stderr) + 1);
		}
		if (row == count - 1)
			exit(usage(stdout));
		set_option(&o, row, rows[row].arg ? argv[++i] : NULL);
	}
	if (o.report == 0)
		o.report = o.steps < 20 ? 1 : o.steps / 20;
	return o;
}

/* ---- a run ---- */

static void set_up(struct trainer *t)
{
	size_t params;
	long own = share(t, t->o.batch, t->rank + 1) - share(t, t->o.batch, t->rank);
	int capacity = own > EVAL_BATCH ? (int)own : EVAL_BATCH;

	if (t->o.batch < t->ranks)
		die(t, "--batch: expected at least one sample for each of %d ranks, got %ld", t->ranks, t->o.batch);
	share_text(t);
	t->ids = malloc((size_t)capacity * (CONTEXT + 1));
	if (!t->ids || model_init(&t->model, (struct shape){ CONTEXT, EMBED_WIDTH, HIDDEN, t->text.symbols }, capacity) < 0)
		die(t, "no memory for a batch of %d samples", capacity);
	params = t->model.start[BUCKETS];
	check(t, tutti_mem_alloc((void **)&t->w, params * sizeof *t->w));
	check(t, tutti_mem_alloc((void **)&t->g, (params + 1) * sizeof *t->g));
	t->adam = (struct adam){ calloc(params, sizeof(float)), calloc(params, sizeof(float)), 1, 1 };
	if (!t->adam.m1 || !t->adam.m2)
		die(t, "no memory for %zu parameters", params);
	if (t->rank == 0) {
		model_randomize(&t->model, t->w, (uint64_t)t->o.seed);
		printf("%zu characters of text, %d different; %zu to learn, %zu held out; %zu parameters; %d rank%s, %ld samples a step\n",
		       t->text.length, t->text.symbols, t->text.train, t->text.heldout, params, t->ranks, t->ranks > 1 ? "s" : "", t->o.batch);
	}
	check(t, tutti_broadcast(t->w, t->w, params, TUTTI_FLOAT32, 0, t->comm));
}

static void tear_down(struct trainer *t)
{
	tutti_mem_free(t->w);
	tutti_mem_free(t->g);
	model_free(&t->model);
	free(t->adam.m1);
	free(t->adam.m2);
	free(t->ids);
	free(t->text.bytes);
	check(t, tutti_comm_destroy(t->comm));
}

int main(int argc, char **argv)
{
	struct trainer t = { .o = parse(argc, argv) };
	uint64_t sum;
	int failed, differ;

	if (t.o.selftest)
		return selftest();
	if (tutti_comm_init_env(&t.comm, NULL) < 0)
		die(&t, "%s", tutti_last_error(NULL));
	t.rank = tutti_comm_rank(t.comm);
	t.ranks = tutti_comm_size(t.comm);
	set_up(&t);
	train(&t);
	failed = differ = compare_ranks(&t, &sum);
	if (t.rank == 0) {
		if (t.o.save)
			save(&t);
		if (t.o.json)
			write_json(&t, sum, !differ);
		if (t.o.compare)
			failed |= compare(&t);
		printf("held out: %.4f bits a character after %ld steps in %.1f s; parameters of all ranks %s\n", t.heldout_bits, t.o.steps, t.seconds,
		       differ ? "DIFFER" : "are equal");
	}
	tear_down(&t);
	return failed != 0;
}
