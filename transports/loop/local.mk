# SPDX-License-Identifier: Apache-2.0
libtutti_core_la_SOURCES += transports/loop/loop.c
