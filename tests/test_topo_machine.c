/* SPDX-License-Identifier: Apache-2.0 */
/* Discovery: this machine under limits, and described ones with what /sys would say of their links. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <base/err.h>
#include <criterion/criterion.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <topo/inner.h>
#include <unistd.h>

/* ---- this machine ----------------------------------------------------------------------------------------------- */

static cpu_set_t mine(void)
{
	cpu_set_t set;

	cr_assert_eq(sched_getaffinity(0, sizeof set, &set), 0);
	return set;
}

/* What a process finds that may use just these. */
static struct topo_record found_by(const cpu_set_t *set)
{
	struct topo_record r = { .magic = 0 };
	int fd[2], status;
	pid_t child;

	cr_assert_eq(pipe(fd), 0);
	child = fork();
	if (!child) {
		if (!sched_setaffinity(0, sizeof *set, set) && !topo_discover(&r))
			_exit(write(fd[1], &r, sizeof r) != sizeof r);
		_exit(2);
	}
	cr_assert_eq(read(fd[0], &r, sizeof r), (ssize_t)sizeof r);
	cr_assert(waitpid(child, &status, 0) == child && !status);
	close(fd[0]);
	close(fd[1]);
	return r;
}

Test(topo_machine, limits_of_the_process_are_kept)
{
	cpu_set_t all = mine(), one;
	struct topo_record whole = found_by(&all), part;
	int16_t last = -1;

	cr_assert_eq(record_check(&whole, 0), TUTTI_OK);
	cr_assert(whole.cores >= 1 && whole.cores <= CPU_COUNT(&all));
	for (int cpu = 0, tried = 0; cpu < CPU_SETSIZE && tried < 4; cpu++) {
		if (!CPU_ISSET(cpu, &all))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		part = found_by(&one);
		cr_assert_eq(part.cores, 1);
		cr_assert_geq(part.core, last, "cores are numbered as the whole machine has them");
		cr_assert_eq(part.machine, whole.machine);
		cr_assert_str_eq(part.host, whole.host);
		cr_assert_eq(part.nnics, whole.nnics);
		cr_assert_leq(part.packages, 1);
		last = part.core;
		tried++;
	}
	cr_assert(last > 0 || whole.cores == 1, "several cores have several numbers");
	cr_assert(whole.cores == 1 || whole.core == -1);
}

Test(topo_machine, ranks_are_put_on_cores_in_turn)
{
	struct topo *t = NULL;
	int cores;

	cr_assert_eq(topo_machine(&t, 0), TUTTI_OK, "%s", err_last());
	cores = t->nranks;
	cr_assert(cores >= 1);
	topo_free(t);
	cr_assert_eq(topo_machine(&t, 3 * cores), TUTTI_OK);
	cr_assert_eq(t->nranks, 3 * cores);
	cr_assert(cores == 1 || topo_common(t, 0, 1) != topo_common(t, 0, cores));
	cr_assert_eq(t->place[topo_common(t, 0, cores)].kind, TOPO_CORE);
	topo_free(t);
}

Test(topo_machine, the_node_has_its_name)
{
	struct topo_record r;

	setenv("TUTTI_NODE", "blue", 1);
	cr_assert_eq(topo_discover(&r), TUTTI_OK);
	cr_assert_str_eq(r.host, "blue");
}

/* ---- machines of files ------------------------------------------------------------------------------------------ */

static char sys[] = "/tmp/tutti-sys-XXXXXX";

static void say(const char *file, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof path, "mkdir -p %s/class/%s && rmdir %s/class/%s", sys, file, sys, file);
	cr_assert_eq(system(path), 0);
	snprintf(path, sizeof path, "%s/class/%s", sys, file);
	f = fopen(path, "w");
	cr_assert(f && fprintf(f, "%s\n", text) > 0 && !fclose(f));
}

static struct iface address(const char *name, const char *addr, unsigned prefix, bool loopback)
{
	struct iface f = { .prefix = prefix, .loopback = loopback };
	struct sockaddr_in *in = (struct sockaddr_in *)&f.addr;

	in->sin_family = AF_INET;
	cr_assert_eq(inet_pton(AF_INET, addr, &in->sin_addr), 1);
	snprintf(f.name, sizeof f.name, "%s", name);
	return f;
}

static void found_in(const char *xml, const struct iface *ifaces, int n, struct topo_record *r)
{
	char file[512], clean[64];
	struct source from = { .xml = file, .sys = sys, .ifaces = ifaces, .nifaces = n };
	struct spot *spots = NULL;
	int nspots;

	snprintf(file, sizeof file, "%s/%s.xml", TOPO_DATA, xml);
	cr_assert_eq(discover(&from, r, &spots, &nspots), TUTTI_OK, "%s", err_last());
	free(spots);
	cr_assert_eq(record_check(r, 0), TUTTI_OK);
	snprintf(clean, sizeof clean, "rm -rf %s", sys);
	cr_assert_eq(system(clean), 0);
}

