/* SPDX-License-Identifier: Apache-2.0 */
/* 128 bytes that somebody calls a unique id; then with magic, version and check made right, so that what lies behind them is reached. */
#include <boot/inner.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_id(const struct tutti_unique_id *id)
{
	struct boot_spec s;
	int rc = boot_from_id(&s, id, 4, 1);

	if (rc && rc != TUTTI_ERR_INVALID)
		abort();
	if (!rc && (!*s.host || strlen(s.host) >= sizeof s.host || s.port < 1 || s.port > 65535 || s.serves))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tutti_unique_id id = { { 0 } };

	memcpy(id.bytes, data, size < sizeof id.bytes ? size : sizeof id.bytes);
	read_id(&id);
	memcpy(id.bytes, "tuttiid\n\1\0\0", 12);
	crypto_generichash(id.bytes + 96, 32, id.bytes, 96, NULL, 0);
	read_id(&id);
	return 0;
}
