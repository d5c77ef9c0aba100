/* SPDX-License-Identifier: Apache-2.0 */
/* A user's operator, for the kernel: what tutti_op_create was given. Stays as it is until tutti_op_free. */
#ifndef BASE_USER_OP_H
#define BASE_USER_OP_H
#include <stdbool.h>
#include <tutti/tutti.h>

struct user_op { tutti_op_fn fn; void *ctx; uint32_t id; bool commutes; };

const struct user_op *user_op(int op);          /* NULL when op is not a live user's operator */
#endif
