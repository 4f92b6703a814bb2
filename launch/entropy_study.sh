#!/usr/bin/env bash
# Compares GRPO, clip-higher, Clip-Cov, KL-Cov and an entropy bonus on countdown (configs/studies/entropy.py).
#   ./launch/entropy_study.sh         30 final runs in the settings of docs/entropy_study/tuning.json, table, figures
#   ./launch/entropy_study.sh tune    60 development runs, which write tuning.json anew; before the final ones
#   ./launch/entropy_study.sh draw    table and figures again, from the committed curves alone
# Stopped or killed, it goes on where it is called again. WORKERS processes share the runs (default: 2, a core each).
# Further arguments are forwarded, e.g. --folder runs/mine --output results/mine.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
stage=final
case "${1:-}" in tune | final | draw) stage="$1" && shift ;; esac

study() { .venv/bin/python -m entropy_rl study --stage "$@"; }

if [ "$stage" != draw ]; then
    export XLA_FLAGS="--xla_cpu_multi_thread_eigen=false ${XLA_FLAGS:-}"
    workers=()
    trap 'kill "${workers[@]}" 2>/dev/null || true' INT TERM EXIT
    for ((worker = 0; worker < ${WORKERS:-2}; worker++)); do
        study "$stage" "$@" &
        workers+=($!)
    done
    for worker in "${workers[@]}"; do wait "$worker"; done
    trap - INT TERM EXIT
fi
case "$stage" in
final) study collect "$@" ;;
draw) study draw "$@" ;;
esac
