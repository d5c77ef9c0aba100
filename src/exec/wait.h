/* SPDX-License-Identifier: Apache-2.0 */
#ifndef EXEC_WAIT_H
#define EXEC_WAIT_H
#include <exec/engine.h>

/* The list of all engines, by which a waiting thread finds the others that it drives. */
void wait_register(struct engine *e);
void wait_unregister(struct engine *e);
#endif
