/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "text.h"

enum { BLOCK = 2048, EVERY = 10, SMALLEST = 4 * EVERY * BLOCK };

/* Append a file to text->bytes. */
static int append(struct text *text, const char *path, char *why, size_t cap)
{
	FILE *f = fopen(path, "rb");
	struct stat st;
	unsigned char *grown;

	if (!f || fstat(fileno(f), &st) < 0) {
		snprintf(why, cap, "%s: %s", path, strerror(errno));
		goto fail;
	}
	if (!S_ISREG(st.st_mode)) {
		snprintf(why, cap, "%s: is not a regular file", path);
		goto fail;
	}
	if ((size_t)st.st_size > TEXT_LARGEST - text->length) {
		snprintf(why, cap, "%s: the text would be larger than %zu MiB", path, TEXT_LARGEST >> 20);
		goto fail;
	}
	grown = realloc(text->bytes, text->length + (size_t)st.st_size + 1);
	if (!grown) {
		snprintf(why, cap, "%s: no memory for %lld bytes", path, (long long)st.st_size);
		goto fail;
	}
	text->bytes = grown;
	text->length += fread(text->bytes + text->length, 1, (size_t)st.st_size, f);
	if (ferror(f)) {
		snprintf(why, cap, "%s: %s", path, strerror(errno));
		goto fail;
	}
	fclose(f);
	return 0;
fail:
	if (f)
		fclose(f);
	return -1;
}

/* The texts have no dot in their names: beside them lie indices (.dat) and links to them (.u8). */
static int is_fortune(const struct dirent *e)
{
	return !strchr(e->d_name, '.');
}

static int read_fortunes(struct text *text, char *why, size_t cap)
{
	struct dirent **names;
	int n = scandir(TEXT_FORTUNES, &names, is_fortune, alphasort), status = 0;

	if (n < 0) {
		snprintf(why, cap, TEXT_FORTUNES ": %s (install Debian's package fortunes, or name a text with --text FILE)", strerror(errno));
		return -1;
	}
	for (int i = 0; i < n; i++) {
		char path[512];
		struct stat st;

		snprintf(path, sizeof path, TEXT_FORTUNES "/%s", names[i]->d_name);
		if (status == 0 && stat(path, &st) == 0 && S_ISREG(st.st_mode))
			status = append(text, path, why, cap);
		free(names[i]);
	}
	free(names);
	return status;
}

int text_read(struct text *text, const char *path, char *why, size_t cap)
{
	*text = (struct text){ .bytes = NULL };
	if (path ? append(text, path, why, cap) : read_fortunes(text, why, cap)) {
		free(text->bytes);
		text->bytes = NULL;
		return -1;
	}
	return 0;
}

static int is_binary(const struct text *text, char *why, size_t cap)
{
	size_t odd = 0;

	for (size_t i = 0; i < text->length; i++) {
		unsigned char c = text->bytes[i];

		if (c == 0) {
			snprintf(why, cap, "expected a text, but byte %zu is a zero: this looks like a binary file", i);
			return 1;
		}
		odd += c < ' ' && !strchr("\t\n\r\f\b", c);
	}
	if (odd > text->length / 50) {
		snprintf(why, cap, "expected a text, but %zu of %zu bytes are control characters", odd, text->length);
		return 1;
	}
	return 0;
}

int text_index(struct text *text, int context, char *why, size_t cap)
{
	int symbol[256] = { 0 };
	size_t blocks = text->length / BLOCK, held = blocks / EVERY, fit = (size_t)(BLOCK - context);

	if (text->length < SMALLEST) {
		snprintf(why, cap, "expected a text of at least %d bytes, it has %zu", SMALLEST, text->length);
		return -1;
	}
	if (is_binary(text, why, cap))
		return -1;
	for (size_t i = 0; i < text->length; i++)
		symbol[text->bytes[i]] = 1;
	text->symbols = 0;
	for (int c = 0; c < 256; c++)
		symbol[c] = symbol[c] ? text->symbols++ : -1;
	for (size_t i = 0; i < text->length; i++)
		text->bytes[i] = (unsigned char)symbol[text->bytes[i]];
	text->context = context;
	text->train = (blocks - held) * fit;
	text->heldout = held * fit;
	return 0;
}

static size_t at(const struct text *text, size_t block, size_t k)
{
	return block * BLOCK + (size_t)text->context + k % (size_t)(BLOCK - text->context);
}

size_t text_train_at(const struct text *text, size_t k)
{
	size_t nth = k / (size_t)(BLOCK - text->context);

	return at(text, nth + nth / (EVERY - 1), k);
}

size_t text_heldout_at(const struct text *text, size_t k)
{
	size_t nth = k / (size_t)(BLOCK - text->context);

	return at(text, nth * EVERY + EVERY - 1, k);
}
