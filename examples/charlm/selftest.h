/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CHARLM_SELFTEST_H
#define CHARLM_SELFTEST_H

/* Check the matrix product against plain loops, and the gradients against finite differences. Prints TAP; 0 when all is well. */
int selftest(void);

#endif
