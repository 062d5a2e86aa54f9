#!/bin/sh
# One task of a job array: one run of a grid. Its arguments are the number of the array's first run, and the command that
# trains a run of the grid. Before the time limit SLURM sends USR1 to this shell alone: the run writes a checkpoint, and
# the task goes back to the queue.
first=$1
shift
again=
trap 'again=yes; kill -TERM "$run"' USR1
# These reach the run from SLURM itself, and a second one would end it without a checkpoint.
trap : INT TERM
"$@" $((first + SLURM_ARRAY_TASK_ID)) &
run=$!
# A signal ends `wait`, but not the run.
while wait "$run"; status=$?; kill -0 "$run" 2>/dev/null; do :; done
if [ -n "$again" ] && [ "$status" -eq 143 ]; then
    exec scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
fi
exit "$status"