static void is_nic(const struct topo_record_nic *x, const char *name, int package, int numa, unsigned mbits, int family, int prefix)
{
	cr_expect_str_eq(x->name, name);
	cr_expect(x->package == package && x->numa == numa, "%s: %d %d", name, x->package, x->numa);
	cr_expect_eq(x->mbits, mbits, "%s: %u", name, x->mbits);
	cr_expect(x->family == family && x->prefix == prefix, "%s: %d/%d", name, x->family, x->prefix);
}

Test(topo_machine, cards_with_rdma_come_first_with_their_ports_rates)
{
	struct iface ifaces[2] = { address("ib1", "10.7.0.5", 16, false), address("eno1", "192.168.0.5", 24, false) };
	struct topo_record r;

	cr_assert_not_null(mkdtemp(sys));
	say("infiniband/mlx5_0/ports/1/rate", "400 Gb/sec (4X NDR)");
	say("infiniband/mlx5_1/ports/1/rate", "200 Gb/sec (2X NDR)");
	say("infiniband/mlx5_1/ports/1/link_layer", "Ethernet");
	say("net/eno1/operstate", "up");
	say("net/eno1/speed", "1000");
	found_in("gpu-server", ifaces, 2, &r);
	cr_assert_eq(r.nnics, 5);
	is_nic(&r.nic[0], "mlx5_0:1", 0, 0, 400000, 'I', 64);
	is_nic(&r.nic[1], "mlx5_1:1", 0, 0, 200000, '4', 16);           /* RoCE: the interface's address */
	is_nic(&r.nic[2], "mlx5_2:1", 1, 1, 504000, 'I', 64);           /* nothing is said: what the slot allows */
	is_nic(&r.nic[3], "mlx5_3:1", 1, 1, 504000, 'I', 64);
	is_nic(&r.nic[4], "eno1", 0, 0, 1000, '4', 24);
	cr_expect(r.nic[0].addr[0] == 0xfe && r.nic[0].addr[1] == 0x80 && r.nic[1].addr[1] == 7);
	cr_expect(r.ngpus == 4 && r.gpu[0].package == 0 && r.gpu[3].package == 1, "the console's is none");
	cr_expect(r.packages == 2 && r.package == -1 && r.numas == 2 && r.numa == -1 && r.cores == 8 && r.core == -1);
}

Test(topo_machine, several_ports_of_a_card_have_their_own_interfaces)
{
	struct iface ifaces[2] = { address("ens1f1", "10.7.0.5", 16, false), address("ens1f0", "10.6.0.5", 24, false) };
	struct topo_record r;

	cr_assert_not_null(mkdtemp(sys));
	found_in("four-numas", ifaces, 2, &r);
	cr_assert_eq(r.nnics, 2);
	is_nic(&r.nic[0], "mlx5_0:1", 0, 3, 126000, '4', 24);
	is_nic(&r.nic[1], "mlx5_0:2", 0, 3, 126000, '4', 16);
}

Test(topo_machine, what_is_down_is_left_out_and_virtual_ones_are_for_need)
{
	struct iface ifaces[3] = { address("lo", "127.0.0.1", 8, true), address("bond0", "10.6.0.5", 24, false), address("docker0", "172.17.0.1", 16, false) };
	struct topo_record r;

	cr_assert_not_null(mkdtemp(sys));
	say("net/eth0/operstate", "up");
	say("net/eth0/speed", "25000");
	found_in("container", ifaces, 3, &r);
	cr_assert_eq(r.nnics, 1);
	is_nic(&r.nic[0], "eth0", 0, 0, 25000, 0, 0);
	strcpy(sys + strlen(sys) - 6, "XXXXXX");
	cr_assert_not_null(mkdtemp(sys));
	say("net/eth0/operstate", "down");
	say("net/bond0/speed", "50000");
	found_in("container", ifaces, 3, &r);
	cr_assert_eq(r.nnics, 1);
	is_nic(&r.nic[0], "bond0", -1, -1, 50000, '4', 24);
}

Test(topo_machine, a_containers_limits_are_kept)
{
	struct topo_record r;

	cr_assert_not_null(mkdtemp(sys));
	found_in("container", NULL, 0, &r);
	cr_expect(r.package == 1 && r.packages == 1 && r.numa == 1 && r.numas == 1 && r.core == -1 && r.cores == 2);
}
