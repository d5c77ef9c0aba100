# SPDX-License-Identifier: Apache-2.0
libtutti_core_la_SOURCES += src/algo/algo.h src/algo/rows.h src/algo/parts.h src/algo/tree.h src/algo/algo.c src/algo/parts.c src/algo/ring.c \
	src/algo/direct.c src/algo/recursive_doubling.c src/algo/tree.c src/algo/circulant.c src/algo/binomial.c src/algo/scatter_all_gather.c \
	src/algo/all_to_all.c src/algo/dissemination.c src/algo/p2p.c src/algo/hier.c
