#!/usr/bin/env bash
# On a machine with a GPU: GRPO, Clip-Cov and KL-Cov on GSM8K, one after the other, each for MINUTES (60) or
# to its last step; then a table and curves of entropy and held-out accuracy, in DIR. Issued again with the
# same DIR, every run goes on for as long. Ctrl-C and SIGTERM let training save, and end the script too.
# It reads what configs/gsm8k_gpu_grpo.py names; settings of training follow DIR:
#   MINUTES=45 ./launch/gsm8k_gpu.sh results/gsm8k --policy.directory policies/smollm2-135m
# A smaller start is short arithmetic, whose files `python -m entropy_rl sums data/sums` writes:
#   ./launch/gsm8k_gpu.sh results/sums --policy.directory policies/smollm2-135m --task.train.path \
#       data/sums/train.jsonl --task.heldout.path data/sums/test.jsonl --task.max-response-tokens 64
# PYTHON=/path/to/python takes that interpreter, which must have requirements.txt and jax[cuda13].
set -euo pipefail
folder="$(realpath -m "${1:?name a folder for the results}")" here="$(dirname "${BASH_SOURCE[0]}")"
shift
if [ -n "${PYTHON:-}" ]; then cd "$here/.."; else source "$here/environment.sh"; fi
python="${PYTHON:-.venv/bin/python}"
[ -n "${PYTHON:-}" ] || "$python" -m pip show -q jax-cuda13-plugin 2>/dev/null ||
    "$python" -m pip install -q "jax[cuda13]"
export XLA_PYTHON_CLIENT_MEM_FRACTION="${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.9}" # as plan counts on
act() { # A signal to this script is one to what it runs, and ends both.
    local code=0 stopped=''
    "$@" & trap 'stopped=1; kill -TERM $! 2>/dev/null || true' INT TERM
    wait $! || true
    while kill -0 $! 2>/dev/null; do wait $! || true; done
    wait $! || code=$? # bash keeps it; before, a signal's own code may have come
    trap - INT TERM
    [ -z "$stopped" ] && [[ $code =~ ^(0|75)$ ]] || exit "$code"
}
entropy_rl=("$python" -m entropy_rl) start="$folder/start.json" runs=()
mkdir -p "$folder"
[ -f "$start" ] || act "${entropy_rl[@]}" evaluate --config configs/gsm8k_gpu_grpo.py "$@" --output "$start"
for method in grpo clip_cov kl_cov; do
    run="$folder/gsm8k_gpu_$method" resume=()
    [ ! -f "$run/metrics.jsonl" ] || resume=(--resume)
    # At the end of its time training alone gets SIGTERM: it saves and ends with 75.
    act timeout --foreground --preserve-status "${MINUTES:-60}m" env --ignore-signal=INT "${entropy_rl[@]}" \
        train --config "configs/gsm8k_gpu_$method.py" --runs-folder "$folder" "$@" "${resume[@]}"
    runs+=("$run")
done
labels=(GRPO Clip-Cov KL-Cov)
act "${entropy_rl[@]}" plot "${runs[@]}" --labels "${labels[@]}" --start "$start" --output "$folder"
