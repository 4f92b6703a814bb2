"""The stages of a study, in their order: tune, final, collect, draw."""

import json
from pathlib import Path

from entropy_rl.observability.json_files import write_json
from entropy_rl.study.curves import read_runs, write_runs
from entropy_rl.study.design import Study
from entropy_rl.study.figures import draw_figures
from entropy_rl.study.results import choose
from entropy_rl.study.table import write_table
from entropy_rl.study.worker import work

TUNING_FILE = "tuning.json"


def tune(study: Study, folder: Path, output: Path) -> None:
    """Makes the development runs, and writes what is chosen by them."""
    study.check_problems()
    runs = study.development_runs(folder)
    work(runs, folder)
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / TUNING_FILE, choose(study, read_runs(runs)))


def final(study: Study, folder: Path, output: Path) -> None:
    """Makes the final runs, in the settings that were chosen."""
    study.check_problems()
    work(study.final_runs(folder, chosen(output)), folder)


def collect(study: Study, folder: Path, output: Path) -> None:
    """Copies the curves of all runs that are done, whose folders need not outlive this."""
    write_runs(output / "development.json", read_runs(study.development_runs(folder)))
    write_runs(output / "final.json", read_runs(study.final_runs(folder, chosen(output))))
    draw(study, folder, output)


def draw(study: Study, folder: Path, output: Path) -> None:
    """Makes the table and the figures from the copies."""
    write_table(study, output)
    draw_figures(output)


def chosen(output: Path) -> dict[str, str]:
    """The setting of each method, by its name. Raises ValueError where nothing was tuned."""
    path = output / TUNING_FILE
    if not path.is_file():
        raise ValueError(f"{path} must say which settings were chosen, it is not there; run --stage tune")
    return json.loads(path.read_bytes())["chosen"]
