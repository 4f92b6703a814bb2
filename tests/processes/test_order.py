"""One process and several draw the same prompts in the same order, and continue one another."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.processes.order_worker import NUM_BATCHES, PROMPTS_PER_STEP
from tests.processes.starting import started

pytestmark = pytest.mark.slow


def drawn(folder: Path, name: str, num_processes: int, *arguments: str) -> list[dict]:
    """What each of so many processes wrote; together they have six devices."""
    how = dict(num_processes=num_processes, num_devices=6 // num_processes)
    with started(folder, name, *arguments, module="tests.processes.order_worker", **how) as workers:
        for worker in workers:
            assert worker.wait() == 0, worker.text
    return [json.loads((folder / f"{name}.{number}.json").read_text()) for number in range(num_processes)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("order")
    for name, numbers in (("many", range(211)), ("few", [*range(200, 261), 12345])):
        lines = (json.dumps({"prompt": f"{number}:", "answer": "a"}) for number in numbers)
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def alone(folder):
    (one,) = drawn(folder, "alone", 1)
    return one


@pytest.mark.parametrize("num_processes", [2, 3])
def test_several_processes_draw_what_one_draws_and_share_the_encoding(folder, alone, num_processes):
    together = drawn(folder, f"of-{num_processes}", num_processes)
    for one in together:
        assert one["ids"] == alone["ids"] and one["num_too_long"] == alone["num_too_long"] == 1
        assert one["state"] == alone["state"]
    encoded = np.sum([one["encoded"] for one in together], axis=0)
    assert encoded.shape == (NUM_BATCHES, PROMPTS_PER_STEP) and (encoded == 1).all()


def test_two_processes_continue_where_one_stopped(folder, alone):
    (longer,) = drawn(folder, "longer", 1, "--state", str(folder / "alone.0.json"))
    for one in drawn(folder, "both", 2, "--state", str(folder / "alone.0.json")):
        assert one["ids"] == longer["ids"]
    assert longer["ids"] != alone["ids"]
