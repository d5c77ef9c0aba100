# SPDX-License-Identifier: Apache-2.0
libtutti_core_la_SOURCES += src/exec/plan.h src/exec/bind.c src/exec/run.h src/exec/run.c src/exec/engine.h src/exec/engine.c src/exec/wait.h src/exec/wait.c
