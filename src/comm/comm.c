/* SPDX-License-Identifier: Apache-2.0 */
/* Birth and death of communicators. */
#include <algo/algo.h>
#include <base/clock.h>
#include <base/log.h>
#include <comm/comm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- configuration ---------------------------------------------------------------------------------------------------- */

/* An algorithm that some collective has; the others go by the rules. */
static int check_algo(const char *name)
{
	for (int c = 0; c < COLLS; c++)
		if (!*name || algo_find((enum coll)c, name))
			return TUTTI_OK;
	return err_set(TUTTI_ERR_CONFIG, "TUTTI_ALGO: expected an algorithm that `tutti plan list` shows, got \"%s\"", name);
}

/* base, overridden; the struct may be older (shorter) or newer (longer) than ours: take what both know. */
static int take_config(struct tutti_comm *c, const struct config *base, const struct tutti_config *given)
{
	struct tutti_config mine = { 0 };
	if (!base)
		return TUTTI_ERR_CONFIG;
	if (given && (given->size < sizeof(given->size) || given->size > 4096))
		return err_set(TUTTI_ERR_INVALID, "config.size: expected sizeof(struct tutti_config) (start from TUTTI_CONFIG_INIT), got %zu", given->size);
	if (given)
		memcpy(&mine, given, given->size < sizeof(mine) ? given->size : sizeof(mine));
	if (mine.channels < 0 || mine.channels > SCHED_MAX_CHANNELS)
		return err_set(TUTTI_ERR_INVALID, "config.channels: expected 0..%d, got %d", SCHED_MAX_CHANNELS, mine.channels);
	c->config = *base;
	c->config.transport = c->transport = strdup(mine.transport ? mine.transport : base->transport);
	c->config.algo = c->algo = strdup(mine.algo ? mine.algo : base->algo);
	if (!c->transport || !c->algo)
		return err_set(TUTTI_ERR_NOMEM, "no memory for a communicator");
	if (mine.timeout_ms)
		c->config.timeout_ms = mine.timeout_ms;
	if (mine.slice_bytes)
		c->config.slice = mine.slice_bytes;
	if (mine.channels)
		c->config.channels = mine.channels;
	return check_algo(c->config.algo);
}

/* ---- meeting ---------------------------------------------------------------------------------------------------------- */

struct greeting { uint64_t version, digest; struct topo_record record; };      /* then the world's blob */

static int compare(const struct tutti_comm *c, const unsigned char *all, size_t bytes)
{
	const struct greeting *mine = (const struct greeting *)(all + (size_t)c->rank * bytes);
	for (int r = 0; r < c->nranks; r++) {
		const struct greeting *g = (const struct greeting *)(all + (size_t)r * bytes);
		if (g->version != mine->version)
			return err_set(TUTTI_ERR_MISMATCH, "rank %d runs tutti %llx, rank %d runs %llx", r, (unsigned long long)g->version, c->rank,
			               (unsigned long long)mine->version);
		if (g->digest != mine->digest)
			return err_set(TUTTI_ERR_MISMATCH, "ranks %d and %d are configured differently in what affects plans (TUTTI_ALGO, TUTTI_SLICE, TUTTI_CHANNELS, TUTTI_TOPOLOGY or TUTTI_FABRIC)",
			               r, c->rank);
	}
	return TUTTI_OK;
}

/* The records, apart from what surrounds them. */
static int take_records(struct tutti_comm *c, const unsigned char *all, size_t bytes)
{
	struct topo_record *records = malloc((size_t)c->nranks * sizeof(*records));
	if (!records)
		return err_set(TUTTI_ERR_NOMEM, "no memory for the topology of %d ranks", c->nranks);
	for (int r = 0; r < c->nranks; r++)
		memcpy(&records[r], all + (size_t)r * bytes + offsetof(struct greeting, record), sizeof(*records));
	int status = scene_make(c, records);
	free(records);
	return status;
}

