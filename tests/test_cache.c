/* SPDX-License-Identifier: Apache-2.0 */
/* The cache: what was saved comes back, jobs of another kind get nothing, and a bad file is left alone. */
#define _GNU_SOURCE
#include <base/config.h>
#include <base/err.h>
#include <base/log.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <plan/cache.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64], folder[96];

static int drop(const char *path, const struct stat *s, int flag, struct FTW *ftw)
{
	(void)s, (void)flag, (void)ftw;
	return remove(path);
}

static void open_folder(void)
{
	log_limit(LOG_ERROR);
	snprintf(root, sizeof root, "/tmp/tutti-cache-XXXXXX");
	cr_assert(mkdtemp(root));
	snprintf(folder, sizeof folder, "%s/not/there/yet", root);
}

static void close_folder(void) { nftw(root, drop, 16, FTW_DEPTH | FTW_PHYS); }

TestSuite(cache, .init = open_folder, .fini = close_folder);

static struct costs some_costs(void)
{
	struct costs c;
	costs_default(&c);
	c.link_measured = 0.123456e-9;
	c.pair[NEAR_NODE].latency = 7e-6;
	return c;
}

static struct plan_table some_table(void)
{
	struct plan_table t = { 0 };
	const struct algo *a = algo_find(COLL_ALL_REDUCE, "ring");
	t.cell[COLL_ALL_REDUCE][0][3] = (struct plan_cell){ (uint8_t)(a - algo_table + 1), 2, 4, 17, PLAN_MEASURED, 0, 0, 1e-3f };
	return t;
}

/* How many files the folder has. */
static int files(void)
{
	DIR *d = opendir(folder);
	int n = 0;
	cr_assert(d);
	for (struct dirent *e; (e = readdir(d));)
		n += *e->d_name != '.';
	closedir(d);
	return n;
}

static mode_t mode_of(const char *path)
{
	struct stat s;
	cr_assert_eq(stat(path, &s), 0, "%s", path);
	return s.st_mode & 0777;
}

Test(cache, what_was_saved_comes_back)
{
	struct costs c = some_costs(), got = { 0 };
	struct plan_table t = some_table(), table;
	char path[256];
	cr_assert(!cache_load_costs(folder, 5, &got) && !cache_load_table(folder, 5, &table));
	cr_assert_eq(cache_save_costs(folder, 5, "a test\nof one line", &c), 0, "%s", err_last());
	cr_assert_eq(cache_save_table(folder, 5, "a test", &t), 0, "%s", err_last());
	cr_assert(cache_load_costs(folder, 5, &got));
	cr_assert_float_eq(got.link_measured, c.link_measured, 1e-16);
	cr_assert_float_eq(got.pair[NEAR_NODE].latency, 7e-6, 1e-12);
	memset(&table, 0xff, sizeof table);
	cr_assert(cache_load_table(folder, 5, &table));
	cr_assert(!memcmp(&t.cell[COLL_ALL_REDUCE][0][3], &table.cell[COLL_ALL_REDUCE][0][3], 4));
	cr_assert(!table.cell[COLL_ALL_REDUCE][0][4].algo);
	cr_assert(!cache_load_costs(folder, 6, &got) && !cache_load_table(folder, 6, &table));
	cache_path(path, sizeof path, folder, 5, CACHE_COSTS);
	cr_assert(mode_of(path) == 0600 && mode_of(folder) == 0700);
	cr_assert_eq(files(), 2);
}

Test(cache, a_folder_that_cannot_be_is_a_sentence)
{
	struct costs c = some_costs();
	char file[128];
	snprintf(file, sizeof file, "%s/file", root);
	close(open(file, O_CREAT | O_WRONLY, 0600));
	snprintf(folder, sizeof folder, "%s/file/below", root);
	cr_assert_lt(cache_save_costs(folder, 1, "", &c), 0);
	cr_assert(strstr(err_last(), "/file"), "%s", err_last());
	cr_assert(!cache_load_costs(folder, 1, &c));
}

/* ---- readers while a writer writes ------------------------------------------------------------------------------------ */

static void *write_often(void *done)
{
	struct costs c = some_costs();
	for (int i = 0; i < 200; i++) {
		c.cache = (size_t)(1 + i % 2) << 20;
		cr_assert_eq(cache_save_costs(folder, 9, "a test", &c), 0);
	}
	__atomic_store_n((int *)done, 1, __ATOMIC_RELEASE);
	return NULL;
}

