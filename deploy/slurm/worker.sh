#!/bin/bash
# One node of workers for a scan. Joins whatever scheduler the driver's file names, again and
# again, until the driver is over: a job of `lensweep submit`, or a `lensweep scan` somewhere, which
# renews the file. One task of an array: a node that is lost is replaced alone (--requeue), and
# nodes join as they become free. Directives and settings are put where the marks are.
# shellcheck disable=SC2154
#SBATCH --job-name=lensweep-worker
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
@directives

set -u
@settings

set -m
driver="$1"
# A scan that is no job was killed, if it has not renewed its file for so long.
silent_s=600
cores="${SLURM_CPUS_PER_TASK:-${SLURM_CPUS_ON_NODE:-1}}"
scheduler_file="$job/scheduler.json"
# The number of an array's last task is that of the whole array: it alone would requeue all.
id="${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}"
id="${id:-$SLURM_JOB_ID}"
running=()
stopped=""

stop() {
  stopped="$1"
  for group in "${running[@]}"; do kill -KILL -- "-$group" 2>/dev/null; done
}

# A controller that does not answer is no reason to leave: only its word that the driver is over.
driver_is_over() {
  local said
  if [ -z "$driver" ]; then
    ! [ -s "$scheduler_file" ] ||
      [ $(($(date +%s) - $(stat -c %Y "$scheduler_file"))) -gt "$silent_s" ]
    return
  fi
  said=$(squeue --noheader --states=all --jobs="$driver" --format=%T 2>&1)
  case "$said" in
    *"Invalid job id"* | COMPLETED | FAILED | CANCELLED | TIMEOUT | OUT_OF_MEMORY | DEADLINE) true ;;
    *) false ;;
  esac
}

join() {
  # Without an address, what serves the dashboard listens everywhere, dashboard or not.
  local common=(--scheduler-file "$scheduler_file" --no-dashboard --dashboard-address 127.0.0.1:0
    --death-timeout 30 --resources "$resources" --local-directory "${TMPDIR:-/tmp}" --nthreads "$threads"
    --memory-limit 0 ${interface:+--interface "$interface"})
  if [ "$gpus" != 0 ]; then
    "$python" -m dask cuda worker "${common[@]}" &
  else
    "$python" -m dask worker "${common[@]}" --nworkers "$cores" &
  fi
  running=("$!")
  wait "$!"
}

trap 'stop requeue' USR1
trap 'stop cancel' TERM

until [ -n "$stopped" ] || driver_is_over; do
  if [ -s "$scheduler_file" ]; then join; fi
  sleep 2 &
  wait "$!"
done
if [ "$stopped" = requeue ]; then scontrol requeue "$id"; fi