static int exchange(struct tutti_comm *c, int64_t deadline)
{
	size_t bytes = sizeof(struct greeting) + world_blob_size();
	unsigned char *all = calloc((size_t)c->nranks + 1, bytes), *mine = all ? all + (size_t)c->nranks * bytes : NULL;
	struct greeting g = { TUTTI_VERSION_MAJOR << 16 | TUTTI_VERSION_MINOR << 8 | TUTTI_VERSION_PATCH, config_digest(&c->config), { 0 } };
	if (!all)
		return err_set(TUTTI_ERR_NOMEM, "no memory for the addresses of %d ranks", c->nranks);
	int status = *c->config.topology ? TUTTI_OK : topo_discover(&g.record);
	memcpy(mine, &g, sizeof(g));
	if (!status)
		status = world_blob(&c->world, mine + sizeof(g));
	if (!status)
		status = boot_allgather(c->boot, mine, all, bytes, deadline);
	if (!status)
		status = compare(c, all, bytes);
	if (!status)
		status = take_records(c, all, bytes);
	for (int r = 0; !status && r < c->nranks; r++)  /* close up: the blobs alone */
		memmove(all + (size_t)r * world_blob_size(), all + (size_t)r * bytes + sizeof(g), world_blob_size());
	if (!status)
		status = world_meet(&c->world, all);
	free(all);
	return status;
}

/* The strings and the struct itself; what stands above them has been closed. */
static void comm_free(struct tutti_comm *c)
{
	while (c->registered) {
		struct tutti_mem *m = c->registered;
		c->registered = m->next;
		net_mem_free(m->region);
		free(m);
	}
	shape_free(c->shape);
	topo_free(c->topo);
	free(c->table);
	free(c->forced);
	free(c->transport);
	free(c->algo);
	free(c);
}

/* Letters between transports travel by the control tree. */
static int letter_out(void *ctx, int peer, const void *bytes, size_t len) { return boot_post(ctx, peer, bytes, len); }
static void letter_in(void *ctx, int peer, const void *bytes, size_t len) { world_letter(ctx, peer, bytes, len); }

/* From a control tree to a communicator; takes boot, and closes it on failure, after telling the others. */
static int comm_build(struct tutti_comm **comm, struct tutti_comm *c, struct boot *boot)
{
	int64_t deadline = clock_after_ms(c->config.timeout_ms);
	c->boot = boot;
	c->rank = boot_rank(boot);
	c->nranks = boot_size(boot);
	c->key = *boot_key(boot);
	log_rank(c->rank);
	int status = world_open(&c->world, c->rank, c->nranks, c->config.transport, &c->key, &c->config,
	                        (struct world_post){ letter_out, boot });
	if (!status) {
		boot_letters(boot, letter_in, &c->world);       /* from now on: the others may be ahead */
		status = exchange(c, deadline);
	}
	if (!status)
		status = scene_agree(c, deadline);
	if (!status)
		status = engine_open(&c->engine, &c->world, boot, &c->config, c->config.timeout_ms);
	if (status < 0) {
		char why[ERR_TEXT];
		snprintf(why, sizeof(why), "rank %d: %s", c->rank, err_last());
		boot_raise(boot, status, why);
		boot_letters(boot, NULL, NULL);
		world_close(&c->world);
		boot_close(boot, clock_after_ms(2000));
		comm_free(c);
		return err_set(status, "%s", why);
	}
	status = scene_calibrate(c);
	if (status < 0) {
		char why[ERR_TEXT];
		snprintf(why, sizeof(why), "%s", err_last());
		tutti_comm_abort(c);
		tutti_comm_destroy(c);
		return err_set(status, "%s", why);
	}
	*comm = c;
	return TUTTI_OK;
}

static int comm_new(struct tutti_comm **c, const struct config *base, const struct tutti_config *config)
{
	*c = calloc(1, sizeof(**c));
	int status = *c ? take_config(*c, base, config) : err_set(TUTTI_ERR_NOMEM, "no memory for a communicator");
	if (status < 0 && *c)
		comm_free(*c);
	return status;
}

