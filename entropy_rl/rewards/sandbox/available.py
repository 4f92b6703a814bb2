"""Which sandbox this system can make: found out by making one, and refused in words where it cannot."""

from functools import lru_cache

from entropy_rl.rewards.sandbox.limits import SandboxLimits
from entropy_rl.rewards.sandbox.mechanism import MECHANISMS, WEAK_MECHANISM, Mechanism
from entropy_rl.rewards.sandbox.run import SandboxError, run

_PROBE = "print(input())"
_PROBE_TEXT = "a line from outside"


class SandboxRefused(ValueError):
    """This system can make no sandbox; the message says what was tried and what to do."""


@lru_cache(maxsize=8)
def find_mechanism(limits: SandboxLimits) -> Mechanism:
    """The first mechanism that works here. Raises SandboxRefused rather than return a weaker one unasked."""
    failures = []
    for mechanism in (*MECHANISMS, *([WEAK_MECHANISM] if limits.accept_weaker else [])):
        failure = _failure(mechanism, limits)
        if not failure:
            return mechanism
        failures.append(f"{mechanism.name}: {failure}")
    raise SandboxRefused(
        "running untrusted programs needs Linux 5.14 or later with namespaces, made as root or in user "
        f"namespaces, or bubblewrap; got {'; '.join(failures)}; allow user namespaces (sysctl "
        "user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns; in a container, "
        "CAP_SYS_ADMIN), or install bubblewrap, or accept limits without a sandbox with accept_weaker=True"
    )


def _failure(mechanism: Mechanism, limits: SandboxLimits) -> str:
    """Why the mechanism cannot be used; empty when it can."""
    try:
        outcome = run(_PROBE, stdin=_PROBE_TEXT, limits=limits, mechanism=mechanism)
    except (SandboxError, OSError) as error:
        return str(error)
    if outcome.stdout.decode(errors="replace").strip() == _PROBE_TEXT:
        return ""
    complaint = outcome.stderr.decode(errors="replace").strip()[-200:]
    return f"a trial ended by {outcome.ended_by} with {outcome.exit_code} {complaint}"
