# SPDX-License-Identifier: Apache-2.0
tutti_SOURCES += perf/perf.c perf/perf.h perf/inner.h perf/coll.c perf/data.c perf/measure.c perf/report.c perf/touch.h

# perf/versus builds itself against what is installed: ./dev versus, ./dev versus-ucx
EXTRA_DIST += perf/hosts perf/versus/versus perf/versus/common.h perf/versus/loop.h perf/versus/versus_tutti.c perf/versus/versus_mpi.c
EXTRA_DIST += perf/versus/ucx perf/versus/pair.c
