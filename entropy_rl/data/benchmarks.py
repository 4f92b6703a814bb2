"""The seven sets of problems that the paper evaluates on: their files and columns.

Files lie in one folder as NAME/test.jsonl or, for Omni-MATH, NAME/test.parquet. Every problem asks for a box.
"""

from dataclasses import dataclass

from entropy_rl.data.prompt_files import PromptFile
from entropy_rl.data.schemas import Columns, DapoMath, Math, OlympiadBench, Schema
from entropy_rl.paths import AnyPath


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A set of problems that policies are compared on."""

    title: str
    """As the paper prints it."""
    file: str
    """Where it lies in a folder of benchmarks."""
    schema: Schema
    """Its columns; its `data_source` is the benchmark's name."""

    @property
    def name(self) -> str:
        return self.schema.data_source

    def in_folder(self, folder: AnyPath) -> PromptFile:
        return PromptFile(path=folder / self.file, schema=self.schema)


AIME24 = Benchmark(
    title="AIME24",
    file="aime24/test.jsonl",
    schema=Columns(prompt_column="problem", boxed=True, data_source="aime24"),
)
AIME25 = Benchmark(
    title="AIME25",
    file="aime25/test.jsonl",
    schema=Columns(
        prompt_column="problem", answer_column="expected_answer", boxed=True, data_source="aime25"
    ),
)
AMC23 = Benchmark(
    title="AMC23",
    file="amc23/test.jsonl",
    schema=Columns(prompt_column="problem", boxed=True, data_source="amc23"),
)
MATH500 = Benchmark(title="MATH-500", file="math500/test.jsonl", schema=Math(data_source="math500"))
OMNI_MATH = Benchmark(
    title="OMNI-MATH", file="omni_math/test.parquet", schema=DapoMath(data_source="omni_math")
)
OLYMPIAD_BENCH = Benchmark(title="OlympiadBench", file="olympiadbench/test.jsonl", schema=OlympiadBench())
MINERVA = Benchmark(title="Minerva", file="minerva_math/test.jsonl", schema=Math(data_source="minerva_math"))

PAPER_BENCHMARKS = (AIME24, AIME25, AMC23, MATH500, OMNI_MATH, OLYMPIAD_BENCH, MINERVA)
"""In the order of the paper's tables."""
