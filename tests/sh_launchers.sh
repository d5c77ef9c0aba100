#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Other people's launchers, really run: Open MPI's mpirun (PMIx), MPICH's mpiexec.hydra (PMI-1), Slurm's srun over two simulated nodes (its
# variables, PMI-1, and PMIx over one), and torchrun. A launcher that is not installed is skipped, aloud.

. "$top_srcdir/tests/tap.sh"

tutti="$top_builddir/tutti" launched="$top_builddir/tests/launched" out="$tap_dir/out" log="$tap_dir/log" limit=60
perf="$tutti perf all_reduce -b 8 -e 64k -f 32 -n 3 -w 1 -c 1"
short="$tutti perf all_reduce -b 8 -n 1 -w 0"
secret="correct horse battery staple"

mpirun="mpirun.openmpi --allow-run-as-root --oversubscribe -n 4"
hydra="mpiexec.hydra -n 4"
srun1="srun -N 1 -n 4 --overcommit"
srun2="srun -N 2 --ntasks-per-node=2"
# -r and -t: without them Debian 12's version does not start under its Python
torchrun="torchrun --nnodes 1 --nproc_per_node 4 --master_addr 127.0.0.1 --master_port $((20000 + $$ % 10000)) --no_python -r 1 -t 1"

# have COMMAND TESTS: is the launcher here? Else that many tests are skipped.
have()
{
	command -v "$1" >/dev/null && return
	tap_skip=0
	while [ $tap_skip -lt "$2" ]; do
		tap_skip=$((tap_skip + 1)) tap_n=$((tap_n + 1))
		echo "ok $tap_n - $1 # SKIP it is not installed"
	done
	return 1
}

# measures NAME LAUNCHER...: one table, of 4 ranks, every result right
measures()
{
	name=$1
	shift
	# shellcheck disable=SC2086
	timeout -k 5 $limit "$@" $perf >"$out" 2>"$log"
	status=$?
	sed -i 's/^\[[^]]*\]: *//' "$out"    # torchrun's
	{ cat "$out"; echo "exit status $status"; } >>"$log"
	[ $status -eq 0 ] && [ "$(grep -c '^# tutti .* ranks 4 ' "$out")" -eq 1 ] && grep -qx '# Wrong elements *: 0 OK' "$out" &&
		awk '/^ *[0-9]/ { n++; if ($9 != 0 || $13 != 0) exit 1 } END { exit n != 3 }' "$out"
	ok $? "$name"
}

# tells NAME PATTERN LAUNCHER...: each of 4 ranks says twice who it is, in lines that match
tells()
{
	name=$1 pattern=$2
	shift 2
	timeout -k 5 $limit "$@" "$launched" >"$out" 2>"$log"
	status=$?
	{ cat "$out"; echo "exit status $status, expected $pattern"; } >>"$log"
	[ $status -eq 0 ] && [ "$(grep -Ecx "$pattern" "$out")" -eq 8 ] && [ "$(sort -u "$out" | wc -l)" -eq 4 ]
	ok $? "$name"
}

# refuses NAME WORDS LAUNCHER...: the program fails by itself, in time, and says so in these words
refuses()
{
	# shellcheck disable=SC2086
	TAP_LIMIT=$limit says "$@" $short
}

# but_3 absent|SECRET PROGRAM...: rank 3 does not come, or has another secret
but_3="$tap_dir/but_3"
cat >"$but_3" <<'END'
#!/bin/sh
what=$1
shift
if [ "${PMIX_RANK-${PMI_RANK-$SLURM_PROCID}}" = 3 ]; then
	[ "$what" != absent ] || exec sleep 5
	export TUTTI_SECRET="$what"
fi
exec "$@"
END
chmod +x "$but_3"

# -- Open MPI: PMIx, and its own variables

# shellcheck disable=SC2086
if have mpirun.openmpi 8; then
	root="TUTTI_ROOT=127.0.0.1:$((10000 + $$ % 6000))"
	measures "mpirun: 4 ranks without any configuration" $mpirun
	tells "mpirun: PMIx, for two communicators" 'PMIx: rank [0-3] of 4, local [0-3] of 4, right' $mpirun
	measures "mpirun: a batch script's SLURM_PROCID is nobody's rank" env SLURM_JOB_ID=1 SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NTASKS=4 $mpirun
	refuses "mpirun: a rank that does not come" 'PMIx: still waiting for all ranks of the job to come to its fence after [0-9.]+ s' \
		env TUTTI_TIMEOUT=2s $mpirun "$but_3" absent
	refuses "mpirun: a rank with another secret" 'proved another key' \
		env TUTTI_TIMEOUT=5s TUTTI_SECRET="$secret" $mpirun "$but_3" "another $secret"
	refuses "mpirun without PMIx: no place to meet" "Open MPI's variables name no host: expected PMIx .*TUTTI_ROOT=HOST:PORT .*TUTTI_SECRET" \
		$mpirun env -u PMIX_RANK
	measures "mpirun without PMIx: TUTTI_ROOT and TUTTI_SECRET" $mpirun env -u PMIX_RANK "$root" "TUTTI_SECRET=$secret"
	tells "mpirun: a PMIx that does not answer gives way to Open MPI's variables" 'Open MPI: rank [0-3] of 4, local [0-3] of 4, right' \
		$mpirun env -u PMIX_SERVER_URI2 -u PMIX_SERVER_URI21 -u PMIX_SERVER_URI3 -u PMIX_SERVER_URI4 -u PMIX_SERVER_URI41 \
		"$root" "TUTTI_SECRET=$secret"
