"""Dynamic sampling on two processes: the groups are those of one, and a stopped run goes on with them."""

import numpy as np
import pytest

from entropy_rl.observability.run_record import read_rows
from entropy_rl.parallelism import EXIT_PREEMPTED
from tests.processes.starting import await_rows, started, terminate
from tests.test_train import without_times

pytestmark = pytest.mark.slow

BOTH = dict(num_processes=2, num_devices=4)
DECIDED = (
    "generation/batches",
    "generation/kept_fraction",
    "generation/tokens",
    "generation/wasted_tokens",
    "surplus/groups",
    "staleness/mean",
    "batch/pass_rate",
    "counter/generation_steps",
)


def test_two_processes_find_the_groups_of_one_and_go_on_with_the_surplus_when_they_are_stopped(tmp_path):
    for name, mesh, how in (("one", "one", {}), ("two", "eight", BOTH)):
        with started(tmp_path, name, mesh, "--dynamic", **how) as workers:
            assert {worker.wait() for worker in workers} == {0}, workers[0].text
    one, two = (read_rows(tmp_path / name / "metrics.jsonl") for name in ("one", "two"))
    assert any(row["surplus/groups"] for row in one)
    for row, expected in zip(two, one, strict=True):
        assert [row[name] for name in DECIDED] == [expected[name] for name in DECIDED]
        np.testing.assert_allclose(row["optimizer/loss"], expected["optimizer/loss"], rtol=0, atol=1e-5)
    metrics = tmp_path / "stopped" / "metrics.jsonl"
    with started(tmp_path, "stopped", "eight", "--dynamic", **BOTH) as workers:
        await_rows(metrics, 2, workers)
        terminate(workers[1])
        assert {worker.wait() for worker in workers} == {EXIT_PREEMPTED}, workers[0].text
    with started(tmp_path, "stopped", "eight", "--dynamic", "--resume", **BOTH) as workers:
        assert {worker.wait() for worker in workers} == {0}, workers[0].text
    assert without_times(read_rows(metrics)) == without_times(two)