Test(cache, a_file_appears_whole_or_not_at_all)
{
	struct costs c = some_costs();
	pthread_t t;
	int done = 0, loads = 0;
	cr_assert_eq(cache_save_costs(folder, 9, "a test", &c), 0);
	cr_assert_eq(pthread_create(&t, NULL, write_often, &done), 0);
	for (; !__atomic_load_n(&done, __ATOMIC_ACQUIRE); loads++)
		cr_assert(cache_load_costs(folder, 9, &c), "load %d", loads);
	pthread_join(t, NULL);
	cr_assert(loads > 0);
	cr_assert_eq(files(), 1);               /* nothing is left under another name */
}

/* ---- files that are no good --------------------------------------------------------------------------------------------- */

static char *text_of(const char *path, size_t *bytes)
{
	FILE *f = fopen(path, "r");
	char *text = calloc(1, 1 << 16);
	cr_assert(f && text);
	*bytes = fread(text, 1, (1 << 16) - 1, f);
	fclose(f);
	return text;
}

static void put(const char *path, const char *text, size_t bytes)
{
	FILE *f = fopen(path, "w");
	cr_assert(f && fwrite(text, 1, bytes, f) == bytes && !fclose(f));
}

static bool loads(enum cache_kind kind)
{
	struct costs c = { .cache = 77 };
	struct plan_table t;
	bool good = kind == CACHE_COSTS ? cache_load_costs(folder, 3, &c) : cache_load_table(folder, 3, &t);
	cr_assert(good || kind != CACHE_COSTS || c.cache == 77, "written to without success");
	return good;
}

Test(cache, damaged_files_are_left_alone)
{
	struct costs c = some_costs();
	struct plan_table t = some_table();
	cr_assert(!cache_save_costs(folder, 3, "a test", &c) && !cache_save_table(folder, 3, "a test", &t));
	for (int kind = CACHE_COSTS; kind <= CACHE_PLANS; kind++) {
		char path[256];
		size_t n;
		cache_path(path, sizeof path, folder, 3, (enum cache_kind)kind);
		char *good = text_of(path, &n), *bad = malloc(n + 1);
		cr_assert(loads((enum cache_kind)kind));
		for (size_t at = 0; at < n; at += kind == CACHE_COSTS ? 7 : 1) {        /* cut off anywhere */
			put(path, good, at);
			cr_assert(!loads((enum cache_kind)kind), "%zu bytes", at);
		}
		for (size_t at = 0; at < n; at += kind == CACHE_COSTS ? 7 : 1) {        /* a zero byte anywhere */
			memcpy(bad, good, n);
			bad[at] = 0;
			put(path, bad, n);
			cr_assert(!loads((enum cache_kind)kind), "byte %zu", at);
		}
		memcpy(bad, good, n);
		bad[8] ^= 1;                                                    /* another version's */
		put(path, bad, n);
		cr_assert(!loads((enum cache_kind)kind));
		put(path, good, n);
		cr_assert(loads((enum cache_kind)kind));
		chmod(path, 0620);                                              /* a group may write */
		cr_assert(!loads((enum cache_kind)kind));
		cr_assert(!unlink(path) && !mkfifo(path, 0600));                /* would block for ever */
		cr_assert(!loads((enum cache_kind)kind));
		cr_assert(!unlink(path) && !mkdir(path, 0700));
		cr_assert(!loads((enum cache_kind)kind));
		free(good);
		free(bad);
	}
}

Test(cache, a_file_of_another_key_or_too_long_is_left_alone)
{
	struct costs c = some_costs();
	char from[256], to[256];
	cr_assert(!cache_save_costs(folder, 3, "a test", &c));
	cache_path(from, sizeof from, folder, 3, CACHE_COSTS);
	cache_path(to, sizeof to, folder, 4, CACHE_COSTS);
	cr_assert_eq(rename(from, to), 0);
	cr_assert(!cache_load_costs(folder, 4, &c));
	cr_assert(!cache_save_costs(folder, 3, "a test", &c));
	FILE *f = fopen(from, "a");
	for (int i = 0; i < 1 << 15; i++)
		fputs("# this is a comment of 39 characters...\n", f);
	fclose(f);
	cr_assert(!cache_load_costs(folder, 3, &c));
}

