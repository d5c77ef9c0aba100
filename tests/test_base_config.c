/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration rows and the parsers of numbers. */
#include <base/config.h>
#include <base/err.h>
#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Test(parse, sizes)
{
	static const struct { const char *text; size_t value; } good[] = {
		{ "0", 0 }, { "65536", 65536 }, { "64k", 65536 }, { "64K", 65536 }, { "1M", 1 << 20 }, { "1.5G", 3u << 29 }, { "8B", 8 },
		{ "4MiB", 4 << 20 }, { "0.5k", 512 }, { "18446744073709551615", SIZE_MAX }, { "007", 7 },
	};
	static const char *const bad[] = { "", " 1", "1 ", "-1", "+1", "k", "1.5", "1.5s", "1kk", "18446744073709551616", "17179869184G",
	                                   "1.k", ".5k", "0x10", "1e3", "1.0000000001k", "\xff", "1,5k" };
	size_t v;

	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		cr_assert_eq(parse_size(good[i].text, &v), TUTTI_OK, "%s", good[i].text);
		cr_assert_eq(v, good[i].value, "%s: %zu", good[i].text, v);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		v = 42;
		cr_assert_eq(parse_size(bad[i], &v), TUTTI_ERR_INVALID, "\"%s\"", bad[i]);
		cr_assert_eq(v, 42, "stored on success only");
	}
}

Test(parse, times)
{
	static const struct { const char *text; int64_t value; } good[] = {
		{ "0", 0 }, { "250", 250 }, { "500ms", 500 }, { "30s", 30000 }, { "1.5s", 1500 }, { "5min", 300000 }, { "2h", 7200000 },
		{ "9223372036854", 9223372036854 },
	};
	static const char *const bad[] = { "", "-1", "-1s", "1.5ms", "1d", "5 min", "9223372036855", "9999999999999999999h", "s", "1m" };
	int64_t v;

	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		cr_assert_eq(parse_time_ms(good[i].text, &v), TUTTI_OK, "%s", good[i].text);
		cr_assert_eq(v, good[i].value, "%s", good[i].text);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		cr_assert_eq(parse_time_ms(bad[i], &v), TUTTI_ERR_INVALID, "\"%s\"", bad[i]);
}

Test(parse, integers)
{
	static const char *const bad[] = { "", "-", "+", "--1", "1x", " 1", "9223372036854775808", "-9223372036854775809",
	                                   "99999999999999999999", "1.0" };
	long v;

	cr_assert(!parse_int("-9223372036854775808", LONG_MIN, LONG_MAX, &v) && v == LONG_MIN);
	cr_assert(!parse_int("9223372036854775807", LONG_MIN, LONG_MAX, &v) && v == LONG_MAX);
	cr_assert(!parse_int("+8", 0, 8, &v) && v == 8);
	cr_assert(parse_int("9", 0, 8, &v) && parse_int("-1", 0, 8, &v) && v == 8);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		cr_assert_eq(parse_int(bad[i], LONG_MIN, LONG_MAX, &v), TUTTI_ERR_INVALID, "\"%s\"", bad[i]);
}

/* got is x without what stands behind the point; long double is good to 0.001 here. */
static bool cut(long double x, long double got)
{
	return x - got < 1.001L && x - got > -0.001L;
}

/* Random text over the letters that matter: whatever is taken means what strtold says, whatever is printed is taken. */
Test(parse, random_text)
{
	static const char letters[] = "0123456789.-+ kMGBsmihn";
	char text[24];
	unsigned seed = 1;
	int taken = 0;

	for (int turn = 0; turn < 300000; turn++) {
		size_t len = (size_t)rand_r(&seed) % 8, size;
		int64_t ms;
		long v;
		char *end;

		for (size_t i = 0; i < len; i++)
			text[i] = letters[(size_t)rand_r(&seed) % (i + 1 < len ? 11 : sizeof letters - 1)];
		text[len] = 0;
		if (!parse_size(text, &size)) {
			long double x = strtold(text, &end);
			long double unit = toupper(*end) == 'K' ? 1 << 10 : toupper(*end) == 'M' ? 1 << 20 : *end == 'G' ? 1 << 30 : 1;
			taken++;
			cr_assert(cut(x * unit, (long double)size), "%s", text);
		}
		if (!parse_time_ms(text, &ms)) {
			long double x = strtold(text, &end), unit = *end == 's' ? 1000 : *end == 'h' ? 3600000 : 1;
			cr_assert(cut(x * unit, (long double)ms), "%s", text);
		}
		if (!parse_int(text, -1000, 1000, &v))
			cr_assert(v == strtol(text, &end, 10) && !*end && v >= -1000 && v <= 1000, "%s", text);
	}
	cr_assert_gt(taken, 10000);
}

static void clean(void)
{
	struct config_line line;

	for (int i = 0; config_line(i, &line); i++)
		unsetenv(line.name);
}

