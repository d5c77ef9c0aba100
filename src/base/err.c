/* SPDX-License-Identifier: Apache-2.0 */
/* The last sentence belongs to the thread that set it: a buffer each, no lock. A status, its name and its fixed sentence are one row. */
#include <base/err.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define STATUS_ROWS(X) \
	X(OK,              "success") \
	X(ERR_INVALID,     "an argument is not legal") \
	X(ERR_CONFIG,      "a configuration value is not legal") \
	X(ERR_NOMEM,       "out of memory") \
	X(ERR_SYSTEM,      "a system call failed") \
	X(ERR_TIMEOUT,     "the deadline passed") \
	X(ERR_PEER,        "a rank died, or the connection to it was lost") \
	X(ERR_MISMATCH,    "ranks disagree about the operation or the configuration") \
	X(ERR_AUTH,        "a stranger, a wrong key, or no key where one is needed") \
	X(ERR_ABORTED,     "the communicator was aborted") \
	X(ERR_UNSUPPORTED, "not possible here") \
	X(ERR_INTERNAL,    "a defect of the library") \
	X(PENDING,         "not complete yet")

static const struct { int status; const char *name, *sentence; } rows[] = {
#define X(name, sentence) { TUTTI_##name, "TUTTI_" #name, sentence },
	STATUS_ROWS(X)
#undef X
};

static _Thread_local char last[ERR_TEXT];

/* Arguments may point into `last` itself (a sentence that quotes the one before), hence the copy. */
static void set(const char *fmt, va_list args, const char *suffix)
{
	char text[ERR_TEXT];
	int n = vsnprintf(text, sizeof text, fmt, args);

	if (n >= 0 && (size_t)n < sizeof text && suffix)
		snprintf(text + n, sizeof text - (size_t)n, ": %s", suffix);
	memcpy(last, text, sizeof last);
}

int err_set(int status, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	set(fmt, args, NULL);
	va_end(args);
	return status;
}

int err_sys(const char *fmt, ...)
{
	int code = errno;
	char reason[128];
	va_list args;

	if (strerror_r(code, reason, sizeof reason))
		snprintf(reason, sizeof reason, "error %d", code);
	va_start(args, fmt);
	set(fmt, args, reason);
	va_end(args);
	return code == ENOMEM ? TUTTI_ERR_NOMEM : TUTTI_ERR_SYSTEM;
}

const char *err_last(void)
{
	return last;
}

const char *err_name(int status)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (rows[i].status == status)
			return rows[i].name;
	return "unknown status";
}

const char *tutti_strerror(int status)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (rows[i].status == status)
			return rows[i].sentence;
	return "unknown status";
}
