# SPDX-License-Identifier: Apache-2.0
libtutti_core_la_SOURCES += transports/shm/shm.c transports/shm/shm.h transports/shm/layout.h transports/shm/conn.c transports/shm/frame.c \
	transports/shm/region.c transports/shm/tx.c transports/shm/rx.c transports/shm/wake.c
