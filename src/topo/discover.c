/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hwloc sees of a machine. The whole machine is loaded, also what this process may not use, so that all ranks number it alike;
 * then the process's own limits (cgroup, affinity) are applied. Caches are not asked for, and no component that wakes up a GPU.
 */
#define _GNU_SOURCE
#include <base/config.h>
#include <base/err.h>
#include <base/machine.h>
#include <hwloc.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <topo/inner.h>

enum { NUMAS = 256, NICS = 128, PCI_3D = 0x0302, PCI_ACCELERATOR = 0x1200, PCI_DISPLAY = 0x03, AMD = 0x1002, NVIDIA = 0x10de };

struct machine {
	const struct source *from;
	hwloc_topology_t h;
	hwloc_bitmap_t usable;
	hwloc_obj_t numa[NUMAS];        /* those that are a floor of the tree */
	int nnumas;
	struct topo_record_nic nic[NICS];
	int nnics;
	struct topo_record *r;
};

/* ---- loading ---------------------------------------------------------------------------------------------------- */

static int load(struct machine *m)
{
	static const char *const slow[] = { "opencl", "cuda", "gl", "nvml", "rsmi", "levelzero",
	                                    "x86",          /* runs on every core; the kernel knows the same */
	                                    "pci" };        /* reads names of all devices in the world; the kernel's list is enough */
	const char *xml = m->from->xml;

	if (hwloc_topology_init(&m->h)) {
		m->h = NULL;
		return err_set(TUTTI_ERR_NOMEM, "hwloc cannot start");
	}
	if (xml && hwloc_topology_set_xml(m->h, xml))
		return err_set(TUTTI_ERR_CONFIG, "%.200s: expected hwloc's XML of a machine, which this is not", xml);
	for (size_t i = 0; i < sizeof slow / sizeof *slow; i++)
		hwloc_topology_set_components(m->h, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, slow[i]);
	hwloc_topology_set_all_types_filter(m->h, HWLOC_TYPE_FILTER_KEEP_NONE);
	hwloc_topology_set_type_filter(m->h, HWLOC_OBJ_PACKAGE, HWLOC_TYPE_FILTER_KEEP_ALL);
	hwloc_topology_set_type_filter(m->h, HWLOC_OBJ_CORE, HWLOC_TYPE_FILTER_KEEP_ALL);
	hwloc_topology_set_type_filter(m->h, HWLOC_OBJ_GROUP, HWLOC_TYPE_FILTER_KEEP_STRUCTURE);        /* what NUMA nodes hang at */
	hwloc_topology_set_io_types_filter(m->h, HWLOC_TYPE_FILTER_KEEP_IMPORTANT);
	hwloc_topology_set_flags(m->h, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED);
	if (hwloc_topology_load(m->h))
		return xml ? err_set(TUTTI_ERR_CONFIG, "%.200s: expected hwloc's XML of a machine, which this is not", xml) :
			     err_set(TUTTI_ERR_SYSTEM, "hwloc cannot read this machine's topology");
	return TUTTI_OK;
}

/* Allowed by the cgroup, and by this thread's affinity when the machine is ours. */
static int find_usable(struct machine *m)
{
	hwloc_bitmap_t bound = hwloc_bitmap_alloc();

	m->usable = hwloc_bitmap_dup(hwloc_topology_get_allowed_cpuset(m->h));
	if (bound && m->usable && hwloc_topology_is_thissystem(m->h) && !hwloc_get_cpubind(m->h, bound, HWLOC_CPUBIND_THREAD) &&
	    hwloc_bitmap_intersects(bound, m->usable))
		hwloc_bitmap_and(m->usable, m->usable, bound);
	hwloc_bitmap_free(bound);
	return bound && m->usable ? TUTTI_OK : err_set(TUTTI_ERR_NOMEM, "no memory for a set of processors");
}

/* ---- places ----------------------------------------------------------------------------------------------------- */

/* The number of the package that has all of set; -1. */
static int16_t package_of(const struct machine *m, hwloc_const_bitmap_t set)
{
	hwloc_obj_t p = NULL;

	while ((p = hwloc_get_next_obj_by_type(m->h, HWLOC_OBJ_PACKAGE, p)))
		if (hwloc_bitmap_isincluded(set, p->cpuset))
			return (int16_t)p->logical_index;
	return -1;
}