fi

# -- MPICH: PMI-1

alone_in_barrier='PMI-1: the launcher did not answer "barrier_in, for all ranks to come" within [0-9.]+ s'

# shellcheck disable=SC2086
if have mpiexec.hydra 4; then
	measures "mpiexec.hydra: 4 ranks without any configuration" $hydra
	tells "mpiexec.hydra: PMI-1, for two communicators" 'PMI-1: rank [0-3] of 4, local [0-3] of 4, right' $hydra
	refuses "mpiexec.hydra: a rank that does not come" "$alone_in_barrier" env TUTTI_TIMEOUT=2s $hydra "$but_3" absent
	refuses "mpiexec.hydra: its socket was closed on the way" "PMI_FD: expected the launcher's socket, but descriptor 999 is not open" \
		$hydra env PMI_FD=999
fi

# -- Slurm: two nodes on this machine, whose names are addresses so that they can be looked up

slurm_conf()
{
	host=$(uname -n) user=$(id -un) port=$((10000 + $$ % 6000))
	host=${host%%.*}
	mkdir "$tap_dir/state"
	cat >"$tap_dir/slurm.conf" <<END
ClusterName=tutti
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/none
CredType=cred/none
SlurmctldPort=$((port + 1))
SlurmctldPidFile=$tap_dir/slurmctld.pid
SlurmdPidFile=$tap_dir/slurmd.%n.pid
SlurmdParameters=config_overrides
StateSaveLocation=$tap_dir/state
SlurmdSpoolDir=$tap_dir/spool.%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
KillWait=2
SelectType=select/linear
NodeName=127.0.0.[1-2] NodeHostname=$host NodeAddr=127.0.0.1 Port=[$((port + 2))-$((port + 3))] CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES OverSubscribe=FORCE:4
END
}

slurm_ready()
{
	[ "$(timeout 5 sinfo -h -t idle -o %D 2>/dev/null)" = 2 ]
}

daemons=
slurm_start()
{
	slurm_conf
	slurmctld -D -i >"$tap_dir/slurmctld.log" 2>&1 &
	daemons=$!
	for node in 127.0.0.1 127.0.0.2; do
		mkdir "$tap_dir/spool.$node"
		slurmd -N $node -D >"$tap_dir/slurmd.$node.log" 2>&1 &
		daemons="$daemons $!"
	done
	tries=0
	until slurm_ready; do
		tries=$((tries + 1))
		[ $tries -lt 150 ] || return 1
		sleep 0.2
	done
}

# steps first, then who watches over them
slurm_stop()
{
	[ -n "$daemons" ] || return 0
	timeout 5 scancel --state=RUNNING >/dev/null 2>&1
	tries=0
	while [ $tries -lt 50 ] && [ -n "$(timeout 5 squeue -h 2>/dev/null)" ]; do
		tries=$((tries + 1))
		sleep 0.2
	done
	# shellcheck disable=SC2086
	kill $daemons 2>/dev/null
	# shellcheck disable=SC2086
	wait $daemons
	daemons=
}
trap 'slurm_stop; rm -rf "$tap_dir"' EXIT

# shellcheck disable=SC2086
if have slurmctld 12; then
	export SLURM_CONF="$tap_dir/slurm.conf"
	slurm_start
	started=$?
	[ $started -eq 0 ] || tail -n 20 "$tap_dir"/slurm*.log >"$log"
	ok $started "Slurm runs, with two nodes"
	measures "srun: 4 ranks on one node without any configuration" $srun1
	measures "srun: 4 ranks on two nodes" $srun2
	measures "srun: 4 ranks on two nodes with a key" env TUTTI_SECRET="$secret" $srun2
	tells "srun: Slurm's variables, for two communicators" 'Slurm: rank [0-3] of 4, local [01] of 2, right' $srun2
	refuses "srun: a rank with another secret" 'another key' \
		env TUTTI_TIMEOUT=3s TUTTI_SECRET="$secret" $srun2 "$but_3" "another $secret"
	refuses "srun: a rank that does not come" '1 of 4 ranks did not come within 2 s: 3' env TUTTI_TIMEOUT=2s $srun2 "$but_3" absent
	refuses "srun: several machines and no key" 'is on several machines and brings no key: set TUTTI_SECRET' \
		$srun2 env SLURM_STEP_NODELIST='n[1-2]'
	measures "srun --mpi=pmi2: 4 ranks on two nodes without any configuration" $srun2 --mpi=pmi2
	tells "srun --mpi=pmi2: PMI-1, for two communicators" 'PMI-1: rank [0-3] of 4, local [01] of 2, right' $srun2 --mpi=pmi2
	refuses "srun --mpi=pmi2: a rank that does not come" "$alone_in_barrier" env TUTTI_TIMEOUT=2s $srun2 --mpi=pmi2 "$but_3" absent
	tells "srun --mpi=pmix: PMIx, for two communicators" 'PMIx: rank [0-3] of 4, local [0-3] of 4, right' $srun1 --mpi=pmix
	slurm_stop
	unset SLURM_CONF
fi

# -- torchrun

# shellcheck disable=SC2086
if have torchrun 1; then
	measures "torchrun: 4 ranks without any configuration" $torchrun
fi

tap_done
