# SPDX-License-Identifier: Apache-2.0
if UCX
pkglib_LTLIBRARIES += tutti_ucx.la
endif
tutti_ucx_la_SOURCES = transports/ucx/ucx.c transports/ucx/ucx.h transports/ucx/context.c transports/ucx/wake.c transports/ucx/mem.c \
	transports/ucx/ep.c transports/ucx/tx.c transports/ucx/rx.c src/net/module.c
tutti_ucx_la_CPPFLAGS = $(AM_CPPFLAGS) -DTUTTI_MODULE
tutti_ucx_la_CFLAGS = $(AM_CFLAGS) $(UCX_CFLAGS)
tutti_ucx_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared -rpath $(pkglibdir)
tutti_ucx_la_LIBADD = $(UCX_LIBS)
