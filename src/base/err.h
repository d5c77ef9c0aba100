/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors are negative ints (enum tutti_status), returned; the sentence goes into the calling thread's buffer, once, by the first
 * function that knows it:  return err_set(TUTTI_ERR_INVALID, "root: expected 0..%d, got %d", n - 1, root);
 * Callers above pass the status on and add nothing.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H
#include <tutti/tutti.h>

#define ERR_TEXT 512    /* bytes of a sentence, with its end */

int err_set(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));  /* returns status */
int err_sys(const char *fmt, ...) __attribute__((format(printf, 1, 2)));  /* TUTTI_ERR_SYSTEM (ENOMEM: _NOMEM); appends ": " and strerror(errno) */
const char *err_last(void);                     /* this thread's last sentence; "" when none */
const char *err_name(int status);               /* "TUTTI_ERR_PEER" */
#endif
