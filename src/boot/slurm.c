/* SPDX-License-Identifier: Apache-2.0 */
/* Slurm's two notations, from strings alone: lists of hosts, and the tasks of each node. What is not understood is refused. */
#include <base/config.h>
#include <boot/inner.h>
#include <stdio.h>
#include <string.h>

static bool host_char(char c) { return c > ' ' && c < 127 && !strchr("[],/\\\"'", c); }

static int bad_list(const char *list)
{
	return err_set(TUTTI_ERR_CONFIG, "SLURM_STEP_NODELIST: expected a list of hosts like n[01-03,7],m1, got \"%.200s\"", list);
}

/* The first number of "[01-03,7]": returns where the bracket ends, NULL when it is none. */
static const char *first_number(const char *at, char *host, size_t cap, size_t *len)
{
	size_t digits = strspn(++at, "0123456789");

	if (!digits || !at[digits] || !strchr("-,]", at[digits]) || *len + digits >= cap)
		return NULL;
	memcpy(host + *len, at, digits);
	*len += digits;
	at += digits;
	at += strspn(at, "0123456789-,");
	return *at == ']' ? at + 1 : NULL;
}

int slurm_first_host(const char *list, char *host, size_t cap)
{
	size_t len = 0;

	for (const char *at = list; at && *at != ',' && *at;) {
		if (*at == '[') {
			at = first_number(at, host, cap, &len);
			if (!at)
				return bad_list(list);
		} else if (!host_char(*at) || len + 1 >= cap) {
			return bad_list(list);
		} else {
			host[len++] = *at++;
		}
	}
	host[len] = 0;
	return len ? TUTTI_OK : bad_list(list);
}

static int bad_tasks(const char *list)
{
	return err_set(TUTTI_ERR_CONFIG, "SLURM_STEP_TASKS_PER_NODE: expected the tasks of each node like 4(x2),3, got \"%.200s\"", list);
}

/* A number 1..MOST_RANKS at *at, which moves behind it; 0 when there is none. */
static int number(const char **at)
{
	size_t digits = strspn(*at, "0123456789");
	char text[16];
	long v;

	if (digits >= sizeof text)
		return 0;
	memcpy(text, *at, digits);
	text[digits] = 0;
	*at += digits;
	return parse_int(text, 1, MOST_RANKS, &v) ? 0 : (int)v;
}

int slurm_tasks_on(const char *list, int node, int *tasks)
{
	for (const char *at = list;; at++) {
		int n = number(&at), times = 1;

		if (n && !strncmp(at, "(x", 2)) {
			at += 2;
			times = number(&at);
			n = *at == ')' ? n : 0;
			at += n != 0;
		}
		if (!n || !times || (*at && *at != ','))
			return bad_tasks(list);
		if (node < times) {
			*tasks = n;
			return TUTTI_OK;
		}
		node -= times;
		if (!*at)
			return err_set(TUTTI_ERR_CONFIG, "SLURM_STEP_TASKS_PER_NODE: expected %d more nodes in \"%.200s\"", node + 1, list);
	}
}

int slurm_port(const char *job, const char *step)
{
	uint32_t h = 0x811c9dc5u;       /* FNV-1a: the same on every rank, and neighbours are far apart */
	char text[128];

	snprintf(text, sizeof text, "%.60s.%.60s", job, step);
	for (const char *p = text; *p; p++)
		h = (h ^ (unsigned char)*p) * 0x01000193u;
	return SLURM_PORT + (int)((h ^ h >> 16) % SLURM_BLOCKS) * STORE_PORTS;
}
