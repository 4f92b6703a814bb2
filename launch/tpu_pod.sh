#!/usr/bin/env bash
# Training on a Cloud TPU slice, from this machine. COMMAND is one of
#   create    ask for the slice as a queued resource      wait     until it is there
#   install   copy this checkout to all of its machines and make .venv there
#   start     start training on all machines              resume   the same, going on from the last checkpoint
#   follow    show the log of machine 0 as it grows       status   of the slice and of training
#   delete    give the slice back                         run      all of it, until training has ended
# Options come after COMMAND; arguments of training come after --. What training does, they alone decide:
#   ./launch/tpu_pod.sh run --name kl --zone us-east5-a --type v5p-32 --spot -- --config configs/C.py
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source launch/dry_run.sh
source launch/tpu_slice.sh

usage() { sed -n '2,8s/^# \?//p; s/.*[;)] #: -/  -/p' launch/tpu_pod.sh; }

die() { echo "tpu_pod.sh: $*" >&2; exit 2; }

options() {
    while [ $# -gt 0 ]; do
        case $1 in --name | --zone | --project | --type | --runtime | --revision | --repository | --setup)
            [[ ${2:---} != --* ]] || die "$1 needs a value; try --help" ;;
        esac
        case $1 in
            --name) name=$2; shift ;; #: --name NAME        of the slice; needed
            --zone) place+=("--zone=$2"); shift ;; #: --zone ZONE        where it is; needed
            --project) place+=("--project=$2"); shift ;; #: --project PROJECT  if it is not gcloud's own
            --type) type=$2; shift ;; #: --type TYPE        v5p-32, v6e-16, v5litepod-8, ...
            --runtime) runtime=$2; shift ;; #: --runtime IMAGE    if it is not the type's
            --spot | --reserved) tier=("$1") ;; #: --spot, --reserved on demand without either
            --revision) revision=$2; shift ;; #: --revision COMMIT  clone it; do not copy this folder
            --repository) repository=$2; shift ;; #: --repository URL   to clone; this folder's origin
            --setup) setup=$2; shift ;; #: --setup COMMAND    on all machines when installed
            --dry-run) dry=1 ;; #: --dry-run          print commands, issue none
            --) shift; training=("$@"); break ;;
            *) die "there is no option $1; try --help" ;;
        esac
        shift
    done
    [ -n "$name" ] && [ ${#place[@]} -gt 0 ] || die "--name and --zone are needed"
}

name='' type='' runtime='' revision='' repository='' setup='' dry='' place=() tier=() training=() arguments=()
poll_seconds=${POLL_SECONDS:-60}

resumed() { # Sets arguments to those of training, to go on from the last checkpoint.
    local word
    arguments=()
    for word in "${training[@]}"; do [[ $word =~ ^--(resume|overwrite)$ ]] || arguments+=("$word"); done
    arguments+=(--resume)
}

outlives_the_slice() { [[ " ${training[*]}" =~ " --checkpoint-folder"[\ =] ]]; }

run() {
    local failures=0
    arguments=("${training[@]}")
    # Where checkpoints outlive it, an earlier call may have begun the run; if none has, --resume begins it.
    if outlives_the_slice && [[ " ${training[*]} " != *" --overwrite "* ]]; then resumed; fi
    while [ $failures -lt 5 ]; do # a machine that has just come up may refuse a connection
        look ABSENT
        case $now in
            SUSPENDED | PREEMPTED) delete ;;
            FAILED) die "the request for the slice failed: gcloud compute tpus queued-resources describe" ;;
        esac
        case $now in ABSENT | SUSPENDED | PREEMPTED)
            create
            outlives_the_slice || arguments=("${training[@]}") ;; # new machines hold nothing to go on from
        esac
        if wait_for_slice && install && start "${arguments[@]}"; then
            while look_at_training; [ "$code" = RUNNING ]; do sleep "$poll_seconds"; done
            if ! [[ $code =~ ^(0|2|75|143|GONE)$ ]] && taken_away; then code=GONE; fi
            case $code in
                0) echo "Training has ended. The slice is still there: delete it." >&2; return ;;
                75 | GONE) resumed ;;
                143) ;; # before the run had begun
                *) echo "Training failed with exit code $code. See: follow" >&2; return "$code" ;;
            esac
            echo "Pre-empted ($code); going on from the last checkpoint." >&2
            failures=0
        else
            look ACTIVE
            [ "$now" != ACTIVE ] || failures=$((failures + 1))
        fi
        sleep "$poll_seconds"
    done
    die "installing failed five times"
}

main() {
    local command=${1:-}
    case $command in '' | -h | --help) usage; return ;; esac
    options "${@:2}"
    case $command in
        create | install | delete | run) "$command" ;;
        wait) wait_for_slice ;;
        start) start "${training[@]}" ;;
        resume) resumed; start "${arguments[@]}" ;;
        follow) on_workers 0 "tail -n 1000 -F $folder/train.log" ;;
        status)
            look ACTIVE
            echo "$now"
            on_workers all "cat $folder/exit_code 2>/dev/null || echo RUNNING"
            ;;
        *) die "there is no command $command; try --help" ;;
    esac
}

main "$@"
