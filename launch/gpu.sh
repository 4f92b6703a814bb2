#!/usr/bin/env bash
# Training on GPUs: this machine's, those of a SLURM job, or those of machines given by address.
#   ./launch/gpu.sh [--dry-run] [--hosts A,B,C] [--port PORT] [--folder FOLDER] [--] TRAINING ARGUMENTS...
# Within a SLURM job (salloc, or sbatch launch/gpu.sh ...) srun starts a process on each node. --hosts starts
# one on each machine by ssh, in FOLDER there (this one's path, unless told otherwise); the first must be
# reachable by the others at PORT. A run that was pre-empted is started again: with --resume after exit code
# 75, and as it was after 143, with which SIGTERM ends a process that has not come to the run yet.
set -euo pipefail
checkout=$(dirname "${BASH_SOURCE[0]}")/..
[ -f "$checkout/launch/dry_run.sh" ] || checkout=${SLURM_SUBMIT_DIR:-.} # sbatch runs a copy, kept elsewhere
cd "$checkout"
source launch/dry_run.sh

die() { echo "gpu.sh: $*" >&2; exit 2; }

dry='' stopped='' hosts=() port=8476 folder=$PWD
while [ $# -gt 0 ]; do
    case $1 in --hosts | --port | --folder)
        [[ ${2:---} != --* ]] || die "$1 needs a value; try --help" ;;
    esac
    case $1 in
        --dry-run) dry=1 ;;
        --hosts) IFS=, read -ra hosts <<<"$2"; shift ;;
        --port) port=$2; shift ;;
        --folder) folder=$2; shift ;;
        -h | --help) sed -n '2,7s/^# \?//p' launch/gpu.sh; exit ;;
        --) shift; break ;;
        *) break ;;
    esac
    shift
done
for word in "$@"; do
    [[ ! $word =~ ^--(dry-run|hosts|port|folder)(=|$) ]] || die "$word must come before training's arguments"
done
# What the plan takes for the share of a GPU's memory that training has; jax by itself takes 0.75.
training=(env "XLA_PYTHON_CLIENT_MEM_FRACTION=${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.9}"
    .venv/bin/python -m entropy_rl train "$@")

prepare() { # .venv of this folder, with jax for GPUs in it.
    # shellcheck source=launch/environment.sh
    source launch/environment.sh
    .venv/bin/python -m pip show -q jax-cuda13-plugin 2>/dev/null ||
        .venv/bin/python -m pip install -q "jax[cuda13]"
}

by_slurm() { act srun --ntasks-per-node=1 --kill-on-bad-exit=1 "$@"; }

by_ssh() { # The first code that is not 0; 75 or 143 only where all that failed say so.
    local i command pids=() code=0 ended
    for i in "${!hosts[@]}"; do
        command=$(words "$@" --coordinator "${hosts[0]}:$port" --num-processes ${#hosts[@]} --process-id "$i")
        act ssh -o BatchMode=yes "${hosts[i]}" "cd $(words "$folder") && $command" &
        pids+=($!)
        [ -z "$dry" ] || wait $!
    done
    for i in "${!pids[@]}"; do
        ended=0
        wait "${pids[i]}" || ended=$?
        if [ $ended != 0 ] && [[ $code =~ ^(0|75|143)$ ]]; then code=$ended; fi
    done
    return $code
}

here() { # A signal to this script is one to training, which saves and ends.
    local code=0 child
    if [ -n "$dry" ]; then act "$@"; return; fi
    "$@" &
    child=$!
    trap 'stopped=1; kill -TERM "$child" 2>/dev/null' TERM INT
    wait "$child" || code=$?
    while kill -0 "$child" 2>/dev/null; do code=0; wait "$child" || code=$?; done
    return $code
}

run() {
    if [ ${#hosts[@]} -gt 0 ]; then by_ssh "$@"
    elif [ -n "${SLURM_JOB_ID:-}" ]; then by_slurm "$@"
    else here "$@"; fi
}

resume() { # From now on, instead of overwriting.
    local word kept=()
    for word in "${training[@]}"; do [[ $word =~ ^--(resume|overwrite)$ ]] || kept+=("$word"); done
    training=("${kept[@]}" --resume)
}

[ -n "$dry" ] || [ ${#hosts[@]} -gt 0 ] || prepare
[ "${SLURM_RESTART_COUNT:-0}" = 0 ] || resume # SLURM has put the job back into its queue
unheard=0
while true; do
    code=0
    run "${training[@]}" || code=$?
    [ -z "$stopped" ] || exit $code
    case $code in
        75)
            echo "Pre-empted; going on from the last checkpoint." >&2
            # A job that is taken away goes back into the queue; srun in it would be taken away as well.
            if [ -n "${SLURM_JOB_ID:-}" ] && act scontrol requeue "$SLURM_JOB_ID"; then exit 75; fi
            unheard=0
            resume ;;
        143) # srun sends SIGTERM too, to the others where one refuses its arguments
            unheard=$((unheard + 1))
            [ $unheard -lt 3 ] || exit $code
            echo "Asked to stop before training began; starting it again." >&2 ;;
        *) exit $code ;;
    esac
    sleep "${POLL_SECONDS:-10}"
done