static int check_ranks(int nranks, int rank)
{
	if (nranks < 1)
		return err_set(TUTTI_ERR_INVALID, "nranks: expected at least 1, got %d", nranks);
	if (rank < 0 || rank >= nranks)
		return err_set(TUTTI_ERR_INVALID, "rank: expected 0..%d, got %d", nranks - 1, rank);
	return TUTTI_OK;
}

/* id: NULL when the environment says where the ranks meet */
static int init_meet(struct tutti_comm **comm, int nranks, const struct tutti_unique_id *id, int rank, const struct tutti_config *config)
{
	struct boot_spec spec;
	struct tutti_comm *c;
	struct boot *boot;
	int status = comm_new(&c, config_get(), config);
	if (status < 0)
		return status;
	int64_t deadline = clock_after_ms(c->config.timeout_ms);
	status = id ? boot_from_id(&spec, id, nranks, rank) : boot_from_env(&spec, deadline);
	if (!status)
		status = boot_open(&boot, &spec, deadline);
	if (status < 0) {
		comm_free(c);
		return status;
	}
	return comm_build(comm, c, boot);
}

int tutti_get_unique_id(struct tutti_unique_id *id)
{
	return id ? boot_make_id(id) : err_set(TUTTI_ERR_INVALID, "id: expected a place for it, got NULL");
}

int tutti_comm_init(struct tutti_comm **comm, int nranks, const struct tutti_unique_id *id, int rank, const struct tutti_config *config)
{
	int status = check_ranks(nranks, rank);
	if (!status && (!comm || !id))
		status = err_set(TUTTI_ERR_INVALID, "%s: expected a pointer, got NULL", comm ? "id" : "comm");
	return status ? status : init_meet(comm, nranks, id, rank, config);
}

int tutti_comm_init_env(struct tutti_comm **comm, const struct tutti_config *config)
{
	return comm ? init_meet(comm, 0, NULL, 0, config) : err_set(TUTTI_ERR_INVALID, "comm: expected a pointer, got NULL");
}

int tutti_comm_init_allgather(struct tutti_comm **comm, int nranks, int rank, tutti_allgather_fn fn, void *ctx, const struct tutti_config *config)
{
	struct tutti_comm *c;
	struct boot *boot;
	int status = check_ranks(nranks, rank);
	if (!status && (!comm || !fn))
		status = err_set(TUTTI_ERR_INVALID, "%s: expected a pointer, got NULL", comm ? "fn" : "comm");
	if (!status)
		status = comm_new(&c, config_get(), config);
	if (status < 0)
		return status;
	status = boot_open_with(&boot, nranks, rank, fn, ctx, clock_after_ms(c->config.timeout_ms));
	if (status < 0) {
		comm_free(c);
		return status;
	}
	return comm_build(comm, c, boot);
}

/* The others wait for this rank in the split: failure is the parent's. */
static int split_failed(struct tutti_comm *parent, int status)
{
	char why[ERR_TEXT];
	snprintf(why, sizeof(why), "%s", err_last());
	engine_enter(&parent->engine);
	status = engine_fail(&parent->engine, status, "%s", why);
	engine_leave(&parent->engine);
	return err_set(status, "%s", parent->engine.why);
}

int tutti_comm_split(struct tutti_comm *comm, int color, int key, struct tutti_comm **out, const struct tutti_config *config)
{
	struct tutti_comm *c;
	struct boot *boot = NULL;
	if (!comm || !out)
		return err_set(TUTTI_ERR_INVALID, "%s: expected a pointer, got NULL", comm ? "out" : "comm");
	int *parents = calloc((size_t)comm->nranks, sizeof(*parents));
	int status = parents ? comm_new(&c, &comm->config, config) : err_set(TUTTI_ERR_NOMEM, "no memory for %d ranks", comm->nranks);
	if (status < 0) {
		free(parents);
		return comm_error(comm, status);
	}
	engine_enter(&comm->engine);    /* and out again: while the tree is waited for, operations in flight must move */
	status = comm->engine.status ? err_set(comm->engine.status, "%s", comm->engine.why) : TUTTI_OK;
	engine_leave(&comm->engine);
	if (!status)
		status = boot_split(&boot, comm->boot, color, key, parents, clock_after_ms(c->config.timeout_ms));
	if (status < 0)
		status = split_failed(comm, status);
	if (status < 0 || !boot) {
		comm_free(c);
		if (!status)
			*out = NULL;
	} else {
		c->split_from = comm;
		c->split_ranks = parents;
		status = comm_build(out, c, boot);
		if (!status) {
			c->split_from = NULL;
			c->split_ranks = NULL;
		}
	}
	free(parents);
	return comm_error(comm, status);
}

