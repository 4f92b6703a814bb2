"""Data sets by their names on the Hugging Face hub, read with the package `datasets`, which is optional."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

from entropy_rl.data.prompt_files import PromptTable
from entropy_rl.data.rows import stored_columns


@dataclass(frozen=True, kw_only=True)
class HubDataset(PromptTable):
    """A data set of the Hugging Face hub, downloaded once and then read from the cache of `datasets`."""

    repository: str
    """Its name there, such as openai/gsm8k, or a folder that `datasets` can read."""
    subset: str | None = None
    """Which of its configurations, such as main; None where it has one only."""
    split: str = "train"
    """Which of its splits."""
    revision: str | None = None
    """Commit, tag or branch; naming a commit keeps a run's data the same for ever."""

    @property
    def name(self) -> str:
        return "/".join(filter(None, (self.repository, self.subset, self.split)))

    def rows(self) -> Iterator[tuple[int, dict]]:
        datasets = _import_datasets()
        try:
            table = datasets.load_dataset(
                self.repository, self.subset, split=self.split, revision=self.revision
            )
        except (OSError, ValueError) as error:  # absent or offline; no such subset or split
            raise ValueError(
                f"{self.name} must be a data set of the Hugging Face hub that can be read here; it cannot: "
                f"{error}; correct repository, subset, split or revision, log in where it is gated, or, "
                "without a network, fetch it elsewhere and give its Parquet file as PromptFile"
            ) from error
        columns = stored_columns(self.schema.columns, table.column_names, self.name)
        return enumerate(table.select_columns(columns), start=1)


def _import_datasets() -> ModuleType:
    try:
        return import_module("datasets")
    except ModuleNotFoundError as error:
        raise ValueError(
            'HubDataset needs the package datasets, which is absent; pip install "entropy-rl[hub]", or '
            "download the data set and give its file as PromptFile"
        ) from error
