/* SPDX-License-Identifier: Apache-2.0 */
/* What the environment and the unique id say. The configuration is read once a process, so each environment gets a process of its own. */
#include "boot_crew.h"
#include <boot/inner.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void print_line(int out, const struct boot_spec *s)
{
	dprintf(out, "%s %d/%d local %d/%d %s:%d+%d %s", s->source, s->rank, s->nranks, s->local_rank, s->local_size, s->host, s->port,
		s->ports,
	        s->key.none ? "keyless" : "key");
}

static void print_key(int out, const struct boot_spec *s)
{
	for (int i = 0; i < AUTH_KEY_BYTES; i++)
		dprintf(out, "%02x", s->key.bytes[i]);
}

/* What boot_from_env gives for these variables, printed; or "status: sentence". */
static const char *text_of(char *text, size_t cap, const char *const *vars, void (*print)(int, const struct boot_spec *))
{
	struct boot_spec s;
	int ends[2], how, rc;
	size_t len = 0;
	ssize_t n;

	cr_assert_eq(pipe(ends), 0);
	if (!fork()) {
		for (; *vars; vars++)
			putenv((char *)*vars);
		dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
		rc = boot_from_env(&s, soon());
		if (rc)
			dprintf(ends[1], "%s: %s", err_name(rc), err_last());
		else
			print(ends[1], &s);
		_exit(0);
	}
	close(ends[1]);
	while ((n = read(ends[0], text + len, cap - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = 0;
	close(ends[0]);
	cr_assert_gt(wait(&how), 0);
	return text;
}

#define SECRET "TUTTI_SECRET=correct horse battery staple"
#define OPENMPI(rank, size) "OMPI_COMM_WORLD_RANK=" rank, "OMPI_COMM_WORLD_SIZE=" size
#define STEP(rank, size) "SLURM_JOB_ID=7", "SLURM_STEP_ID=0", "SLURM_PROCID=" rank, "SLURM_STEP_NUM_TASKS=" size
#define NODES(nodes) "SLURM_STEP_NUM_NODES=2", "SLURM_STEP_NODELIST=" nodes
static const struct { const char *vars[12], *line; } good[] = {
	{ { 0 }, "alone 0/1 local -1/0 :0+0 keyless" },
	{ { "RANK=3" }, "alone 0/1 local -1/0 :0+0 keyless" },
	{ { "TUTTI_RANK=0", "TUTTI_SIZE=1" }, "TUTTI_RANK 0/1 local -1/0 :0+0 keyless" },
	{ { "TUTTI_RANK=2", "TUTTI_SIZE=4", "TUTTI_ROOT=node7:4000", SECRET }, "TUTTI_RANK 2/4 local -1/0 node7:4000+1 key" },
	{ { "TUTTI_RANK=2", "TUTTI_SIZE=4", "TUTTI_ROOT=[fd00::1]:4000", "RANK=1", "WORLD_SIZE=2" },
		"TUTTI_RANK 2/4 local -1/0 fd00::1:4000+1 keyless" },
	{ { "RANK=1", "WORLD_SIZE=4", "LOCAL_RANK=1", "LOCAL_WORLD_SIZE=2", "MASTER_ADDR=a", "MASTER_PORT=29500" },
		"torchrun 1/4 local 1/2 a:29501+16 keyless" },
	{ { "RANK=1", "WORLD_SIZE=4", "MASTER_ADDR=a", "MASTER_PORT=65535" }, "torchrun 1/4 local -1/0 a:1024+16 keyless" },
	{ { "RANK=1", "WORLD_SIZE=4", "MASTER_ADDR=a", "MASTER_PORT=1", "TUTTI_ROOT=b:2", SECRET }, "torchrun 1/4 local -1/0 b:2+1 key" },
	{ { "RANK=0", "WORLD_SIZE=1" }, "torchrun 0/1 local -1/0 :0+0 keyless" },
	{ { "RANK=0", "WORLD_SIZE=1", OPENMPI("1", "2"), STEP("1", "2") }, "torchrun 0/1 local -1/0 :0+0 keyless" },
	{ { "PMI_FD=9", "PMI_RANK=0", "PMI_SIZE=1", STEP("1", "2") }, "PMI-1 0/1 local -1/0 :0+0 keyless" },
	{ { "PMI_FD=9", "PMI_RANK=1", "PMI_SIZE=4", "MPI_LOCALRANKID=1", "MPI_LOCALNRANKS=2", "TUTTI_ROOT=b:2", SECRET },
		"PMI-1 1/4 local 1/2 b:2+1 key" },
	{ { "PMI_FD=9", "PMI_RANK=1", "PMI_SIZE=4", STEP("1", "4"), "SLURM_LOCALID=1", "SLURM_NODEID=0",
	    "SLURM_STEP_TASKS_PER_NODE=2(x2)", "TUTTI_ROOT=b:2" }, "PMI-1 1/4 local 1/2 b:2+1 keyless" },
	{ { "PMI_RANK=1", "PMI_SIZE=4" }, "alone 0/1 local -1/0 :0+0 keyless" },
	{ { OPENMPI("0", "1"), "SLURM_PROCID=0", "SLURM_NTASKS=4" }, "Open MPI 0/1 local -1/0 :0+0 keyless" },
	{ { OPENMPI("3", "4"), "OMPI_COMM_WORLD_LOCAL_RANK=1", "OMPI_COMM_WORLD_LOCAL_SIZE=2", "TUTTI_ROOT=b:2", SECRET },
		"Open MPI 3/4 local 1/2 b:2+1 key" },
	{ { "PMIX_NAMESPACE=none.such", "PMIX_RANK=3", OPENMPI("3", "4"), "TUTTI_ROOT=b:2" }, "Open MPI 3/4 local -1/0 b:2+1 keyless" },
	{ { STEP("0", "1") }, "Slurm 0/1 local -1/0 :0+0 keyless" },
	{ { STEP("3", "4"), "SLURM_STEP_NUM_NODES=1", "SLURM_LOCALID=3", "SLURM_NODEID=0", "SLURM_STEP_TASKS_PER_NODE=4" },
		"Slurm 3/4 local 3/4 127.0.0.1:32192+16 keyless" },
	{ { STEP("3", "4"), NODES("n[01-02]"), SECRET, "SLURM_LOCALID=1", "SLURM_NODEID=1", "SLURM_STEP_TASKS_PER_NODE=2(x2)" },
		"Slurm 3/4 local 1/2 n01:32192+16 key" },
	{ { STEP("3", "4"), NODES("n[01-02]"), "TUTTI_AUTH=none" }, "Slurm 3/4 local -1/0 n01:32192+16 keyless" },
	{ { STEP("3", "4"), NODES("127.0.0.[1-2]") }, "Slurm 3/4 local -1/0 127.0.0.1:32192+16 keyless" },
	{ { STEP("3", "4"), "TUTTI_ROOT=b:2", SECRET }, "Slurm 3/4 local -1/0 b:2+1 key" },
	/* a batch script, and what mpirun starts in one */
	{ { "SLURM_JOB_ID=7", "SLURM_PROCID=0", "SLURM_LOCALID=0", "SLURM_NTASKS=4" }, "alone 0/1 local -1/0 :0+0 keyless" },
};

Test(boot_env, understands)
{
	char line[1024];

	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		cr_assert_str_eq(text_of(line, sizeof line, good[i].vars, print_line), good[i].line);
}

#define CONFIG "TUTTI_ERR_CONFIG: "
static const struct { const char *vars[12], *line; } bad[] = {
	{ { "TUTTI_RANK=1" }, CONFIG "TUTTI_SIZE: expected the number of ranks, 1 or more, with TUTTI_RANK=1; got 0" },
	{ { "TUTTI_SIZE=4" }, CONFIG "TUTTI_RANK: expected 0..3 with TUTTI_SIZE=4, got -1" },
	{ { "TUTTI_RANK=4", "TUTTI_SIZE=4" }, CONFIG "TUTTI_RANK: expected 0..3 with TUTTI_SIZE=4, got 4" },
	{ { "TUTTI_RANK=0", "TUTTI_SIZE=4" },
		CONFIG "TUTTI_ROOT: expected HOST:PORT where rank 0 listens, with TUTTI_SIZE=4; it is not set" },
	{ { "TUTTI_RANK=0", "TUTTI_SIZE=4", "TUTTI_ROOT=here" }, CONFIG "TUTTI_ROOT: expected HOST:PORT or [IPV6]:PORT, got \"here\"" },
	{ { "TUTTI_RANK=0", "TUTTI_SIZE=4", "TUTTI_ROOT=::1:80" }, CONFIG "TUTTI_ROOT: expected HOST:PORT or [IPV6]:PORT, got \"::1:80\"" },
	{ { "TUTTI_RANK=0", "TUTTI_SIZE=4", "TUTTI_ROOT=a:0" }, CONFIG "TUTTI_ROOT: expected HOST:PORT or [IPV6]:PORT, got \"a:0\"" },
	{ { "TUTTI_RANK=0", "TUTTI_SIZE=4", "TUTTI_ROOT=a:65536" },
		CONFIG "TUTTI_ROOT: expected HOST:PORT or [IPV6]:PORT, got \"a:65536\"" },
	{ { "TUTTI_RANK=0", "TUTTI_SIZE=4", "TUTTI_ROOT=[]:1" }, CONFIG "TUTTI_ROOT: expected HOST:PORT or [IPV6]:PORT, got \"[]:1\"" },
	{ { "TUTTI_RANK=0", "TUTTI_SIZE=4", "TUTTI_ROOT=:1" }, CONFIG "TUTTI_ROOT: expected a host of 1..255 characters, got \":1\"" },
	{ { "RANK=4", "WORLD_SIZE=4" }, CONFIG "RANK: expected an integer 0..3, got \"4\"" },
	{ { "RANK=x", "WORLD_SIZE=4" }, CONFIG "RANK: expected an integer 0..3, got \"x\"" },
	{ { "RANK=0", "WORLD_SIZE=0" }, CONFIG "WORLD_SIZE: expected an integer 1..16777216, got \"0\"" },
	{ { "RANK=0", "WORLD_SIZE=4" }, CONFIG "MASTER_PORT: expected an integer 1..65535, but it is not set" },
	{ { "RANK=0", "WORLD_SIZE=4", "MASTER_PORT=70000" }, CONFIG "MASTER_PORT: expected an integer 1..65535, got \"70000\"" },
	{ { "RANK=0", "WORLD_SIZE=4", "MASTER_PORT=7" }, CONFIG "MASTER_ADDR: expected rank 0's host, with WORLD_SIZE=4; it is not set" },
	{ { "RANK=0", "WORLD_SIZE=4", "LOCAL_RANK=2", "LOCAL_WORLD_SIZE=2" }, CONFIG "LOCAL_RANK: expected an integer 0..1, got \"2\"" },
	{ { "PMI_FD=9", "PMI_RANK=4", "PMI_SIZE=4" }, CONFIG "PMI_RANK: expected an integer 0..3, got \"4\"" },
	{ { "PMI_FD=x", "PMI_RANK=1", "PMI_SIZE=4" }, CONFIG "PMI_FD: expected an integer 0..2147483647, got \"x\"" },
	{ { "PMI_FD=999", "PMI_RANK=1", "PMI_SIZE=4", STEP("1", "4"), NODES("n[1-2]"), SECRET },
		CONFIG "PMI_FD: expected the launcher's socket, but descriptor 999 is not open: was it closed on the way to this "
		"program?" },
	{ { "PMI_FD=0", "PMI_RANK=1", "PMI_SIZE=4" }, CONFIG "PMI_FD: expected the launcher's socket, but descriptor 0 is something else" },
	{ { OPENMPI("4", "4") }, CONFIG "OMPI_COMM_WORLD_RANK: expected an integer 0..3, got \"4\"" },
	{ { OPENMPI("1", "4"), STEP("1", "4"), NODES("n[1-2]"), SECRET },
		CONFIG "Open MPI's variables name no host: expected PMIx (libpmix.so.2), or TUTTI_ROOT=HOST:PORT where rank 0 listens and "
		"TUTTI_SECRET, equally on all 4 ranks" },
	{ { STEP("4", "4") }, CONFIG "SLURM_PROCID: expected an integer 0..3, got \"4\"" },
	{ { STEP("1", "4") }, CONFIG "SLURM_STEP_NODELIST: expected it with SLURM_STEP_NUM_TASKS=4; it is not set" },
	{ { STEP("1", "4"), NODES("n[1-"), SECRET },
		CONFIG "SLURM_STEP_NODELIST: expected a list of hosts like n[01-03,7],m1, got \"n[1-\"" },
	{ { STEP("1", "4"), NODES("n[1-2]") },
		"TUTTI_ERR_AUTH: Slurm step 7.0 is on several machines and brings no key: set TUTTI_SECRET (or TUTTI_SECRET_FILE) equally "
		"on all ranks, or use srun --mpi=pmi2, or TUTTI_AUTH=none to trust the network" },
	{ { "TUTTI_SECRET_FILE=/nonexistent/key" },
		CONFIG "TUTTI_SECRET_FILE: cannot read \"/nonexistent/key\": No such file or directory" },
};

Test(boot_env, refuses_with_what_was_expected)
{
	char line[1024];

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		cr_assert_str_eq(text_of(line, sizeof line, bad[i].vars, print_line), bad[i].line);
}

/* Whether there is a library or not: nobody is "alone" because his launcher does not answer, or another rank than it says. */
Test(boot_env, a_launcher_that_does_not_answer_is_no_launcher_of_one_rank)
{
	char line[1024];

	text_of(line, sizeof line, (const char *const[]){ "PMIX_NAMESPACE=none.such", "PMIX_RANK=0", NULL }, print_line);
	cr_assert_eq(strncmp(line, "TUTTI_ERR_UNSUPPORTED: PMIx: ", 29), 0, "%s", line);
	text_of(line, sizeof line,
		(const char *const[]){ "PMIX_NAMESPACE=none.such", "PMIX_RANK=1", OPENMPI("0", "2"), "TUTTI_ROOT=b:2", NULL }, print_line);
	cr_assert(strstr(line, "; and Open MPI says rank 0, not 1"), "%s", line);
}

Test(boot_env, hosts_of_a_nodelist)
{
	static const struct { const char *list, *host; } rows[] = {
		{ "n0", "n0" }, { "n1,n2", "n1" }, { "n[01-03,7]", "n01" }, { "n[7]", "n7" }, { "n[3,1-2],m", "n3" },
		{ "a-1-[08-10]-ib.net", "a-1-08-ib.net" },
		{ "r[0-1]n[2-3]", "r0n2" }, { "[10-11]", "10" }, { "127.0.0.[1-2]", "127.0.0.1" },
		{ "", NULL }, { ",n1", NULL }, { "n[", NULL }, { "n[]", NULL }, { "n[1", NULL }, { "n[1-2", NULL }, { "n[-1]", NULL },
		{ "n[a-b]", NULL }, { "n]", NULL }, { "n 1", NULL }, { "n[1-2[3]]", NULL }, { "n\n", NULL }, { "n/1", NULL },
		{ "n[1234567890123456]", NULL }, { "n12345678901234", "n12345678901234" }, { "n123456789012345", NULL },
	};
	char host[16];

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int rc = slurm_first_host(rows[i].list, host, sizeof host);

		cr_assert_eq(rc, rows[i].host ? TUTTI_OK : TUTTI_ERR_CONFIG, "%s: %s", rows[i].list, host);
		if (rows[i].host)
			cr_assert_str_eq(host, rows[i].host);
	}
}

Test(boot_env, tasks_of_nodes)
{
	static const struct { const char *list; int node, tasks; } rows[] = {
		{ "4", 0, 4 }, { "2(x2)", 0, 2 }, { "2(x2)", 1, 2 }, { "4(x2),3", 2, 3 }, { "1,2,3", 1, 2 },
		{ "1(x16777216),5", 16777216, 5 },
		{ "4", 1, 0 }, { "2(x2)", 2, 0 }, { "", 0, 0 }, { "x", 0, 0 }, { "0", 0, 0 }, { "2(x", 0, 0 }, { "2(x)", 0, 0 },
		{ "2(x0)", 0, 0 }, { "2(x2", 0, 0 }, { "2(y2)", 0, 0 }, { "2;3", 0, 0 }, { "99999999999999999999", 0, 0 },
		{ "16777217", 0, 0 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int tasks = 0, rc = slurm_tasks_on(rows[i].list, rows[i].node, &tasks);

		cr_assert_eq(rc, rows[i].tasks ? TUTTI_OK : TUTTI_ERR_CONFIG, "%s", rows[i].list);
		cr_assert_eq(tasks, rows[i].tasks, "%s: %d", rows[i].list, tasks);
	}
}

Test(boot_env, steps_rarely_share_ports)
{
	char job[16], step[16];
	int used[SLURM_BLOCKS] = { 0 }, most = 0;

	for (int i = 0; i < 1000; i++) {
		int block;

		snprintf(job, sizeof job, "%d", 70000 + i / 4);
		snprintf(step, sizeof step, "%d", i % 4);
		block = slurm_port(job, step) - SLURM_PORT;
		cr_assert(block >= 0 && block % STORE_PORTS == 0 && block / STORE_PORTS < SLURM_BLOCKS);
		if (++used[block / STORE_PORTS] > most)
			most = used[block / STORE_PORTS];
	}
	cr_assert_leq(most, 8, "%d of 1000 neighbouring steps at one port", most);
}

Test(boot_env, the_secret_is_the_same_as_text_and_in_a_file)
{
	char path[] = "/tmp/tutti-key-XXXXXX", file[64], text[100], same[100];
	int fd = mkstemp(path);

	snprintf(file, sizeof file, "TUTTI_SECRET_FILE=%s", path);
	cr_assert_eq(write(fd, "correct horse battery staple\n", 29), 29);
	close(fd);
	text_of(text, sizeof text, (const char *const[]){ SECRET, NULL }, print_key);
	text_of(same, sizeof same, (const char *const[]){ file, NULL }, print_key);
	unlink(path);
	cr_assert_eq(strlen(text), 2 * AUTH_KEY_BYTES, "%s", text);
	cr_assert_str_eq(text, same);
}

Test(boot_env, jobs_that_share_a_machine_have_different_keys)
{
	static const char *const vars[][6] = {
		{ "RANK=0", "WORLD_SIZE=2", "MASTER_ADDR=a", "MASTER_PORT=10" }, { "RANK=0", "WORLD_SIZE=2", "MASTER_ADDR=a",
			"MASTER_PORT=11" },
		{ "RANK=0", "WORLD_SIZE=3", "MASTER_ADDR=a", "MASTER_PORT=10" },
		{ "RANK=0", "WORLD_SIZE=2", "MASTER_ADDR=a", "MASTER_PORT=10", "TORCHELASTIC_RUN_ID=b" },
		{ "RANK=0", "WORLD_SIZE=2", "MASTER_ADDR=a", "MASTER_PORT=10", SECRET },
		{ STEP("0", "2"), "SLURM_STEP_NUM_NODES=1" }, { STEP("0", "3"), "SLURM_STEP_NUM_NODES=1" },
		{ "SLURM_JOB_ID=7", "SLURM_STEP_ID=1", "SLURM_PROCID=0", "SLURM_STEP_NUM_TASKS=2", "SLURM_STEP_NUM_NODES=1" },
		{ "SLURM_JOB_ID=8", "SLURM_STEP_ID=0", "SLURM_PROCID=0", "SLURM_STEP_NUM_TASKS=2", "SLURM_STEP_NUM_NODES=1" },
	};
	enum { JOBS = sizeof vars / sizeof *vars };
	char keys[JOBS][100];

	for (int i = 0; i < JOBS; i++) {
		text_of(keys[i], sizeof keys[i], vars[i], print_key);
		cr_assert_eq(strlen(keys[i]), 2 * AUTH_KEY_BYTES, "%s", keys[i]);
		for (int k = 0; k < i; k++)
			cr_assert_str_neq(keys[i], keys[k]);
	}
}

/* ---- the unique id ------------------------------------------------------------------------------------------ */

static void check_size(struct hand *h)
{
	int mine = boot_rank(h->b), all[CREW_MAX];

	h->status = boot_allgather(h->b, &mine, all, sizeof mine, soon());
}

Test(boot_id, ranks_meet_by_an_id_and_any_of_them_may_have_made_it)
{
	struct tutti_unique_id id;
	struct crew c = { .n = 5 };

	for (int maker = 0; maker < 5; maker += 2) {
		cr_assert_eq(boot_make_id(&id), TUTTI_OK, "%s", err_last());
		for (int i = 0; i < 5; i++) {
			int r = (maker + i) % 5;        /* the first to ask serves */

			c.hands[r] = (struct hand){ .wait_ms = 60000, .work = check_size };
			cr_assert_eq(boot_from_id(&c.hands[r].spec, &id, 5, r), TUTTI_OK);
			cr_assert_eq(c.hands[r].spec.serves, i == 0);
		}
		crew_run(&c);
		for (int r = 0; r < 5; r++)
			cr_assert_eq(c.hands[r].status, TUTTI_OK, "rank %d: %s", r, c.hands[r].said);
	}
}

Test(boot_id, a_forked_child_does_not_serve)
{
	struct tutti_unique_id id;
	struct boot_spec s;
	int how;

	cr_assert_eq(boot_make_id(&id), TUTTI_OK);
	if (!fork())
		_exit(boot_from_id(&s, &id, 2, 1) || s.serves);
	wait(&how);
	cr_assert(WIFEXITED(how) && WEXITSTATUS(how) == 0);
	cr_assert_eq(boot_from_id(&s, &id, 2, 0), TUTTI_OK);
	cr_assert(s.serves);
	close(s.listen_fd);
}

Test(boot_id, garbage_is_refused)
{
	struct tutti_unique_id id, mangled;
	struct boot_spec s = { .rank = 77 };

	memset(&mangled, 0, sizeof mangled);
	cr_assert_eq(boot_from_id(&s, &mangled, 2, 0), TUTTI_ERR_INVALID);
	cr_assert(strstr(err_last(), "unique id: expected 128 bytes made by tutti_get_unique_id"), "%s", err_last());
	cr_assert_eq(boot_make_id(&id), TUTTI_OK);
	for (size_t i = 0; i < sizeof id.bytes; i++) {
		mangled = id;
		mangled.bytes[i] ^= 1;
		cr_assert_eq(boot_from_id(&s, &mangled, 2, 0), TUTTI_ERR_INVALID, "byte %zu", i);
	}
	cr_assert_eq(s.rank, 77, "written on failure");
	cr_assert_eq(boot_from_id(&s, &id, 2, 2), TUTTI_ERR_INVALID);
	cr_assert_eq(boot_from_id(&s, &id, 2, 0), TUTTI_OK);
	close(s.listen_fd);
}
