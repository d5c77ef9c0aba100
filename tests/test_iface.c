/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <base/err.h>
#include <base/iface.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 64 };

Test(iface, nothing_wanted_lists_loopback_last)
{
	struct iface list[MOST];
	int n = iface_list("", list, MOST);
	cr_assert(n >= 1, "%s", err_last());
	for (int i = 1; i < n; i++)
		cr_assert(list[i].loopback >= list[i - 1].loopback, "%s before %s", list[i - 1].text, list[i].text);
	cr_assert(list[n - 1].loopback);
}

/* In a network namespace of its own, where the interfaces come in the wrong order. */
Test(iface, the_default_routes_comes_first_and_addresses_of_ones_own_choice_late)
{
	static const char *const make = "ip link set lo up && ip link add t0 type veth peer name t1 && ip link add t2 type veth peer name t3 && "
		"ip addr add 169.254.3.4/16 dev t0 && ip addr add 10.9.0.1/24 dev t1 && ip addr add 10.8.0.1/24 dev t2 && ip addr add 10.7.0.1/24 dev t3 && "
		"for i in t0 t1 t2 t3; do ip link set $i up; done && ip route add default via 10.7.0.9 metric 5 && ip route add default via 10.8.0.9 metric 4";
	static const char *const expected[] = { "10.8.0.1", "10.9.0.1", "10.7.0.1", "169.254.3.4", "127.0.0.1" };
	struct iface list[MOST];
	int n, k = 0;

	if (unshare(CLONE_NEWNET))
		cr_skip_test("needs root: no network namespace");
	cr_assert_eq(system(make), 0);
	n = iface_list("", list, MOST);
	for (int i = 0; i < n; i++)
		if (list[i].addr.ss_family == AF_INET) {
			cr_assert(k < 5 && !strcmp(list[i].text, expected[k]), "%d: %s", k, list[i].text);
			k++;
		}
	cr_assert_eq(k, 5);
}

Test(iface, a_name_or_a_subnet_chooses)
{
	static const char *const wants[] = { "lo", "127.0.0.0/8", "127.0.0.1/32", "127.1.2.3/9" };
	for (int i = 0; i < 4; i++) {
		struct sockaddr_storage sa;
		socklen_t len = 0;
		char text[IFACE_TEXT];
		cr_assert_eq(iface_address(wants[i], &sa, &len, text, sizeof(text)), TUTTI_OK, "%s: %s", wants[i], err_last());
		cr_assert_str_eq(text, "127.0.0.1");
		cr_assert(len == sizeof(struct sockaddr_in) && sa.ss_family == AF_INET);
		cr_assert_eq(((struct sockaddr_in *)&sa)->sin_addr.s_addr, htonl(INADDR_LOOPBACK));
	}
}

Test(iface, what_is_not_there_is_refused_with_what_is)
{
	static const char *const wants[] = { "eth77", "203.0.113.0/24", "127.0.0.0/33", "127.0.0.0/", "/8", "127.0.0/8", "127.0.0.1", "2001:db8::/129",
		"a-name-that-is-much-longer-than-any-interface-could-ever-have-on-a-machine/24" };
	for (size_t i = 0; i < sizeof(wants) / sizeof(wants[0]); i++) {
		struct iface one;
		cr_assert_eq(iface_list(wants[i], &one, 1), TUTTI_ERR_CONFIG, "%s", wants[i]);
		cr_assert(strstr(err_last(), wants[i]) && strstr(err_last(), "127.0.0.1"), "%s", err_last());
	}
}

Test(iface, nets_are_compared_to_the_bit)
{
	static const unsigned char a[4] = { 10, 0, 0x80, 1 }, b[4] = { 10, 0, 0xc0, 1 };
	static const struct { unsigned bits; bool same; } cases[] = { { 0, 1 }, { 8, 1 }, { 16, 1 }, { 17, 1 }, { 18, 0 }, { 24, 0 }, { 32, 0 } };
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cr_assert_eq(iface_same_net(a, b, cases[i].bits), cases[i].same, "%u bits", cases[i].bits);
	cr_assert(iface_same_net(a, a, 32));
}
