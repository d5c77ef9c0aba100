/* SPDX-License-Identifier: Apache-2.0 */
/* Which cases there are, and the life of a run: communicator, memory, rows. */
#include <base/err.h>
#include <base/type.h>
#include <perf/inner.h>
#include <stdlib.h>
#include <string.h>

static const char all[] = "all";

static int refuse(const char *option, const char *expected, const char *got)
{
	return err_set(TUTTI_ERR_INVALID, "%s: expected %s, got \"%s\"", option, expected, got);
}

int perf_check(const struct perf_options *o)
{
	int type = type_from_name(o->types), op = op_from_name(o->ops);

	if (!o->coll || !perf_coll_find(o->coll))
		return refuse("COLLECTIVE", "all_reduce, reduce_scatter, all_gather, broadcast, reduce, gather, scatter, all_to_all, barrier or sendrecv",
		              o->coll ? o->coll : "");
	if (type < 0 && strcmp(o->types, all))
		return refuse("--datatype", "a type (float32, bfloat16, int8, ...) or all", o->types);
	if (op < 0 && strcmp(o->ops, all))
		return refuse("--op", "sum, prod, min, max, avg, band, bor, bxor or all", o->ops);
	if (type >= 0 && op >= 0 && perf_coll_find(o->coll)->reduces && !op_legal(op, type))
		return refuse("--op", "an operator that the type has", o->ops);
	if (strcmp(o->memory, "shared") && strcmp(o->memory, "private"))
		return refuse("--memory", "shared or private", o->memory);
	if (o->max && o->max < o->min)
		return err_set(TUTTI_ERR_INVALID, "--maxbytes: expected at least --minbytes, %zu, got %zu", o->min, o->max);
	if (o->factor == 1 && !o->step && o->max > o->min)
		return refuse("--stepbytes", "a size, or -f", "0");
	return TUTTI_OK;
}

/* ---- cases -------------------------------------------------------------------------------------------------------- */

static int run_case(struct perf *p, const struct perf_case *k)
{
	struct perf_result out, in;
	int status = perf_measure(p, k, false, &out);

	if (!status)
		status = perf_measure(p, k, true, &in);
	if (status)
		return status;
	p->wrong += out.wrong > 0 ? out.wrong : 0;
	p->wrong += in.wrong > 0 ? in.wrong : 0;
	report_row(p, k, &out, &in);
	return TUTTI_OK;
}

static int run_roots(struct perf *p, struct perf_case *k)
{
	int status = TUTTI_OK;

	if (!p->coll->rooted || p->o->root >= 0) {
		k->root = p->coll->rooted ? p->o->root : 0;
		return run_case(p, k);
	}
	for (k->root = 0; k->root < p->nranks && !status; k->root++)
		status = run_case(p, k);
	return status;
}

static int run_ops(struct perf *p, struct perf_case *k)
{
	int one = op_from_name(p->o->ops), status = TUTTI_OK;

	if (!p->coll->reduces) {
		k->op = TUTTI_SUM;
		return run_roots(p, k);
	}
	for (k->op = 0; k->op < TUTTI_OPS && !status; k->op++)
		if ((one < 0 || k->op == one) && op_legal(k->op, k->type))
			status = run_roots(p, k);
	return status;
}

/* The size asked for, as whole elements (of whole blocks) that fit into it */
static int run_size(struct perf *p, size_t size, int type)
{
	size_t blocks = p->coll->send_n || p->coll->recv_n ? (size_t)p->nranks : 1;
	struct perf_case k = { .type = type, .count = size / type_bytes(type) / blocks };

	k.size = k.count * blocks * type_bytes(type);
	return run_ops(p, &k);
}

static int run_type(struct perf *p, int type)
{
	const struct perf_options *o = p->o;
	int status = run_size(p, o->min, type);

	for (size_t size = o->min, next; !status; size = next) {
		if (o->factor > 1 ? __builtin_mul_overflow(size, (size_t)o->factor, &next) : __builtin_add_overflow(size, o->step, &next))
			break;
		if (next <= size || next > o->max)
			break;
		status = run_size(p, next, type);
	}
	return status;
}

static int run_types(struct perf *p)
{
	int one = type_from_name(p->o->types), status = TUTTI_OK;

	if (p->coll->factor == FACTOR_NONE)
		return run_size(p, 0, TUTTI_UINT8);
	for (int type = 0; type < TUTTI_TYPES && !status; type++)
		if (one < 0 || type == one)
			status = run_type(p, type);
	return status;
}