Test(config, defaults, .init = clean)
{
	struct config c;

	cr_assert_eq(config_parse(&c), TUTTI_OK, "%s", err_last());
	cr_assert_eq(c.timeout_ms, 30 * 60 * 1000);
	cr_assert_eq(c.spin_us, -1);
	cr_assert_str_eq(c.transport, "shm,verbs,tcp");
	cr_assert_str_eq(c.isa, "");
}

Test(config, environment_wins_unless_empty, .init = clean)
{
	struct config c;

	setenv("TUTTI_SLICE", "64k", 1);
	setenv("TUTTI_ALGO", "ring", 1);
	setenv("TUTTI_TRANSPORT", "", 1);
	cr_assert_eq(config_parse(&c), TUTTI_OK);
	cr_assert_eq(c.slice, 65536);
	cr_assert_str_eq(c.algo, "ring");
	cr_assert_str_eq(c.transport, "shm,verbs,tcp");
}

Test(config, bad_values_are_named, .init = clean)
{
	static const struct { const char *name, *value, *sentence; } bad[] = {
		{ "TUTTI_CHANNELS", "x", "TUTTI_CHANNELS: expected an integer 0..8, got \"x\"" },
		{ "TUTTI_CHANNELS", "9", "TUTTI_CHANNELS: expected an integer 0..8, got \"9\"" },
		{ "TUTTI_TIMEOUT", "soon", "TUTTI_TIMEOUT: expected a time (500ms, 30s, 5min), got \"soon\"" },
		{ "TUTTI_SLICE", "-1", "TUTTI_SLICE: expected a size in bytes (65536, 64k, 1M), got \"-1\"" },
		{ "TUTTI_LOG", "war", "TUTTI_LOG: expected one of error|warn|info|debug, got \"war\"" },
		{ "TUTTI_ISA", "avx", "TUTTI_ISA: expected one of baseline|avx2|avx512, got \"avx\"" },
	};
	struct config c;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		setenv(bad[i].name, bad[i].value, 1);
		cr_assert_eq(config_parse(&c), TUTTI_ERR_CONFIG);
		cr_assert_str_eq(err_last(), bad[i].sentence);
		unsetenv(bad[i].name);
	}
}

Test(config, get_fails_each_time_with_the_sentence, .init = clean)
{
	setenv("TUTTI_YIELDS", "many", 1);
	for (int i = 0; i < 2; i++) {
		err_set(TUTTI_ERR_PEER, "other");
		cr_assert_null(config_get());
		cr_assert(strstr(err_last(), "TUTTI_YIELDS: expected"), "%s", err_last());
		unsetenv("TUTTI_YIELDS");
	}
}

Test(config, unknown_names_are_warned_about_once, .init = clean)
{
	char text[4096];
	int fd[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	setenv("TUTTI_CHANELS", "2", 1);
	cr_assert_eq(pipe(fd), 0);
	dup2(fd[1], STDERR_FILENO);
	cr_assert_not_null(config_get());
	cr_assert_eq(config_get(), config_get());
	dup2(saved, STDERR_FILENO);
	close(fd[1]);
	n = read(fd[0], text, sizeof text - 1);
	cr_assert_gt(n, 0);
	text[n] = 0;
	cr_assert_str_eq(text, "tutti warning: TUTTI_CHANELS is no variable of tutti; did you mean TUTTI_CHANNELS?\n");
}

Test(config, digest_is_of_what_affects_plans, .init = clean)
{
	struct config c;
	uint64_t base, other;

	config_parse(&c);
	base = config_digest(&c);
	c.spin_us = 7;
	c.log = "debug";
	cr_assert_eq(config_digest(&c), base);
	c.slice = 4096;
	other = config_digest(&c);
	cr_assert_neq(other, base);
	setenv("TUTTI_SLICE", "4k", 1);
	config_parse(&c);
	cr_assert_eq(config_digest(&c), other, "what counts is the value, not how it is written");
	c.algo = "ring";
	cr_assert_neq(config_digest(&c), other);
}

Test(config, lines_show_the_source_and_hide_the_secret, .init = clean)
{
	struct config_line line;
	int rows = 0;

	setenv("TUTTI_SECRET", "correct horse battery staple", 1);
	setenv("TUTTI_SLICE", "64k", 1);
	for (int i = 0; config_line(i, &line); i++, rows++) {
		bool set = !strcmp(line.name, "TUTTI_SECRET") || !strcmp(line.name, "TUTTI_SLICE");

		cr_assert(*line.help && !strncmp(line.name, "TUTTI_", 6));
		cr_assert_str_eq(line.from, set ? "environment" : "default");
		cr_assert_str_eq(line.value, !set ? line.dflt : strcmp(line.name, "TUTTI_SLICE") ? "(set)" : "64k");
	}
	cr_assert_gt(rows, 10);
	cr_assert_eq(config_line(-1, &line), 0);
}
