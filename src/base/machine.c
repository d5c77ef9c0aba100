/* SPDX-License-Identifier: Apache-2.0 */
#include <base/machine.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

uint64_t machine_id(const char *node)
{
	char text[128] = "";
	FILE *f = *node ? NULL : fopen("/proc/sys/kernel/random/boot_id", "re");
	uint64_t h = 14695981039346656037u;

	if (f && !fgets(text, sizeof text, f))
		text[0] = 0;
	if (f)
		fclose(f);
	for (const char *p = *node ? node : text; *p; p++)
		h = (h ^ (unsigned char)*p) * 1099511628211u;
	return h;
}

void machine_name(const char *node, char *text, size_t cap)
{
	char host[256] = "";

	if (!*node && gethostname(host, sizeof host - 1))
		host[0] = 0;
	snprintf(text, cap, "%s", *node ? node : host);
}
