# SPDX-License-Identifier: Apache-2.0
#
# Programs as a user would write them: the public header and the shared library, nothing inside.

noinst_PROGRAMS += examples/allreduce examples/train_charlm

examples_allreduce_SOURCES = examples/allreduce.c
examples_allreduce_CPPFLAGS = -I$(srcdir)/include
examples_allreduce_LDADD = libtutti.la
examples_allreduce_LDFLAGS = $(AM_LDFLAGS) -no-install

examples_train_charlm_SOURCES = examples/train_charlm.c \
	examples/charlm/gemm.c examples/charlm/gemm.h \
	examples/charlm/model.c examples/charlm/model.h \
	examples/charlm/selftest.c examples/charlm/selftest.h \
	examples/charlm/text.c examples/charlm/text.h
examples_train_charlm_CPPFLAGS = -I$(srcdir)/include
examples_train_charlm_CFLAGS = $(AM_CFLAGS) -O3 -ffp-contract=fast -fno-math-errno
examples_train_charlm_LDADD = libtutti.la -lm
examples_train_charlm_LDFLAGS = $(AM_LDFLAGS) -no-install
