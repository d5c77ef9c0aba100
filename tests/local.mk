# SPDX-License-Identifier: Apache-2.0
#
# tests/test_*.c   one Criterion program, tests/unit
# tests/sh_*.sh    shell tests of the programs as users see them; print TAP
# tests/tsan_*.c   plain C programs that print TAP, for the thread sanitizer (which Criterion does not survive)
# tests/fuzz_*.c   libFuzzer targets, built by --enable-fuzz
#
# tests/run runs them all alike, counts, and fails when nothing ran.

tests_unit_SOURCES =

# -- sources: one file a line
tests_unit_SOURCES += tests/boot_crew.c tests/boot_crew.h
tests_unit_SOURCES += tests/ranks.c tests/ranks.h
tests_unit_SOURCES += tests/transport_harness.c tests/transport_harness.h
tests_unit_SOURCES += tests/test_auth.c
tests_unit_SOURCES += tests/test_base.c
tests_unit_SOURCES += tests/test_base_config.c
tests_unit_SOURCES += tests/test_boot.c
tests_unit_SOURCES += tests/test_boot_env.c
tests_unit_SOURCES += tests/test_boot_pmi.c
tests_unit_SOURCES += tests/test_boot_tree.c
tests_unit_SOURCES += tests/test_cache.c
tests_unit_SOURCES += tests/test_calibrate.c
tests_unit_SOURCES += tests/test_collectives.c
tests_unit_SOURCES += tests/test_comm.c
tests_unit_SOURCES += tests/test_iface.c
tests_unit_SOURCES += tests/test_kernels.c
tests_unit_SOURCES += tests/test_mutants.c
tests_unit_SOURCES += tests/test_sched.c
tests_unit_SOURCES += tests/test_scene.c
tests_unit_SOURCES += tests/test_shm.c
tests_unit_SOURCES += tests/test_transport.c
tests_unit_SOURCES += tests/test_transport_fail.c
tests_unit_SOURCES += tests/test_transport_sleep.c
tests_unit_SOURCES += tests/test_transport_stream.c
tests_unit_SOURCES += tests/test_transport_tcp.c
tests_unit_SOURCES += tests/test_model.c
tests_unit_SOURCES += tests/test_plan.c
tests_unit_SOURCES += tests/test_topo.c
tests_unit_SOURCES += tests/test_topo_group.c
tests_unit_SOURCES += tests/test_topo_job.c
tests_unit_SOURCES += tests/test_topo_machine.c
tests_unit_SOURCES += tests/test_perf.c perf/data.c perf/coll.c
tests_unit_SOURCES += tests/test_faults.c
tests_unit_SOURCES += tests/test_verbs_choose.c transports/verbs/choose.c
tests_unit_SOURCES += tests/test_verify.c tests/test_wait.c
# -- end of sources

tests_unit_CPPFLAGS = $(AM_CPPFLAGS) -DTOPO_DATA='"$(abs_srcdir)/tests/topo"'
tests_unit_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_LDADD = libtutti_core.la $(CRITERION_LIBS)
tests_unit_LDFLAGS = $(AM_LDFLAGS) -no-install

# The transports' behaviour suite once more, for machines that have RDMA devices (tests/soft-roce); not run where there are none.
tests_verbs_SOURCES = tests/transport_harness.c tests/transport_harness.h tests/test_transport.c tests/test_transport_fail.c \
	tests/test_transport_sleep.c tests/test_transport_stream.c
tests_verbs_CPPFLAGS = $(AM_CPPFLAGS) -DHARNESS_VERBS
tests_verbs_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_verbs_LDADD = libtutti_core.la $(CRITERION_LIBS)
tests_verbs_LDFLAGS = $(AM_LDFLAGS) -no-install

# And over UCX, of which shared memory and TCP are everywhere: tests/sh_ucx.sh runs it.
tests_ucx_SOURCES = $(tests_verbs_SOURCES) tests/test_faults.c tests/test_ucx.c
tests_ucx_CPPFLAGS = $(AM_CPPFLAGS) -DHARNESS_UCX
tests_ucx_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_ucx_LDADD = libtutti_core.la $(CRITERION_LIBS)
tests_ucx_LDFLAGS = $(AM_LDFLAGS) -no-install

