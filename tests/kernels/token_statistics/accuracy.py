"""Errors of an implementation at a real vocabulary, against the reference in float64 on the same operands."""

from dataclasses import asdict, dataclass

import numpy as np

from pallas_kernels.token_statistics import Implementation
from tests.kernels.token_statistics.cases import make_case, outcome, outcome_in_float64, relative_error

VOCAB = 151_936


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """One call, and its errors."""

    dtype: str
    vocab_axis: int
    num_tokens: int
    hidden_size: int
    logit_std: float
    temperature: float
    logp: float
    """Largest, absolute."""
    entropy: float
    """Largest, absolute."""
    hidden_bar: float
    """Of the gradient, by norm, relative."""
    head_bar: float
    """Of the gradient, by norm, relative."""

    @property
    def is_good(self) -> bool:
        """Whether errors are as small as the precision of the operands allows."""
        value = 2e-3 if self.dtype == "bfloat16" else 1e-5 if self.logit_std <= 1 else 1e-4
        gradient = 1e-2 if self.dtype == "bfloat16" else 1e-4
        return max(self.logp, self.entropy) <= value and max(self.hidden_bar, self.head_bar) <= gradient


def measure(
    implementation: Implementation,
    *,
    num_tokens: int,
    hidden_size: int,
    dtype: str,
    vocab_axis: int,
    logit_std: float,
    temperature: float,
) -> Accuracy:
    """Errors at the vocabulary of Qwen2.5 with a few phantom columns of nan."""
    what = {"dtype": dtype, "vocab_axis": vocab_axis, "logit_std": logit_std, "temperature": temperature}
    case = make_case(num_tokens, hidden_size, VOCAB, num_phantom=271, **what)
    got = outcome(case, implementation=implementation)
    # The reference's own phantom columns are zeros: its gradient of head must be a number there.
    want = outcome_in_float64(case._replace(head=np.nan_to_num(case.head, nan=0.0)))
    return Accuracy(
        **what,
        num_tokens=num_tokens,
        hidden_size=hidden_size,
        logp=float(np.abs(got[0] - want[0]).max()),
        entropy=float(np.abs(got[1] - want[1]).max()),
        hidden_bar=relative_error(got[2], want[2]),
        head_bar=relative_error(got[3], want[3]),
    )


def as_markdown(rows: list[Accuracy]) -> str:
    """A table of the rows."""
    cells = [
        [f"{x:.1e}" if isinstance(x, float) and x < 0.1 else str(x) for x in asdict(row).values()]
        for row in rows
    ]
    names = list(asdict(rows[0]))
    return "\n".join("| " + " | ".join(row) + " |" for row in [names, ["---"] * len(names), *cells])
