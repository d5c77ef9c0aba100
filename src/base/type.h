/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data types, operators and the one reduction kernel.
 *
 *      dst[i] = src[0][i] (op) src[1][i] (op) ... (op) src[k-1][i]          one pass: k reads, one write
 *
 * Variants per instruction set are compiled from the same source and chosen at run time; every one equals plain C bit for bit
 * (tests/kernels). What NaN, zeros, denormals, rounding and overflow do stands in tutti.h.
 */
#ifndef BASE_TYPE_H
#define BASE_TYPE_H
#include <stdbool.h>
#include <stddef.h>
#include <tutti/tutti.h>

/*      X(NAME, name, C storage, bytes, integer?) in the order of enum tutti_type */
#define TYPE_ROWS(X) \
	X(INT8, int8, int8_t, 1, 1)       X(UINT8, uint8, uint8_t, 1, 1) \
	X(INT16, int16, int16_t, 2, 1)    X(UINT16, uint16, uint16_t, 2, 1) \
	X(INT32, int32, int32_t, 4, 1)    X(UINT32, uint32, uint32_t, 4, 1) \
	X(INT64, int64, int64_t, 8, 1)    X(UINT64, uint64, uint64_t, 8, 1) \
	X(FLOAT16, float16, uint16_t, 2, 0) X(BFLOAT16, bfloat16, uint16_t, 2, 0) \
	X(FLOAT32, float32, float, 4, 0)  X(FLOAT64, float64, double, 8, 0)

/*      X(NAME, name, integers only?) in the order of the public enum */
#define OP_ROWS(X) \
	X(SUM, sum, 0) X(PROD, prod, 0) X(MIN, min, 0) X(MAX, max, 0) X(AVG, avg, 0) X(BAND, band, 1) X(BOR, bor, 1) X(BXOR, bxor, 1)

#define TYPE_MAX_BYTES 8

bool type_valid(int type);
size_t type_bytes(int type);                            /* 0 when not a type */
int type_from_name(const char *name);                   /* also nccl-tests' names: float, half, double, bfloat16, int, uint8 ...; -1 */
bool op_legal(int op, int type);                        /* is op known (or a live user's), and defined for type? */
bool op_commutes(int op);
int op_from_name(const char *name);                     /* -1 when not a name */
uint32_t op_user_id(int op);                            /* 0 for the library's own */

/*
 * The kernel. k >= 1 sources; dst may be equal to any source (same address), never overlap one partly. Any alignment, any n.
 * scale > 1 divides the result (avg's last step); op TUTTI_AVG reduces as TUTTI_SUM. k == 1 copies (and scales).
 * Half types fold all k in float32 and round once. A user's operator is called pairwise, left to right, through dst
 * (and correctly when dst is one of the sources).
 */
void reduce_k(void *dst, const void *const *src, int k, size_t n, int type, int op, int scale);

/* The same in plain C, element by element: what the others are tested against. */
void reduce_k_plain(void *dst, const void *const *src, int k, size_t n, int type, int op, int scale);

/*
 * Copy n bytes that do not overlap. As memcpy, but long copies go through vector registers: libc's `rep movsb` is several times slower on some
 * processors when another core holds the lines, which is what shared memory is about.
 */
void copy_bytes(void *dst, const void *src, size_t n);

const char *reduce_isa(void);                           /* "avx512", "avx2" or "baseline": what reduce_k uses */
#endif
