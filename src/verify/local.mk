# SPDX-License-Identifier: Apache-2.0
libtutti_core_la_SOURCES += src/verify/verify.h src/verify/world.h src/verify/verify.c src/verify/shapes.c src/verify/legal.c src/verify/race.c src/verify/match.c \
	src/verify/memory.c src/verify/block.c src/verify/chaos.c
