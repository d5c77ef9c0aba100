/* SPDX-License-Identifier: Apache-2.0 */
/* Another rank's bytes as a tcp address: refused in words, or an endpoint that can describe itself. */
#include <base/config.h>
#include <net/transport.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct auth_key key = { .none = true };
	struct config config;
	const struct net_transport *t = net_find("tcp");
	struct net_open o = { .rank = 0, .nranks = 2, .key = &key, .config = &config };
	struct net_iface *f;
	struct net_ep *ep;
	char line[128];
	if (config_parse(&config) < 0 || t->open(&f, &o) < 0)
		abort();
	int reaches = t->reaches(f, data, size), status = t->connect(f, 1, data, size, &ep);
	if (reaches != status || (status && status != TUTTI_ERR_UNSUPPORTED))
		abort();
	if (!status && t->describe(ep, line, sizeof(line)) < 10)
		abort();
	t->close(f);
	return 0;
}
