# SPDX-License-Identifier: Apache-2.0
libtutti_core_la_SOURCES += src/boot/boot.h src/boot/inner.h src/boot/env.c src/boot/id.c src/boot/place.c src/boot/frame.c \
	src/boot/link.c src/boot/tree.c src/boot/gather.c src/boot/meet.c src/boot/open.c src/boot/pmi.c src/boot/pmix.c src/boot/slurm.c