static int16_t numa_of(const struct machine *m, hwloc_const_bitmap_t set)
{
	for (int i = 0; i < m->nnumas; i++)
		if (hwloc_bitmap_isincluded(set, m->numa[i]->cpuset))
			return (int16_t)m->numa[i]->logical_index;
	return -1;
}

/*
 * A NUMA node without processors (memory alone) or of several packages is no floor. Of two kinds of memory with the same processors numa_of
 * takes the first.
 */
static void find_numas(struct machine *m)
{
	bool packages = hwloc_get_nbobjs_by_type(m->h, HWLOC_OBJ_PACKAGE) > 0;
	hwloc_obj_t n = NULL;

	while ((n = hwloc_get_next_obj_by_type(m->h, HWLOC_OBJ_NUMANODE, n)) && m->nnumas < NUMAS)
		if (!hwloc_bitmap_iszero(n->cpuset) && (!packages || package_of(m, n->cpuset) >= 0))
			m->numa[m->nnumas++] = n;
}

static int find_spots(struct machine *m, struct spot **out, int *nspots)
{
	hwloc_obj_type_t type = hwloc_get_nbobjs_by_type(m->h, HWLOC_OBJ_CORE) > 0 ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
	int most = hwloc_get_nbobjs_by_type(m->h, type), n = 0;
	struct spot *s = calloc(most > 0 ? (size_t)most : 1, sizeof *s);

	if (!s)
		return err_set(TUTTI_ERR_NOMEM, "no memory for a machine of %d cores", most);
	if (most > INT16_MAX) {
		free(s);
		return err_set(TUTTI_ERR_UNSUPPORTED, "expected a machine of at most %d cores, got %d", INT16_MAX, most);
	}
	for (int i = 0; i < most; i++) {
		hwloc_obj_t c = hwloc_get_obj_by_type(m->h, type, (unsigned)i);

		if (hwloc_bitmap_intersects(c->cpuset, m->usable))
			s[n++] = (struct spot){ package_of(m, c->cpuset), numa_of(m, c->cpuset), (int16_t)i };
	}
	*out = s;
	*nspots = n;
	return TUTTI_OK;
}

/* The one number that all share, or -1; and how many there are. Cores come in order, so equal numbers are neighbours. */
static void common_number(const struct spot *s, int n, size_t field, int16_t *one, int16_t *count)
{
	int16_t last = -1;
	bool all = true;

	*count = 0;
	for (int i = 0; i < n; i++) {
		int16_t v = *(const int16_t *)((const char *)&s[i] + field);

		all &= v >= 0;
		*count = (int16_t)(*count + (v >= 0 && v != last));
		last = v;
	}
	*one = all && *count == 1 ? last : -1;
}

/* ---- devices ---------------------------------------------------------------------------------------------------- */

static void locate(const struct machine *m, hwloc_obj_t device, int16_t *package, int16_t *numa)
{
	hwloc_obj_t near = hwloc_get_non_io_ancestor_obj(m->h, device);
	bool some = near && near->cpuset && !hwloc_bitmap_iszero(near->cpuset);

	*package = some ? package_of(m, near->cpuset) : -1;
	*numa = some ? numa_of(m, near->cpuset) : -1;
}

