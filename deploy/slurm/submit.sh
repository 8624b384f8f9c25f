#!/bin/bash
# Submit the three stages; each waits until the one before has succeeded.
#
#   MODEL=gpt2 TOKENS=100M NAME=gpt2 TRAIN_OPTIONS="--preset post" deploy/slurm/submit.sh 8 4
#
# The arguments are the number of workers of the harvest, and that of the processes that train; each has a GPU. Run it
# in the folder that holds data/ and runs/.
set -eu
here=$(dirname "$0")
workers=${1:-8}
trainers=${2:-1}
mkdir -p data runs
harvest=$(sbatch --parsable --array="0-$((workers - 1))" "$here/harvest.sbatch")
train=$(sbatch --parsable --ntasks="$trainers" --gpus="$trainers" --dependency="afterok:$harvest" "$here/train.sbatch")
report=$(sbatch --parsable --dependency="afterok:$train" "$here/report.sbatch")
echo "harvest $harvest, train $train, report $report"
