"""The seven sets of problems that the paper evaluates on: their files in a folder of data, and their columns.

Every problem asks for a box. The data source of a file is the name of its set.
"""

from pathlib import Path

from entropy_rl.data.prompt_files import PromptFile
from entropy_rl.data.schemas import Columns, DapoMath, Math, OlympiadBench

AIME24 = PromptFile(
    path=Path("aime24/test.jsonl"),
    schema=Columns(prompt_column="problem", boxed=True, data_source="aime24"),
)
AIME25 = PromptFile(
    path=Path("aime25/test.jsonl"),
    schema=Columns(
        prompt_column="problem", answer_column="expected_answer", boxed=True, data_source="aime25"
    ),
)
AMC23 = PromptFile(
    path=Path("amc23/test.jsonl"),
    schema=Columns(prompt_column="problem", boxed=True, data_source="amc23"),
)
MATH500 = PromptFile(path=Path("math500/test.jsonl"), schema=Math(data_source="math500"))
OMNI_MATH = PromptFile(path=Path("omni_math/test.parquet"), schema=DapoMath(data_source="omni_math"))
OLYMPIAD_BENCH = PromptFile(path=Path("olympiadbench/test.jsonl"), schema=OlympiadBench())
MINERVA = PromptFile(path=Path("minerva_math/test.jsonl"), schema=Math(data_source="minerva_math"))
