/* SPDX-License-Identifier: Apache-2.0 */
/* A stream of bytes cut into frames: as a stranger would send them, and with the tags that a rank can make. */
#include <boot/inner.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const unsigned char key[AUTH_KEY_BYTES] = "any key will do for the fuzzer";

static void read_stream(const unsigned char *p, size_t size)
{
	struct frame f;
	size_t need;

	for (uint64_t count = 0; frame_open(p, size, key, true, count, &f, &need) == TUTTI_OK; count++) {
		if (need > size || f.body + f.len > p + size)
			abort();
		p += need;
		size -= need;
	}
	if (need > frame_bytes(FRAME_PIECE + FRAME_DATA))
		abort();        /* nobody makes us wait for more */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned char *own;

	read_stream(data, size);
	if (size < FRAME_HEAD + FRAME_TAG)
		return 0;
	own = malloc(size);
	memcpy(own, data, size);
	frame_seal(own, key, true, 0, (uint32_t)le_get(data + 4, 1), size - FRAME_HEAD - FRAME_TAG);
	read_stream(own, size);
	free(own);
	return 0;
}