/* ---- death -------------------------------------------------------------------------------------------------------------- */

/* Nobody closes connections while another still needs them. */
static int all_here(struct tutti_comm *c)
{
	char *all = malloc((size_t)c->nranks), mine = 0;
	engine_linger(&c->engine);
	int status = all ? boot_allgather(c->boot, &mine, all, 1, clock_after_ms(c->config.timeout_ms)) : err_set(TUTTI_ERR_NOMEM, "no memory");
	engine_linger(NULL);
	free(all);
	return status;
}

int tutti_comm_destroy(struct tutti_comm *c)
{
	if (!c)
		return TUTTI_OK;
	engine_enter(&c->engine);
	int status = engine_wait(&c->engine, NULL, CLOCK_NEVER);
	if (!status)
		status = all_here(c);           /* moves the thread's other communicators meanwhile */
	watch_explain(c);
	request_free_all(c);
	engine_close(&c->engine);
	world_close(&c->world);
	boot_close(c->boot, clock_after_ms(c->config.timeout_ms));
	plans_free(&c->plans);
	comm_free(c);
	return status;
}

int tutti_comm_abort(struct tutti_comm *c)
{
	if (!c)
		return err_set(TUTTI_ERR_INVALID, "comm: expected a communicator, got NULL");
	atomic_store(&c->engine.abort_wanted, true);
	if (engine_try_enter(&c->engine)) {     /* else the thread inside sees it within a second */
		engine_fail(&c->engine, TUTTI_ERR_ABORTED, "rank %d called tutti_comm_abort", c->rank);
		engine_leave(&c->engine);
	}
	return TUTTI_OK;
}

/* ---- looking ------------------------------------------------------------------------------------------------------------ */

int comm_error(struct tutti_comm *c, int status)
{
	if (status < 0)
		snprintf(c->error, sizeof(c->error), "%s", err_last());
	return status;
}

int tutti_comm_rank(const struct tutti_comm *c) { return c ? c->rank : err_set(TUTTI_ERR_INVALID, "comm: expected a communicator, got NULL"); }
int tutti_comm_size(const struct tutti_comm *c) { return c ? c->nranks : err_set(TUTTI_ERR_INVALID, "comm: expected a communicator, got NULL"); }
const char *tutti_last_error(const struct tutti_comm *c) { return c && *c->error ? c->error : err_last(); }

int tutti_comm_describe(const struct tutti_comm *c, char *buf, size_t cap)
{
	if (!c || !buf || !cap)
		return err_set(TUTTI_ERR_INVALID, "%s: expected %s, got %s", c ? "buf" : "comm", c ? "room" : "a communicator", c && buf ? "0 bytes" : "NULL");
	size_t at = 0;
	buf[0] = 0;
	for (int r = 0; r < c->nranks && at < cap; r++) {
		const struct net_ep *ep = c->world.eps[r];
		char line[192] = "no connection yet";
		if (ep)
			ep->iface->t->describe(ep, line, sizeof(line));
		if (r != c->rank)
			at += (size_t)snprintf(buf + at, cap - at, "rank %d: %s\n", r, line);
	}
	if (c->slow && at < cap)
		at += (size_t)snprintf(buf + at, cap - at, "slow: %u of the calls that were timed took much longer than projected; `tutti tune` measures anew\n", c->slow);
	const struct plan_entry *p = c->plans.last;
	if (p && at < cap)
		snprintf(buf + at, cap - at, "last: %s %s, %u steps, slice %zu\n", coll_rows[p->coll].name, p->plan->sched->algo->name, p->plan->nsteps,
		         p->plan->slice);
	return TUTTI_OK;
}
