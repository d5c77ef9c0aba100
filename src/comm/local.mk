# SPDX-License-Identifier: Apache-2.0
libtutti_core_la_SOURCES += src/comm/comm.h src/comm/comm.c src/comm/plans.c src/comm/coll.c src/comm/request.c src/comm/mem.c src/comm/watch.c src/comm/scene.c src/comm/version.c src/comm/calibrate.c src/comm/learn.c
