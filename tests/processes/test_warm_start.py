"""A warm start that two processes make is the one that a single process makes, written once."""

import jax
import numpy as np
import pytest

from entropy_rl.stored_policy import read_policy
from tests.processes.starting import started

pytestmark = pytest.mark.slow


def test_two_processes_keep_the_policy_that_one_keeps(tmp_path):
    for name, how in {"one": dict(num_devices=8), "two": dict(num_devices=4, num_processes=2)}.items():
        with started(tmp_path, name, "eight", "--warm-start", **how) as workers:
            for worker in workers:
                assert worker.wait() == 0, worker.text
    one, two = (read_policy(tmp_path / name).params for name in ("one", "two"))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-5), one, two)
    assert {path.suffix for path in tmp_path.iterdir()} == {"", ".log"}
    assert len(list((tmp_path / "two").glob("*.safetensors"))) == 1
