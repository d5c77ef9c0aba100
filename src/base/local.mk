libtutti_core_la_SOURCES += \
	src/base/auth.c src/base/auth.h \
	src/base/clock.h \
	src/base/config.c src/base/config.h \
	src/base/err.c src/base/err.h \
	src/base/half.h \
	src/base/kernel.h src/base/kernel_body.h \
	src/base/kernel_avx2.c \
	src/base/kernel_avx512.c \
	src/base/kernel_baseline.c \
	src/base/kernel_plain.c \
	src/base/log.c src/base/log.h \
	src/base/machine.c src/base/machine.h \
	src/base/parse.c \
	src/base/reduce.c \
	src/base/type.c src/base/type.h \
	src/base/user_op.h
libtutti_core_la_SOURCES += src/base/iface.c src/base/iface.h
