"""Runs one program in a sandbox, in a process that the tests can bound, kill and give another user.

Reads {"source", "stdin", "limits", "mechanism"} as JSON from standard input; a mechanism of null is found.
With the argument --without-namespaces it runs where the kernel grants none.
"""

import json
import resource
import sys
from dataclasses import asdict

from entropy_rl.rewards.sandbox import linux
from entropy_rl.rewards.sandbox.available import SandboxRefused, find_mechanism
from entropy_rl.rewards.sandbox.limits import SandboxLimits
from entropy_rl.rewards.sandbox.mechanism import Mechanism
from entropy_rl.rewards.sandbox.run import SandboxError, run
from entropy_rl.rewards.sandbox.system_calls import filter_instructions

GUARDS = {resource.RLIMIT_AS: 2**31, resource.RLIMIT_FSIZE: 2**28, resource.RLIMIT_CPU: 60}
"""Bounds on what an escape could do, far above those of the sandboxes tested."""


def main() -> None:
    for kind, bound in GUARDS.items():
        resource.setrlimit(kind, (bound, bound))
    if "--without-namespaces" in sys.argv:
        linux.forbid_new_privileges()
        linux.install_filter(filter_instructions())
    request = json.loads(sys.stdin.readline())
    limits = SandboxLimits(**request["limits"])
    try:
        name = request["mechanism"]
        mechanism = Mechanism(name=name) if name else find_mechanism(limits)
        outcome = run(request["source"], stdin=request["stdin"], limits=limits, mechanism=mechanism)
    except (SandboxError, SandboxRefused, OSError) as error:
        print(json.dumps({"refused": str(error)}))
    else:
        texts = {name: getattr(outcome, name).decode(errors="replace") for name in ("stdout", "stderr")}
        print(json.dumps(asdict(outcome) | texts | {"mechanism": mechanism.name}))


if __name__ == "__main__":
    main()
