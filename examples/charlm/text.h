/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A text, and which of its characters are learned and which are held out.
 *
 *     |  block 0  |  block 1  |  ...  |  block 9  |  block 10 ...        BLOCK characters each; every tenth is held out
 *      ~~~~~ctx  ^ a sample: the character here, and the `context` characters before it, all in one block
 *
 * so that no held-out character is ever seen in training, not even as context.
 */
#ifndef CHARLM_TEXT_H
#define CHARLM_TEXT_H

#include <stddef.h>
#include <stdint.h>

struct text {
	unsigned char *bytes;   /* as read; becomes symbols 0 .. symbols-1 in text_index */
	size_t length;
	int symbols;            /* how many different bytes there are */
	int context;            /* set by text_index, as is what follows */
	size_t train, heldout;  /* how many samples */
};

#define TEXT_LARGEST ((size_t)64 << 20)
#define TEXT_FORTUNES "/usr/share/games/fortunes"

/* Read a file, or (path NULL) the fortunes. 0, or -1 with a sentence in why. bytes are the caller's to free. */
int text_read(struct text *text, const char *path, char *why, size_t cap);

/* Number the symbols and count the samples. 0, or -1 with a sentence in why when there is too little of it. */
int text_index(struct text *text, int context, char *why, size_t cap);

/* Where in bytes the k-th sample's own character is, k < train or k < heldout. */
size_t text_train_at(const struct text *text, size_t k);
size_t text_heldout_at(const struct text *text, size_t k);

#endif