/* ---- keys ---------------------------------------------------------------------------------------------------------------- */

static uint64_t key_of(const char *text, const char *network)
{
	struct topo *t;
	cr_assert_eq(topo_parse(&t, text), 0, "%s", err_last());
	uint64_t key = cache_key(t, (const char *const[NEARS]){ [NEAR_NODE] = "shm", [NEAR_NETWORK] = network });
	topo_free(t);
	return key;
}

Test(cache, jobs_of_another_kind_have_other_keys)
{
	static const char *const places[] = { "node:2 rank:4", "node:4 rank:2", "node:2 rank:3,5", "node:1 rank:8", "rank:8",
		"node:2@10Gb rank:4", "node:2@10Gb,1us rank:4", "node:2 package:2 rank:2", "node:2 core:4 rank:1", "node:2 nic:1 rank:4",
		"switch:1 node:2 rank:4", "node:2 rank:5,3" };
	enum { N = sizeof places / sizeof *places };
	uint64_t keys[N + 2] = { key_of(places[0], "verbs"), key_of(places[0], NULL) };
	for (int i = 0; i < N; i++)
		keys[i + 2] = key_of(places[i], "tcp");
	for (int i = 0; i < N + 2; i++)
		for (int j = 0; j < i; j++)
			cr_assert_neq(keys[i], keys[j], "%d and %d", i - 2, j - 2);
	cr_assert_eq(key_of(places[0], "tcp"), keys[2]);
}

/* Two hosts of the same kind, found by discovery, and two others. */
static uint64_t key_of_hosts(const char *a, const char *b, const char *nic)
{
	struct topo_record all[2] = { 0 };
	struct topo *t;
	for (int i = 0; i < 2; i++) {
		all[i] = (struct topo_record){ .magic = TOPO_RECORD_MAGIC, .nnics = 1, .machine = (uint64_t)i + 1, .package = -1,
			.numa = -1, .core = -1, .packages = 1, .numas = 1, .cores = 2 };
		snprintf(all[i].host, sizeof all[i].host, "%s", i ? b : a);
		snprintf(all[i].nic[0].name, sizeof all[i].nic[0].name, "%s", nic);
		all[i].nic[0].package = all[i].nic[0].numa = -1;
	}
	cr_assert_eq(topo_from_records(&t, all, 2, ""), 0, "%s", err_last());
	uint64_t key = cache_key(t, (const char *const[NEARS]){ [NEAR_NETWORK] = "tcp" });
	topo_free(t);
	return key;
}

Test(cache, hosts_names_do_not_count_and_devices_do)
{
	cr_assert_eq(key_of_hosts("anna", "berta", "eth0"), key_of_hosts("carla", "dora", "eth0"));
	cr_assert_neq(key_of_hosts("anna", "berta", "eth0"), key_of_hosts("anna", "berta", "mlx5_0:1"));
}

/* ---- the folder ------------------------------------------------------------------------------------------------------------ */

Test(cache, the_folder_comes_from_the_environment)
{
	struct config c = { .cache = "" };
	char path[64];
	setenv("HOME", "/home/x", 1);
	unsetenv("XDG_CACHE_HOME");
	cr_assert(config_cache(&c, path, sizeof path) && !strcmp(path, "/home/x/.cache/tutti"));
	setenv("XDG_CACHE_HOME", "relative", 1);
	cr_assert(config_cache(&c, path, sizeof path) && !strcmp(path, "/home/x/.cache/tutti"));
	setenv("XDG_CACHE_HOME", "/var/x", 1);
	cr_assert(config_cache(&c, path, sizeof path) && !strcmp(path, "/var/x/tutti"));
	cr_assert(!config_cache(&c, path, 8) && !*path);
	c.cache = "here";
	cr_assert(config_cache(&c, path, sizeof path) && !strcmp(path, "here"));
	c.cache = "none";
	cr_assert(!config_cache(&c, path, sizeof path) && !*path);
	c.cache = "";
	unsetenv("XDG_CACHE_HOME");
	unsetenv("HOME");
	cr_assert(!config_cache(&c, path, sizeof path) && !*path);
}
