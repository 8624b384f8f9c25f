#!/bin/bash
# Run the three stages of deploy/slurm on the embedded demo, under a Slurm of one node on this machine.
#
#   tests/slurm.sh
#
# It needs root, and Debian's package slurm-wlm; `harvest`, `train` and `analyze` are on the path. A worker of the
# harvest is stopped by SIGTERM on its way, as before its time limit; Slurm then requeues it.
set -eu
slurmctld -V
repo=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d) && cd "$work"
export SLURM_CONF=$work/slurm.conf
daemons=()
trap 'kill "${daemons[@]}" 2>/dev/null; wait; rm -rf "$work"' EXIT

cat > slurm.conf <<CONF
ClusterName=test
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
AuthType=auth/munge
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmUser=root
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
GresTypes=gpu
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=3600
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=32 RealMemory=200000 Gres=gpu:4
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
touch gpu{0..3}
echo "Name=gpu File=$work/gpu[0-3]" > gres.conf
mkdir state spool
pgrep -x munged > /dev/null || { install -d -o munge /run/munge; setpriv --reuid munge --regid munge --clear-groups munged; }
slurmctld -D > slurmctld.log 2>&1 & daemons+=($!)
slurmd -D > slurmd.log 2>&1 & daemons+=($!)
for _ in $(seq 60); do sinfo -h -o %T 2> /dev/null | grep -q idle && break; sleep 0.5; done
sinfo

export MODEL=demo TOKENS=60k NAME=demo HARVEST_OPTIONS="--layers 0,1 --device cpu"
export TRAIN_OPTIONS="--variant baseline,nsae --activations 4k --batch-size 256 --expansion 2 --snapshots 0 --device cpu"
export ANALYZE_OPTIONS="--contexts 2 --snapshot-contexts 0 --held-out 8 --features 0 --device cpu"
submitted=$("$repo/deploy/slurm/submit.sh" 2 2)
echo "$submitted"
report=${submitted##* }
first=$(echo "$submitted" | sed 's/harvest \([0-9]*\),.*/\1/')
for _ in $(seq 600); do [ -e data/demo.zarr.partial.lock ] || [ -e data/demo.zarr ] && break; sleep 0.1; done
scancel --signal=TERM "${first}_0" || true
state() { scontrol show job "$1" 2> /dev/null | sed -n 's/.*JobState=\([A-Z_]*\).*/\1/p' | sort | uniq -c | tr -s ' \n' ' '; }
for _ in $(seq 300); do
  case $(state "$report") in *COMPLETED*) break ;; *FAILED* | *CANCELLED*) break ;; esac
  sleep 2
done
for job in $(echo "$submitted" | grep -o '[0-9]\+'); do echo "job $job:$(state "$job")"; done
tail -n 30 slurm-*.out
analyze verify --store data/demo.zarr
test -e runs/demo-report/index.html
