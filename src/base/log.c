/* SPDX-License-Identifier: Apache-2.0 */
/* A line is formatted on the stack and written with one call, so that lines of several threads and ranks do not mix. */
#include <base/log.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const level_name[] = { "error", "warning", "info", "debug" };
static atomic_int limit = LOG_WARN;
static _Thread_local int rank = -1;

void log_rank(int r)
{
	rank = r;
}

void log_limit(enum log_level level)
{
	atomic_store_explicit(&limit, (int)level, memory_order_relaxed);
}

void log_msg(enum log_level level, const char *fmt, ...)
{
	char line[1024];
	int n, room = (int)sizeof line - 1;     /* one byte is the newline's */
	va_list args;

	if ((int)level > atomic_load_explicit(&limit, memory_order_relaxed))
		return;
	n = rank < 0 ? snprintf(line, sizeof line, "tutti %s: ", level_name[level])
	             : snprintf(line, sizeof line, "tutti[rank %d] %s: ", rank, level_name[level]);
	va_start(args, fmt);
	n += vsnprintf(line + n, (size_t)(room - n), fmt, args);
	va_end(args);
	if (n > room - 1)
		n = room - 1;
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;                         /* nobody listens: there is no one to tell */
}
