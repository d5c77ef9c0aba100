# SPDX-License-Identifier: Apache-2.0
libtutti_core_la_SOURCES += src/plan/choose.h src/plan/choose.c src/plan/table.h src/plan/table.c src/plan/project.h src/plan/project.c src/plan/explain.h src/plan/explain.c src/plan/cache.h src/plan/cache.c
