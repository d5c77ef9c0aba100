# SPDX-License-Identifier: Apache-2.0
if VERBS
pkglib_LTLIBRARIES += tutti_verbs.la
endif
tutti_verbs_la_SOURCES = transports/verbs/verbs.c transports/verbs/verbs.h transports/verbs/choose.c transports/verbs/choose.h \
	transports/verbs/device.c transports/verbs/mem.c transports/verbs/qp.c transports/verbs/tx.c transports/verbs/rx.c src/net/module.c
tutti_verbs_la_CPPFLAGS = $(AM_CPPFLAGS) -DTUTTI_MODULE
tutti_verbs_la_CFLAGS = $(AM_CFLAGS) $(VERBS_CFLAGS)
tutti_verbs_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared -rpath $(pkglibdir)
tutti_verbs_la_LIBADD = $(VERBS_LIBS)
