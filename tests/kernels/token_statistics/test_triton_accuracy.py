"""The Triton kernels at a real vocabulary; where there is a GPU compiled for it, and with more tokens.

As a program it writes the errors: python -m tests.kernels.token_statistics.test_triton_accuracy FOLDER
"""

import dataclasses
import itertools
import json
import sys
from pathlib import Path

import jax
import pytest

from pallas_kernels.token_statistics.triton import Triton
from pallas_kernels.token_statistics.triton_kernels import Blocks
from tests.kernels.token_statistics.accuracy import Accuracy, as_markdown, measure

HAS_GPU = jax.default_backend() == "gpu"
BROAD = Blocks(tokens=16, vocab=8192, hidden=32, num_warps=8, num_stages=1)
"""Few steps for the interpreter; no GPU could hold these."""
TRITON = Triton() if HAS_GPU else Triton(narrow=BROAD, wide=BROAD, num_splits=3, interpret=True)
SIZES = [(1, 896), (509, 896), (509, 3584)] if HAS_GPU else [(1, 19), (17, 19)]
"""(tokens, hidden size)."""
LOGIT_STDS, TEMPERATURES = [1.0, 8.0], [1.0, 0.6]


def accuracy(size, dtype, vocab_axis, logit_std, temperature) -> Accuracy:
    return measure(
        TRITON,
        num_tokens=size[0],
        hidden_size=size[1],
        dtype=dtype,
        vocab_axis=vocab_axis,
        logit_std=logit_std,
        temperature=temperature,
    )


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("vocab_axis", [0, 1])
@pytest.mark.parametrize("logit_std", LOGIT_STDS)
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_errors_at_a_real_vocabulary(size, dtype, vocab_axis, logit_std, temperature):
    row = accuracy(size, dtype, vocab_axis, logit_std, temperature)
    assert row.is_good, row


def main(folder: Path) -> None:
    cases = itertools.product(SIZES, ["float32", "bfloat16"], [0, 1], LOGIT_STDS, TEMPERATURES)
    rows = [accuracy(*case) for case in cases]
    device = jax.devices()[0].device_kind
    record = {"device": device, "rows": [dataclasses.asdict(row) | {"good": row.is_good} for row in rows]}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "accuracy.json").write_text(json.dumps(record, indent=1) + "\n")
    (folder / "accuracy.md").write_text(f"Errors on {device}\n\n{as_markdown(rows)}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
