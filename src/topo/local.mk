# SPDX-License-Identifier: Apache-2.0
libtutti_core_la_SOURCES += src/topo/topo.h src/topo/inner.h src/topo/build.c src/topo/parse.c src/topo/print.c src/topo/query.c