# -- one file a program, of the same name, unless said otherwise
LDADD = libtutti_core.la

TSAN_TESTS = tests/tsan_boot tests/tsan_transport tests/tsan_comm
tests_tsan_boot_SOURCES = tests/tsan_boot.c tests/boot_crew.c tests/boot_crew.h
tests_tsan_comm_SOURCES = tests/tsan_comm.c tests/ranks.c tests/ranks.h
tests_tsan_transport_SOURCES = tests/tsan_transport.c tests/transport_harness.c tests/transport_harness.h

FUZZ_TESTS = tests/fuzz_auth tests/fuzz_boot_frame tests/fuzz_costs tests/fuzz_boot_id tests/fuzz_boot_tree tests/fuzz_pmi
FUZZ_TESTS += tests/fuzz_slurm tests/fuzz_tcp_address tests/fuzz_topo
fuzz_ldflags = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_auth_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_boot_frame_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_boot_id_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_boot_tree_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_costs_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_pmi_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_slurm_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_tcp_address_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_topo_LDFLAGS = $(fuzz_ldflags)

SH_TESTS = tests/sh_checks.sh tests/sh_run.sh tests/sh_cli.sh tests/sh_examples.sh tests/sh_perf.sh tests/sh_plan.sh
SH_TESTS += tests/sh_launchers.sh tests/sh_ucx.sh tests/sh_topo.sh tests/sh_hosts.sh tests/sh_tune.sh

EXTRA_DIST += tests/run tests/tap.sh tests/fuzz.sh tests/check_floors.sh tests/check_lengths.sh $(SH_TESTS)
EXTRA_DIST += tests/hosts/hosts tests/hosts/rank tests/hosts/rsh
EXTRA_DIST += tests/soft-roce/kernel tests/soft-roce/init tests/soft-roce/guest tests/soft-roce/devices tests/soft-roce/vm tests/soft-roce/native tests/soft-roce/suite tests/soft-roce/check

# what machines look like, and what tutti must say of them
EXTRA_DIST += tests/topo/container.xml tests/topo/container.xml.txt
EXTRA_DIST += tests/topo/four-numas.xml tests/topo/four-numas.xml.txt
EXTRA_DIST += tests/topo/gpu-server.xml tests/topo/gpu-server.xml.txt
EXTRA_DIST += tests/topo/thousands.topo tests/topo/thousands.topo.txt
EXTRA_DIST += tests/topo/two-memories.xml tests/topo/two-memories.xml.txt
EXTRA_DIST += tests/topo/two-racks.topo tests/topo/two-racks.topo.txt
EXTRA_DIST += tests/topo/uneven.topo tests/topo/uneven.topo.txt
EXTRA_DIST += tests/topo/virtual.xml tests/topo/virtual.xml.txt

# what the shell tests start
tests_launched_SOURCES = tests/launched.c

EXTRA_PROGRAMS = tests/unit tests/verbs tests/ucx tests/launched $(TSAN_TESTS) $(FUZZ_TESTS)
if FUZZ
check_PROGRAMS += $(FUZZ_TESTS)
RUN_TESTS = tests/fuzz.sh
else
if TSAN
check_PROGRAMS += $(TSAN_TESTS)
RUN_TESTS = $(TSAN_TESTS)
else
if HAVE_CRITERION
check_PROGRAMS += tests/unit tests/verbs tests/ucx tests/launched $(TSAN_TESTS)
endif
RUN_TESTS = tests/unit $(TSAN_TESTS) $(SH_TESTS)
endif
endif

CLEANFILES += tests.count
# CHECK_ONLY="tests/unit" runs less; tests.count has the totals for ./dev check
check-local: $(check_PROGRAMS)
if !HAVE_CRITERION
	@echo "make check needs Criterion (Debian: libcriterion-dev), which configure did not find: install it and configure again" >&2; exit 1
endif
	@FUZZ_TESTS="$(FUZZ_TESTS)" $(SHELL) $(srcdir)/tests/run $(abs_srcdir) $(abs_builddir) $${CHECK_ONLY-$(RUN_TESTS)}
