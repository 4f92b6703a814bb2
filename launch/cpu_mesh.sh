#!/usr/bin/env bash
# The smoke test before machines are rented: configs/cpu_mesh.py in two processes of four CPU devices each,
# which meet over loopback as those of a cluster do over its network. When one fails, both end.
# Arguments are forwarded, e.g.: ./launch/cpu_mesh.sh --num-steps 3 --name smoke --overwrite
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
export JAX_PLATFORMS=cpu XLA_FLAGS="${XLA_FLAGS:-} --xla_force_host_platform_device_count=4"
free='import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
meeting="127.0.0.1:$(.venv/bin/python -c "$free")"

quietly() { # Gloo tells of every connection that it makes. A signal to all must not end this one first.
    trap '' INT TERM
    grep --line-buffered -v '\[Gloo\]'
}

processes=()
for i in 0 1; do
    .venv/bin/python -u -m entropy_rl train --config configs/cpu_mesh.py "$@" \
        --coordinator "$meeting" --num-processes 2 --process-id $i > >(quietly) 2>&1 &
    processes+=($!)
done
stop() { kill -TERM "${processes[@]}" 2>/dev/null || true; }
trap stop INT TERM # asks both to save and end

code=0
while [ ${#processes[@]} -gt 0 ]; do
    sleep 0.5 || true # a signal to the terminal is one to it too
    for i in "${!processes[@]}"; do
        if kill -0 "${processes[i]}" 2>/dev/null; then continue; fi
        ended=0
        wait "${processes[i]}" || ended=$?
        unset "processes[i]"
        if [ $ended != 0 ] && [ $code = 0 ]; then code=$ended; stop; fi
    done
done
[ $code != 0 ] || echo "Both have ended well; the metrics are in metrics.jsonl of the run folder named above."
exit $code
