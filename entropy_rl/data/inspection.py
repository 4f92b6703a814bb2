"""What a table of prompts holds: which schema fits it, and counts, lengths and kinds of answers."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np
from jaxtyping import Int

from entropy_rl.data.prompt_files import PromptTable, ReadReport, read_table
from entropy_rl.data.rows import RowError, read_rows
from entropy_rl.data.schemas import GSM8K, Columns, DapoMath, Math, OlympiadBench, Schema
from entropy_rl.data.tokenizers import Tokenizer
from entropy_rl.paths import AnyPath

PROMPT_COLUMNS = ("prompt", "problem", "question", "instruction", "input")
"""Names under which problems are looked for, in this order."""
ANSWER_COLUMNS = ("answer", "expected_answer", "final_answer", "ground_truth", "target", "solution")

_NUM_ROWS_TRIED = 64
_KINDS = {
    "integer": re.compile(r"[-+]?\d+"),
    "number": re.compile(r"[-+]?(\d+\.\d*|\.\d+|\d{1,3}(,\d{3})+(\.\d*)?|\d+)([eE][-+]?\d+)?"),
    "letter": re.compile(r"\(?[A-Za-z]\)?\.?"),
    "LaTeX": re.compile(r".*[\\^_{}].*", re.DOTALL),
    "list, tuple or interval": re.compile(r".*,.*", re.DOTALL),
}
"""The first that matches a whole answer."""


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What `inspect_table` found."""

    table: PromptTable
    report: ReadReport
    unit: str
    """What lengths are counted in: tokens, or characters without a tokenizer."""
    lengths_N: Int[np.ndarray, " N"]
    """Of the usable prompts."""

    @property
    def num_rows(self) -> int:
        report = self.report
        return len(report.prompts) + report.num_duplicates + len(report.malformed)

    @property
    def data_sources(self) -> Counter[str]:
        return Counter(prompt.data_source for prompt in self.report.prompts)

    @property
    def answer_kinds(self) -> dict[str, tuple[int, str]]:
        """By kind: how many answers, and the first of them; the most frequent kind first."""
        answers = [(answer_kind(prompt.answer), prompt.answer) for prompt in self.report.prompts]
        counts, examples = Counter(kind for kind, _ in answers), dict(reversed(answers))
        return {kind: (num, examples[kind]) for kind, num in counts.most_common()}

    def histogram(self, num_bins: int) -> list[tuple[int, int, int]]:
        """(shortest, longest, how many) of each bin, all of one width."""
        low, high = int(self.lengths_N.min()), int(self.lengths_N.max())
        width = -(-(high - low + 1) // num_bins)
        counts = np.bincount((self.lengths_N - low) // width)
        return [
            (low + width * b, min(low + width * (b + 1) - 1, high), int(num)) for b, num in enumerate(counts)
        ]


def inspect_table(table: PromptTable, tokenizer: Tokenizer | None = None) -> Inspection:
    """Reads a whole table and measures its prompts, as the policy of a tokenizer is asked, or as they are."""
    report = read_table(table, {})
    lengths = [
        len(prompt.text if tokenizer is None else prompt.encode(tokenizer)) for prompt in report.prompts
    ]
    return Inspection(
        table=table,
        report=report,
        unit="characters" if tokenizer is None else "tokens",
        lengths_N=np.array(lengths, np.int64),
    )


def answer_kind(answer: str) -> str:
    """A word for the form of an answer."""
    if answer.startswith('["'):
        try:
            if isinstance(json.loads(answer), list):
                return "several ground truths"
        except ValueError:
            pass  # a text that only looks like it
    return next((kind for kind, form in _KINDS.items() if form.fullmatch(answer.strip())), "text")


def find_schema(path: AnyPath | str) -> Schema:
    """The schema that reads the first rows of a file. Raises ValueError, with its columns, when none does."""
    rows = [row for _, row in islice(read_rows(path, None), _NUM_ROWS_TRIED) if isinstance(row, dict)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    for schema in _candidates(names):
        if any(_fits(schema, row) for row in rows):
            return schema
    raise ValueError(
        f"{path} must have columns of a known schema; it has {names}; name the columns of prompt and answer, "
        'with dots where they lie within others: "reward_model.ground_truth"'
    )


def _candidates(names: list[str]) -> Iterable[Schema]:
    """Schemas whose columns are there; those of one data set before those of any columns."""
    named: tuple[Schema, ...] = (DapoMath(), OlympiadBench(), GSM8K())
    if "level" in names or not set(ANSWER_COLUMNS[:-1]) & set(names):
        named += (Math(),)  # beside other columns a "solution" is prose, with boxes on the way
    yield from (schema for schema in named if set(schema.columns) <= set(names))
    prompt = next((name for name in PROMPT_COLUMNS if name in names), None)
    answer = next((name for name in ANSWER_COLUMNS if name in names), None)
    if prompt and answer:
        data_source = "data_source" if "data_source" in names else None
        yield Columns(prompt_column=prompt, answer_column=answer, data_source_column=data_source)


def _fits(schema: Schema, row: dict) -> bool:
    try:
        schema.read(row)
    except RowError:
        return False
    return True
