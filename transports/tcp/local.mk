# SPDX-License-Identifier: Apache-2.0
libtutti_core_la_SOURCES += transports/tcp/addr.c transports/tcp/conn.c transports/tcp/stream.c transports/tcp/tcp.c transports/tcp/tcp.h
