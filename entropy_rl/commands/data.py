"""python -m entropy_rl data"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from etils import epath
from rich.console import Console

from entropy_rl.data.inspection import find_schema, inspect_table
from entropy_rl.data.prompt_files import PromptFile
from entropy_rl.data.schemas import GSM8K, Columns, DapoMath, Math, OlympiadBench, Schema
from entropy_rl.data.tokenizers import load_tokenizer
from entropy_rl.data_report import show_inspection

SCHEMAS = {"gsm8k": GSM8K, "math": Math, "dapo": DapoMath, "olympiadbench": OlympiadBench}


@dataclass(frozen=True, kw_only=True)
class Data:
    """Look into a file of prompts before it trains: what is read, what is left out, what a policy sees.

    data inspect PATH shows how many rows are usable, malformed or duplicates, how long prompts are, of which
    data sets, what answers look like, and some prompts. Its line "read as" is the schema to write into
    a configuration: PromptFile(path=..., schema=...).

    python -m entropy_rl data inspect train.jsonl

    With lengths in tokens, and what a limit leaves out: data inspect dapo-math-17k.parquet --tokenizer
    policies/Qwen2.5-7B --max-prompt-tokens 1024

    With columns of your own: data inspect mine.parquet --prompt-column task --answer-column checks.expected
    --boxed
    """

    action: tyro.conf.Positional[Literal["inspect"]]
    """What to do with the file."""
    path: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="PATH")]
    """A .jsonl or .parquet file, here or on gs:// or s3://."""
    schema: Literal["auto", *SCHEMAS, "columns"] = "auto"
    """Which columns hold what; auto takes the schema that reads the first rows."""
    prompt_column: str | None = None
    """Column of what is asked, for the schema columns; dots reach into columns."""
    answer_column: str | None = None
    """The same of the answer."""
    data_source_column: str | None = None
    """The same of the name of each row's data set."""
    boxed: bool = False
    r"""Ask for the answer in \boxed{}, with the schema columns; the others always do."""
    system_prompt: str | None = None
    """A system turn before every conversation."""
    tokenizer: Path | None = None
    """Hugging Face folder whose tokenizer counts lengths and renders prompts; without one lengths are in
    characters."""
    max_prompt_tokens: int | None = None
    """Count what this limit leaves out; needs the tokenizer."""
    num_shown: int = 3
    """Prompts to show, spread over the file."""

    def run(self) -> None:
        if self.max_prompt_tokens is not None and self.tokenizer is None:
            raise ValueError(
                "--max-prompt-tokens counts tokens, so --tokenizer must be given; name the Hugging Face "
                "folder of the policy"
            )
        table = PromptFile(
            path=epath.Path(self.path), schema=self._schema(), system_prompt=self.system_prompt
        )
        tokenizer = None if self.tokenizer is None else load_tokenizer(self.tokenizer)
        show_inspection(
            inspect_table(table, tokenizer),
            Console(width=None if sys.stdout.isatty() else 110),
            tokenizer=tokenizer,
            max_prompt_tokens=self.max_prompt_tokens,
            num_shown=self.num_shown,
        )

    def _schema(self) -> Schema:
        """As it is named, or as it is found; columns that are named make it that of columns."""
        columns = {"prompt_column": self.prompt_column, "answer_column": self.answer_column}
        given = columns | {"data_source_column": self.data_source_column, "boxed": self.boxed}
        given = {name: value for name, value in given.items() if value}
        if self.schema in SCHEMAS:
            schema = SCHEMAS[self.schema]()
        elif self.schema == "columns" or any(columns.values()):
            schema = Columns()
        else:
            schema = find_schema(self.path)
        if given and not isinstance(schema, Columns):
            flags = ", ".join("--" + name.replace("_", "-") for name in given)
            raise ValueError(
                f"{flags} must go with the schema columns, and {self.path} is read as {schema}; leave it "
                "out, or take --schema columns"
            )
        return replace(schema, **given)
