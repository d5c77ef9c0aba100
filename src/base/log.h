/* SPDX-License-Identifier: Apache-2.0 */
/* Lines for people on stderr: "tutti[rank 3] warning: ...". TUTTI_LOG = error, warn (default), info, debug. Never on the data path. */
#ifndef BASE_LOG_H
#define BASE_LOG_H
enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
void log_rank(int rank);                        /* this thread's rank from now on; -1: unknown, not printed */
void log_limit(enum log_level level);           /* lines above it are dropped; config_get sets it from TUTTI_LOG, until then warn */
void log_msg(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#endif