/* ---- the run ------------------------------------------------------------------------------------------------------- */

static int buffer(const struct perf *p, size_t bytes, char **buf)
{
	void *ptr = NULL;
	int status = TUTTI_OK;

	if (!strcmp(p->o->memory, "shared"))
		status = tutti_mem_alloc(&ptr, bytes);
	else if (!(ptr = calloc(1, bytes)))
		status = err_set(TUTTI_ERR_NOMEM, "no memory for %zu bytes", bytes);
	*buf = ptr;
	return status;
}

static int open_buffers(struct perf *p)
{
	size_t bytes, n = (size_t)p->o->agg;
	int status;

	p->room = (p->o->max / 4096 + 1) * 4096;
	if (p->o->max > SIZE_MAX - 4096 || __builtin_mul_overflow(p->room, n, &bytes))
		return err_set(TUTTI_ERR_INVALID, "--maxbytes: %zu times %d are more than memory can hold", p->o->max, p->o->agg);
	status = buffer(p, bytes, &p->send);
	if (!status)
		status = buffer(p, bytes, &p->recv);
	p->reqs = calloc(n * PERF_REQUESTS, sizeof *p->reqs);
	p->times = calloc((size_t)p->o->iters, sizeof *p->times);
	if (!status && (!p->reqs || !p->times))
		status = err_set(TUTTI_ERR_NOMEM, "no memory for %d iterations", p->o->iters);
	return status;
}

static void close_buffers(struct perf *p)
{
	bool shared = !strcmp(p->o->memory, "shared");

	shared ? (void)tutti_mem_free(p->send) : free(p->send);
	shared ? (void)tutti_mem_free(p->recv) : free(p->recv);
	free(p->reqs);
	free(p->times);
}

static int open_comm(struct perf *p)
{
	struct tutti_config c = TUTTI_CONFIG_INIT;
	int status;

	c.transport = p->o->transport;
	c.algo = p->o->algo;
	c.slice_bytes = p->o->slice;
	c.channels = p->o->channels;
	status = tutti_comm_init_env(&p->comm, &c);
	if (status)
		return status;
	p->rank = tutti_comm_rank(p->comm);
	p->nranks = tutti_comm_size(p->comm);
	if (p->coll->rooted && p->o->root >= p->nranks)
		return err_set(TUTTI_ERR_INVALID, "--root: expected -1..%d, got %d", p->nranks - 1, p->o->root);
	if (p->nranks == 1 && p->coll->from == FROM_LEFT)
		return err_set(TUTTI_ERR_INVALID, "%s: expected at least 2 ranks, got 1", p->coll->name);
	return TUTTI_OK;
}

/* Only rank 0 writes files: the others learn whether it can. */
static int agree(struct perf *p, int bad)
{
	int32_t any = bad;
	int status = tutti_all_reduce(&any, &any, 1, TUTTI_INT32, TUTTI_MAX, p->comm);

	return status ? status : any;
}

/* Every rank refuses bad arguments in the same words: one is enough. */
static void say(const struct perf *p, int status)
{
	const char *own = p->comm ? tutti_last_error(p->comm) : "";

	if (status < 0 && !p->comm)     /* which rank it is, only the sentence may know */
		fprintf(stderr, "tutti perf: %s\n", tutti_last_error(NULL));
	else if (status < 0 && (status != TUTTI_ERR_INVALID || !p->rank))
		fprintf(stderr, "tutti perf: rank %d: %s\n", p->rank, *own ? own : tutti_last_error(NULL));
}

int perf_run(const struct perf_options *options)
{
	struct perf_options o = *options;
	struct perf p = { .o = &o, .coll = perf_coll_find(o.coll) };
	int status;

	if (p.coll->factor == FACTOR_NONE)
		o.min = o.max = 0;
	o.max = o.max ? o.max : o.min;
	status = open_comm(&p);
	if (!status)
		status = open_buffers(&p);
	if (!status)
		status = agree(&p, report_open(&p) < 0);
	if (!status) {
		status = run_types(&p);
		if (report_close(&p, status))
			p.wrong++;
	}
	say(&p, status);
	if (p.comm && status < 0 && status != TUTTI_ERR_INVALID)
		tutti_comm_abort(p.comm);
	close_buffers(&p);
	tutti_comm_destroy(p.comm);
	return status || p.wrong ? EXIT_FAILURE : EXIT_SUCCESS;
}
