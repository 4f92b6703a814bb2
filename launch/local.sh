#!/usr/bin/env bash
# The main job on this machine: a small policy learns countdown by KL-Cov, after a warm start.
# Arguments are forwarded, e.g.: ./launch/local.sh --num-steps 20 --name first
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
exec .venv/bin/python -m entropy_rl train --config configs/tiny_kl_cov.py "$@"
