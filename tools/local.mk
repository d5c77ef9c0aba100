# SPDX-License-Identifier: Apache-2.0
tutti_SOURCES += tools/main.c tools/tools.h tools/args.c tools/args.h tools/info.c tools/perf.c tools/plan.c tools/plan.h tools/simulate.c tools/explain.c tools/document.c tools/run.c \
	tools/tune.c tools/tune.h tools/tune_pick.c tools/tune_try.c tools/tune_print.c tools/tune_fabric.c tools/tune_fabric_file.c tools/tune_fabric.h \
	tools/launch.c tools/launch.h tools/start.c tools/job.h tools/relay.c tools/relay.h

# help, options and variables come from the same tables as --help
man_MANS = tutti.1
CLEANFILES += tutti.1
tutti.1: tutti$(EXEEXT)
	$(AM_V_GEN)./tutti$(EXEEXT) --man >$@.new && mv $@.new $@
