#!/usr/bin/env bash
# On a machine with a GPU: GRPO, Clip-Cov and KL-Cov on GSM8K, one after the other, each for MINUTES (60) or to its
# last step; then the curves of their entropy and held-out accuracy and a table, in DIR. Issued again with the same
# DIR, every run goes on for as long. It reads what configs/gsm8k_gpu_grpo.py names; arguments of training follow:
#   MINUTES=45 ./launch/gsm8k_gpu.sh results/gsm8k --policy.directory policies/smollm2-135m
# A smaller start is short arithmetic, whose files `python -m entropy_rl sums data/sums` writes:
#   ./launch/gsm8k_gpu.sh results/sums --policy.directory policies/smollm2-135m --task.max-response-tokens 64 \
#       --task.train.path data/sums/train.jsonl --task.heldout.path data/sums/test.jsonl
# PYTHON=/path/to/python takes that interpreter, which must have requirements.txt and jax[cuda13].
set -euo pipefail
folder="$(realpath -m "${1:?name a folder for the results}")"
shift
if [ -n "${PYTHON:-}" ]; then
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    python="$PYTHON"
else
    source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
    python=.venv/bin/python
    "$python" -m pip show -q jax-cuda13-plugin 2>/dev/null || "$python" -m pip install -q "jax[cuda13]"
fi
export XLA_PYTHON_CLIENT_MEM_FRACTION="${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.9}" # as plan counts on
runs=()
for method in grpo clip_cov kl_cov; do
    run="$folder/gsm8k_gpu_$method" resume=() code=0
    [ ! -f "$run/metrics.jsonl" ] || resume=(--resume)
    # SIGTERM at the end of its time: training saves and ends with 75.
    timeout --preserve-status "${MINUTES:-60}m" "$python" -m entropy_rl train \
        --config "configs/gsm8k_gpu_$method.py" --runs-folder "$folder" "$@" "${resume[@]}" || code=$?
    [[ $code =~ ^(0|75)$ ]] || exit "$code"
    runs+=("$run")
done
"$python" -m entropy_rl compare --runs "${runs[@]}" --labels GRPO Clip-Cov KL-Cov --output "$folder"
