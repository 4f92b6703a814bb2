#!/usr/bin/env bash
# The one check: all default tests, lint and architecture among them.
# Arguments are forwarded to pytest, e.g.: ./launch/test.sh tests/objectives    ./launch/test.sh -m slow
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
exec .venv/bin/python -m pytest "$@"
