#!/usr/bin/env bash
# On a machine with an NVIDIA GPU: the kernels' tests compiled for it, their errors at a real vocabulary, and
# their speed, into a folder as JSON and Markdown. Needs an interpreter with requirements.txt and jax[cuda13]:
#   PYTHON=/path/to/python ./launch/gpu_kernels.sh results/h200
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python="${PYTHON:-.venv/bin/python}"
folder="$(realpath -m "${1:?name a folder for the results}")"
mkdir -p "$folder"
export JAX_PLATFORMS=cuda,cpu XLA_PYTHON_CLIENT_PREALLOCATE=false

# Tests of meshes want eight devices, which only the CPU can pretend to be.
"$python" -m pytest tests/kernels/token_statistics -n 0 -m "slow or not slow" \
    -k "triton and not mesh" \
    --junit-xml "$folder/tests.xml" 2>&1 | tee "$folder/tests.txt"
"$python" -m tests.kernels.token_statistics.test_triton_accuracy "$folder"
cat "$folder/accuracy.md"
"$python" -m entropy_rl bench kernels --output "$folder/speed.json" | tee "$folder/speed.md"
