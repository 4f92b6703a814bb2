"""A machine that can make sandboxes, or a good reason why not."""

import pytest

from entropy_rl.rewards.sandbox.available import SandboxRefused, find_mechanism
from entropy_rl.rewards.sandbox.limits import SandboxLimits
from tests.rewards.sandboxes import skip_or_fail


@pytest.fixture(scope="session")
def sandbox() -> None:
    """Skips where the machine makes no sandbox."""
    try:
        find_mechanism(SandboxLimits())
    except SandboxRefused as refusal:
        skip_or_fail(str(refusal))
