/* SPDX-License-Identifier: Apache-2.0 */
#include <base/machine.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t hash(uint64_t h, const void *bytes, size_t n)
{
	for (const unsigned char *p = bytes; n--; p++)
		h = (h ^ *p) * 1099511628211u;
	return h;
}

uint64_t machine_id(const char *node)
{
	static const char *const apart[] = { "/proc/self/ns/net", "/proc/self/ns/user" };
	uint64_t h = 14695981039346656037u;
	char text[128] = "";
	struct stat ns;

	if (*node)
		return hash(h, node, strlen(node));
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
	if (f && !fgets(text, sizeof text, f))
		text[0] = 0;
	if (f)
		fclose(f);
	h = hash(h, text, strlen(text));
	for (size_t i = 0; i < sizeof apart / sizeof *apart; i++) {
		ns.st_ino = 0;
		if (!stat(apart[i], &ns))
			h = hash(h, &ns.st_ino, sizeof ns.st_ino);
	}
	uid_t uid = getuid();
	return hash(h, &uid, sizeof uid);
}

void machine_name(const char *node, char *text, size_t cap)
{
	char host[256] = "";

	if (!*node && gethostname(host, sizeof host - 1))
		host[0] = 0;
	snprintf(text, cap, "%s", *node ? node : host);
}
