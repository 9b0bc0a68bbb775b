#!/bin/bash
# Conducts a scan as a SLURM job. Whatever stops it, it continues where it was:
#   node lost          SLURM requeues it (--requeue; JobRequeue may not be off for the cluster)
#   time limit near    USR1 comes five minutes before: it stands in the queue again by itself
#   scan or scheduler killed   begun again here, at longer and longer intervals
#   scancel            ends for good, and its workers with it
# `lensweep submit` puts directives and settings where the marks are.
# shellcheck disable=SC2154
#SBATCH --job-name=lensweep
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@300
@directives

set -u
@settings

# Every background command is a process group of its own, so that nothing of it stays behind.
set -m
cores="${SLURM_CPUS_PER_TASK:-${SLURM_CPUS_ON_NODE:-1}}"
task="${SLURM_ARRAY_TASK_ID:-}"
scheduler_file="$job/scheduler.json"
# The number of an array's last task is that of the whole array: it alone would requeue all.
id="${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}"
id="${id:-$SLURM_JOB_ID}"
running=()
stopped=""

say() {
  echo "$(date +%FT%T) $id ${SLURMD_NODENAME:-}: $*"
}

end_all() {
  for group in "${running[@]}"; do kill -KILL -- "-$group" 2>/dev/null; done
  running=()
  rm -f "$scheduler_file"
}

stop() {
  stopped="$1"
  end_all
}

finish() {
  if [ -s "$job/workers" ]; then xargs scancel <"$job/workers"; fi
  exit "$1"
}

# A scheduler of this job's own, that the worker jobs find by its file.
start_scheduler() {
  # A lost node has left its own, with an address where nobody answers.
  rm -f "$scheduler_file"
  "$python" -m dask scheduler --protocol tls --port 0 --dashboard-address 127.0.0.1:0 \
    --scheduler-file "$scheduler_file" ${interface:+--interface "$interface"} &
  running+=("$!")
  for _ in $(seq 60); do
    cluster=$(sed -n 's/.*"address": "\([^"]*\)".*/\1/p' "$scheduler_file" 2>/dev/null)
    if [ -n "$cluster" ]; then return; fi
    sleep 0.5
  done
  say "no scheduler after 30 s"
}

# A scan would wait long for a scheduler that is gone; a new one is there at once.
end_scan_with() {
  while kill -0 "$1" 2>/dev/null; do sleep 1; done
  kill -KILL -- "-$2" 2>/dev/null
}

scan() {
  local child
  if [ "$cluster_kind" = workers ]; then start_scheduler; else cluster="$cluster_kind"; fi
  "$python" -m lensweep scan --config "$job/scan${task:+-$task}.toml" --cluster "$cluster" \
    --workers "${workers:-$cores}" &
  child="$!"
  if [ "$cluster_kind" = workers ]; then
    end_scan_with "${running[0]}" "$child" &
    running+=("$!")
  fi
  running+=("$child")
  # A signal that came while they were started found nothing to end.
  if [ -z "$stopped" ]; then wait "$child"; fi
  status="$?"
  end_all
}

trap 'stop requeue' USR1
trap 'stop cancel' TERM

say "begins, restart ${SLURM_RESTART_COUNT:-0}"
failures=0
while true; do
  began="$SECONDS"
  status=1
  scan
  if [ "$stopped" = requeue ]; then
    say "time is nearly up: to be continued"
    scontrol requeue "$id"
    exit 0
  fi
  if [ "$stopped" = cancel ]; then finish 143; fi
  # 0: done. 2: the input is unfit. 3: done, but for what the ledger names. Else it may go well
  # the next time.
  case "$status" in 0 | 2 | 3) finish "$status" ;; esac
  if ((SECONDS - began > 600)); then failures=0; fi
  failures=$((failures + 1))
  if ((failures > 8)); then
    say "ended with status $status again and again: given up"
    finish "$status"
  fi
  say "ended with status $status: begun again in $((2 ** failures)) s"
  sleep "$((2 ** failures))" &
  wait "$!"
  if [ "$stopped" = cancel ]; then finish 143; fi
done
