# SPDX-License-Identifier: Apache-2.0
libtutti_core_la_SOURCES += src/net/transport.h src/net/registry.c src/net/help.c src/net/module.h src/net/core.c src/net/mem.c src/net/regions.h src/net/world.h src/net/world.c
EXTRA_DIST += src/net/module.c
