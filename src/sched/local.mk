# SPDX-License-Identifier: Apache-2.0
libtutti_core_la_SOURCES += src/sched/coll.h src/sched/sched.h src/sched/coll.c src/sched/record.c src/sched/print.c src/sched/shape.c
