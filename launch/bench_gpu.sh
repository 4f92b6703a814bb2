#!/usr/bin/env bash
# On a machine with a GPU: how near updates and decoding come to its limits, at Qwen2.5's 0.5B, 1.5B and 7B, into
# a folder as JSON and Markdown, in less than nine minutes. It installs what is missing into .venv first;
# PYTHON=/path/to/python takes that interpreter instead, which must have requirements.txt and jax[cuda13].
# Further arguments go to `bench device`:   ./launch/bench_gpu.sh results/h200 --repeats 3
set -euo pipefail
start=$SECONDS
folder="$(realpath -m "${1:?name a folder for the results}")"
shift
mkdir -p "$folder"
if [ -n "${PYTHON:-}" ]; then
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    python="$PYTHON"
else
    source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
    python=.venv/bin/python
    if ! "$python" -c 'import jax_cuda13_plugin' 2>/dev/null; then
        echo "Installing jax[cuda13] into .venv." >&2
        version="$("$python" -c 'import jax; print(jax.__version__)')"
        "$python" -m pip install --quiet --disable-pip-version-check "jax[cuda13]==$version"
    fi
fi
# A share of the memory for jax, so that what does not fit is told and not killed; the CPU keeps the rest.
export JAX_PLATFORMS="${JAX_PLATFORMS:-cuda}" XLA_PYTHON_CLIENT_MEM_FRACTION="${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.95}"
"$python" -m entropy_rl bench device --output "$folder/device.json" \
    --budget-seconds "$((500 - SECONDS + start))" "$@" | tee "$folder/device.md"