/* The first line of SYS/class/...; "" when there is none */
static void read_sys(const struct machine *m, char *text, size_t cap, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
static void read_sys(const struct machine *m, char *text, size_t cap, const char *fmt, ...)
{
	char path[512], below[256];
	va_list args;
	FILE *f;

	*text = 0;
	if (!m->from->sys)
		return;
	va_start(args, fmt);
	vsnprintf(below, sizeof below, fmt, args);
	va_end(args);
	snprintf(path, sizeof path, "%s/class/%s", m->from->sys, below);
	if (!(f = fopen(path, "re")))
		return;
	if (!fgets(text, (int)cap, f))
		*text = 0;
	fclose(f);
	text[strcspn(text, "\n")] = 0;
}

static hwloc_obj_t pci_of(hwloc_obj_t o)
{
	while (o && o->type == HWLOC_OBJ_OS_DEVICE)
		o = o->parent;
	return o && o->type == HWLOC_OBJ_PCI_DEVICE ? o : NULL;
}

/* What its slot allows, where nothing better is known. */
static uint32_t slot_mbits(hwloc_obj_t o)
{
	hwloc_obj_t pci = pci_of(o);
	double gb = pci ? (double)pci->attr->pcidev.linkspeed : 0;

	return gb > 0 && gb < 1e5 ? (uint32_t)(gb * 8000) : 0;
}

static uint32_t mbits_of(const char *text, double unit, hwloc_obj_t o)
{
	double v = strtod(text, NULL) * unit;

	return v >= 1 && v < 1e8 ? (uint32_t)v : slot_mbits(o);
}

static void give_address(const struct machine *m, struct topo_record_nic *x, const char *name)
{
	for (int i = 0; i < m->from->nifaces && !x->family; i++) {
		const struct iface *f = &m->from->ifaces[i];
		bool v4 = f->addr.ss_family == AF_INET;

		if (strcmp(f->name, name))
			continue;
		x->family = v4 ? '4' : '6';
		x->prefix = (uint8_t)f->prefix;
		if (v4)
			memcpy(x->addr, &((const struct sockaddr_in *)&f->addr)->sin_addr, 4);
		else
			memcpy(x->addr, &((const struct sockaddr_in6 *)&f->addr)->sin6_addr, 16);
	}
}

static struct topo_record_nic *new_nic(struct machine *m, hwloc_obj_t o, const char *name)
{
	struct topo_record_nic *x = &m->nic[m->nnics];

	if (m->nnics == NICS)
		return NULL;
	m->nnics++;
	*x = (struct topo_record_nic){ .package = -1, .numa = -1 };
	snprintf(x->name, sizeof x->name, "%s", name);
	if (o)
		locate(m, o, &x->package, &x->numa);
	return x;
}

/* The Ethernet or IPoIB interface of the same card and port lends its address. */
static void borrow_address(const struct machine *m, struct topo_record_nic *x, hwloc_obj_t rdma, int port)
{
	hwloc_obj_t o = NULL, pci = pci_of(rdma);

	while (pci && (o = hwloc_get_next_osdev(m->h, o))) {
		const char *its = hwloc_obj_get_info_by_name(o, "Port");

		if (o->attr->osdev.type == HWLOC_OBJ_OSDEV_NETWORK && pci_of(o) == pci && (!its || atoi(its) == port))
			give_address(m, x, o->name);
	}
}

/* "fe80:0000:0000:0000:..." */
static void give_prefix(struct topo_record_nic *x, const char *gid)
{
	unsigned g[4];

	if (!gid || sscanf(gid, "%4x:%4x:%4x:%4x", &g[0], &g[1], &g[2], &g[3]) != 4)
		return;
	x->family = 'I';
	x->prefix = 64;
	for (int i = 0; i < 4; i++) {
		x->addr[2 * i] = (uint8_t)(g[i] >> 8);
		x->addr[2 * i + 1] = (uint8_t)g[i];
	}
}

enum { IB_ACTIVE = 4 };

/* Ports of an RDMA device, those that are active */
static int add_ports(struct machine *m, hwloc_obj_t o)
{
	int found = 0;

	for (int port = 1; port <= 16; port++) {
		char key[32], name[64], rate[32], layer[32];
		const char *state;
		struct topo_record_nic *x;

		snprintf(key, sizeof key, "Port%dState", port);
		state = hwloc_obj_get_info_by_name(o, key);
		if (!state || atoi(state) != IB_ACTIVE)
			continue;
		snprintf(name, sizeof name, "%.40s:%d", o->name, port);
		if (!(x = new_nic(m, o, name)))
			break;
		found++;
		read_sys(m, rate, sizeof rate, "infiniband/%.40s/ports/%d/rate", o->name, port);
		read_sys(m, layer, sizeof layer, "infiniband/%.40s/ports/%d/link_layer", o->name, port);
		x->mbits = mbits_of(rate, 1000, o);
		borrow_address(m, x, o, port);
		snprintf(key, sizeof key, "Port%dGID0", port);
		if (!strcmp(layer, "InfiniBand") || !x->family)
			give_prefix(x, hwloc_obj_get_info_by_name(o, key));
	}
	return found;
}

static void add_interface(struct machine *m, hwloc_obj_t o)
{
	char state[32], speed[32];
	struct topo_record_nic *x;

	read_sys(m, state, sizeof state, "net/%.40s/operstate", o->name);
	if (!strcmp(state, "down") || !(x = new_nic(m, o, o->name)))
		return;
	read_sys(m, speed, sizeof speed, "net/%.40s/speed", o->name);
	x->mbits = mbits_of(speed, 1, o);
	give_address(m, x, o->name);
}

/* Is there an RDMA device of the same card, which has been added? */
static bool has_rdma(const struct machine *m, hwloc_obj_t interface)
{
	hwloc_obj_t o = NULL, pci = pci_of(interface);

	while (pci && (o = hwloc_get_next_osdev(m->h, o)))
		if (o->attr->osdev.type == HWLOC_OBJ_OSDEV_OPENFABRICS && pci_of(o) == pci)
			for (int i = 0; i < m->nnics; i++)
				if (!strncmp(m->nic[i].name, o->name, strlen(o->name)) && m->nic[i].name[strlen(o->name)] == ':')
					return true;
	return false;
}

/* Interfaces that are no device: where there is no device that they could hide. The best address comes first. */
static void add_virtual(struct machine *m)
{
	for (int i = 0; i < m->from->nifaces && !m->nnics; i++) {
		const struct iface *f = &m->from->ifaces[i];
		char speed[32];
		struct topo_record_nic *x = f->loopback ? NULL : new_nic(m, NULL, f->name);

		if (!x)
			continue;
		read_sys(m, speed, sizeof speed, "net/%s/speed", f->name);
		x->mbits = mbits_of(speed, 1, NULL);
		give_address(m, x, f->name);
	}
}

static void find_nics(struct machine *m)
{
	hwloc_obj_t o = NULL;

	while ((o = hwloc_get_next_osdev(m->h, o)))
		if (o->attr->osdev.type == HWLOC_OBJ_OSDEV_OPENFABRICS && o->name)
			add_ports(m, o);
	while ((o = hwloc_get_next_osdev(m->h, o)))
		if (o->attr->osdev.type == HWLOC_OBJ_OSDEV_NETWORK && o->name && strcmp(o->name, "lo") && pci_of(o) && !has_rdma(m, o))
			add_interface(m, o);
	add_virtual(m);
	while (m->nnics > TOPO_RECORD_NICS) {           /* the slowest goes, of equal ones the last */
		int worst = 0;

		for (int i = 1; i < m->nnics; i++)
			if (m->nic[i].mbits <= m->nic[worst].mbits)
				worst = i;
		memmove(&m->nic[worst], &m->nic[worst + 1], (size_t)(--m->nnics - worst) * sizeof *m->nic);
	}
	memcpy(m->r->nic, m->nic, (size_t)m->nnics * sizeof *m->nic);
	m->r->nnics = (uint16_t)m->nnics;
}

/* Not the little one that draws a console. */
static bool computes(const struct hwloc_pcidev_attr_s *a)
{
	bool maker = a->vendor_id == NVIDIA || a->vendor_id == AMD;

	return a->class_id == PCI_3D || a->class_id == PCI_ACCELERATOR || (maker && a->class_id >> 8 == PCI_DISPLAY);
}

static void find_gpus(struct machine *m)
{
	hwloc_obj_t o = NULL;

	while ((o = hwloc_get_next_pcidev(m->h, o)) && m->r->ngpus < TOPO_RECORD_GPUS)
		if (computes(&o->attr->pcidev)) {
			locate(m, o, &m->r->gpu[m->r->ngpus].package, &m->r->gpu[m->r->ngpus].numa);
			m->r->ngpus++;
		}
}

/* ---- records ---------------------------------------------------------------------------------------------------- */

int discover(const struct source *from, struct topo_record *r, struct spot **spots, int *nspots)
{
	struct machine *m = calloc(1, sizeof *m);
	int status;

	if (!m)
		return err_set(TUTTI_ERR_NOMEM, "no memory to look at the machine");
	memset(r, 0, sizeof *r);
	r->magic = TOPO_RECORD_MAGIC;
	m->from = from;
	m->r = r;
	if (!(status = load(m)) && !(status = find_usable(m))) {
		find_numas(m);
		find_nics(m);
		find_gpus(m);
		status = find_spots(m, spots, nspots);
	}
	if (!status) {
		common_number(*spots, *nspots, offsetof(struct spot, package), &r->package, &r->packages);
		common_number(*spots, *nspots, offsetof(struct spot, numa), &r->numa, &r->numas);
		common_number(*spots, *nspots, offsetof(struct spot, core), &r->core, &r->cores);
	}
	hwloc_bitmap_free(m->usable);
	if (m->h)
		hwloc_topology_destroy(m->h);
	free(m);
	return status;
}

enum { IFACES = 64 };

/* list: IFACES of them. Without any address there are no subnets, no more. */
static struct source this_machine(struct iface *list)
{
	int n = iface_list("", list, IFACES);

	return (struct source){ .sys = "/sys", .ifaces = list, .nifaces = n > 0 ? n : 0 };
}

/*
 * Looking takes some 10 ms, and a process may make many communicators: what was found is kept for threads that may run on the same cores. Links that come up later
 * are not seen.
 */
static struct { pthread_mutex_t lock; bool known; cpu_set_t cores; struct topo_record record; } found = { .lock = PTHREAD_MUTEX_INITIALIZER };

static int discover_once(struct topo_record *mine)
{
	struct iface list[IFACES];
	struct spot *spots = NULL;
	cpu_set_t cores;
	int nspots, status = TUTTI_OK, blind;

	CPU_ZERO(&cores);
	blind = sched_getaffinity(0, sizeof cores, &cores);
	pthread_mutex_lock(&found.lock);
	if (!found.known || blind || !CPU_EQUAL(&cores, &found.cores)) {
		struct source from = this_machine(list);
		status = discover(&from, &found.record, &spots, &nspots);
		found.known = !status;
		found.cores = cores;
	}
	*mine = found.record;
	pthread_mutex_unlock(&found.lock);
	free(spots);
	return status;
}

int topo_discover(struct topo_record *mine)
{
	const struct config *c = config_get();
	int status = c ? discover_once(mine) : TUTTI_ERR_CONFIG;

	if (status)
		return status;
	mine->machine = machine_id(c->node);
	machine_name(c->node, mine->host, sizeof mine->host);
	return TUTTI_OK;
}

int machine_tree(struct topo **t, const struct source *from, const char *host, int nranks)
{
	struct topo_record one, *all = NULL;
	struct spot *spots = NULL;
	int nspots, status = discover(from, &one, &spots, &nspots), n = nranks ? nranks : status ? 0 : nspots;

	if (!status && (nspots < 1 || n < 1 || n > TOPO_RANKS_MAX))
		status = err_set(TUTTI_ERR_CONFIG, "%.200s: expected a machine with processors that may be used, got none",
				 from->xml ? from->xml : "this machine");
	if (!status && !(all = malloc((size_t)n * sizeof *all)))
		status = err_set(TUTTI_ERR_NOMEM, "no memory for %d ranks", n);
	snprintf(one.host, sizeof one.host, "%s", host);
	for (int i = 0; i < n && !status; i++) {
		const struct spot *s = &spots[i % nspots];

		all[i] = one;
		all[i].package = s->package;
		all[i].numa = s->numa;
		all[i].core = s->core;
	}
	if (!status)
		status = topo_from_records(t, all, n, "");
	free(all);
	free(spots);
	return status;
}

int topo_machine(struct topo **t, int nranks)
{
	const struct config *c = config_get();
	struct iface list[IFACES];
	struct source from = this_machine(list);
	char host[TOPO_RECORD_HOST];

	if (!c)
		return TUTTI_ERR_CONFIG;
	machine_name(c->node, host, sizeof host);
	return machine_tree(t, &from, host, nranks);
}
