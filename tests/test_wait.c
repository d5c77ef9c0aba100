/* SPDX-License-Identifier: Apache-2.0 */
/* Who moves a transport that moves only while it is called, when its own communicator has nothing in flight. */
#include <criterion/criterion.h>
#include <exec/wait.h>
#include <string.h>

static int calls;
static int count_call(struct net_iface *iface) { return calls++, iface->rank; }

static const struct net_transport counting = { .name = "counting", .progress = count_call };
static struct net_iface iface = { .t = &counting };
static struct world world = { .nranks = 2, .nifaces = 1, .ifaces = { &iface }, .used = { true } };
static struct engine engine;

static void idle_engine(bool restless)
{
	calls = 0;
	iface.restless = restless;
	engine = (struct engine){ .world = &world, .last = &engine.runs };
	wait_register(&engine);
	engine_enter(&engine);
}

Test(wait, an_idle_engine_rests)
{
	idle_engine(false);
	engine_leave(&engine);
	cr_assert_eq(engines_move(), 0);
	cr_assert_eq(calls, 0);
	wait_unregister(&engine);
}

Test(wait, a_restless_transport_is_moved_without_runs)
{
	idle_engine(true);
	engine_leave(&engine);
	cr_assert_eq(engines_move(), 1, "the wait must look again soon");
	cr_assert_eq(calls, 1);
	wait_unregister(&engine);
}

Test(wait, and_from_inside_while_its_communicator_ends)
{
	idle_engine(true);
	engines_move();
	cr_assert_eq(calls, 0, "somebody is inside");
	engine_linger(&engine);
	cr_assert_geq(engines_move(), 1);
	cr_assert_eq(calls, 1);
	engine_linger(NULL);
	engines_move();
	cr_assert_eq(calls, 1);
	engine_leave(&engine);
	wait_unregister(&engine);
}

Test(wait, one_without_endpoints_is_not_restless)
{
	world.used[0] = false;
	idle_engine(true);
	engine_leave(&engine);
	cr_assert_eq(engines_move(), 0);
	cr_assert_eq(calls, 0);
	world.used[0] = true;
	wait_unregister(&engine);
}
