# SPDX-License-Identifier: Apache-2.0
tutti_SOURCES += perf/perf.c perf/perf.h perf/inner.h perf/coll.c perf/data.c perf/measure.c perf/report.c perf/touch.h
