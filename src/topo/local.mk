# SPDX-License-Identifier: Apache-2.0
libtutti_core_la_SOURCES += src/topo/topo.h src/topo/inner.h src/topo/build.c src/topo/discover.c src/topo/fabric.c src/topo/file.c src/topo/group.c \
	src/topo/parse.c src/topo/print.c src/topo/query.c src/topo/record.c src/topo/svg.c
