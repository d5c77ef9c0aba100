# SPDX-License-Identifier: Apache-2.0
libtutti_core_la_SOURCES += src/model/model.h src/model/inner.h src/model/open.c src/model/match.c src/model/route.c src/model/run.c src/model/costs.c src/model/trace.c
