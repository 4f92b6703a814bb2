"""The design of a study: which methods in which settings, tuned on what, and measured on what."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from entropy_rl.config import Evaluation, RunConfig
from entropy_rl.config_file import load_module
from entropy_rl.data.tasks import Task
from entropy_rl.observability.run_folder import validate_name

NUM_SAMPLES = 8
"""Held-out samples of each problem, k of average@k and pass@k."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A method with values for its knobs."""

    name: str
    """The values, as tables tell them."""
    config: RunConfig
    """A run of it; its name, seed, task, evaluation and folders are the study's business."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """What is compared, in the settings it may choose from."""

    name: str
    settings: tuple[Setting, ...]

    def setting(self, name: str) -> Setting:
        """Raises ValueError when there is none of this name."""
        found = [setting for setting in self.settings if setting.name == name]
        if not found:
            known = "; ".join(setting.name for setting in self.settings)
            raise ValueError(f"a setting of {self.name} must be one of: {known}; got {name!r}; tune again")
        return found[0]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Seeds and problems."""

    name: str
    seeds: tuple[int, ...]
    task: Task
    evaluation: Evaluation

    def __post_init__(self):
        if self.evaluation.num_samples != NUM_SAMPLES:
            raise ValueError(
                f"a study tells average@{NUM_SAMPLES} and pass@{NUM_SAMPLES}: stage {self.name} must "
                f"evaluate {NUM_SAMPLES} samples, got {self.evaluation.num_samples}"
            )
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"the seeds of stage {self.name} must be different and some, got {self.seeds}")


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One run of a study."""

    method: str
    setting: str
    seed: int
    config: RunConfig

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.config.runs_folder / self.config.name


@dataclass(frozen=True, kw_only=True)
class Study:
    """Methods with equally many settings each, chosen by `development` and measured by `final`."""

    methods: tuple[Method, ...]
    baseline: str
    """The method that the others are measured against."""
    claimant: str
    """The method that a claim is made of."""
    development: Stage
    final: Stage
    controls: tuple[tuple[str, str], ...] = ()
    """Methods in settings, by name, that `final` measures whatever tuning chose: the claim is held against
    each of them as well as against the baseline."""
    claimed_entropy_ratio: float = 10.0
    """How many times the baseline's plateau entropy the claimant is said to hold (arXiv 2505.22617, Section
    4.3)."""
    margin: float = 0.02
    """By how much average@k may be lower and still count as "no lower"."""

    def __post_init__(self):
        names = [method.name for method in self.methods]
        needed = dict.fromkeys((self.baseline, self.claimant, *(name for name, _ in self.controls)))
        if len(set(names)) < len(names) or not set(needed) <= set(names):
            raise ValueError(
                f"methods must have different names, {', '.join(needed)} among them, got {names}"
            )
        for name, setting in self.controls:
            self.method(name).setting(setting)
        budgets = {method.name: len({setting.name for setting in method.settings}) for method in self.methods}
        if len(set(budgets.values())) > 1 or 0 in budgets.values():
            raise ValueError(f"every method must have the same number of different settings, got {budgets}")
        if shared := set(self.development.seeds) & set(self.final.seeds):
            raise ValueError(f"final seeds must be fresh, {sorted(shared)} are development seeds too")
        steps = {setting.config.num_steps for method in self.methods for setting in method.settings}
        if len(steps) > 1:
            raise ValueError(f"all methods must make the same number of steps, got {sorted(steps)}")

    @property
    def labels(self) -> list[str]:
        """What final runs can be of: methods, then controls."""
        return [method.name for method in self.methods] + [control_label(*pair) for pair in self.controls]

    def method(self, name: str) -> Method:
        """The method of this name, which must be there."""
        return next(method for method in self.methods if method.name == name)

    def development_runs(self, folder: Path) -> list[PlannedRun]:
        """Every setting of every method on the development seeds."""
        return [
            self._run(self.development, method, setting, seed, folder)
            for method in self.methods
            for setting in method.settings
            for seed in self.development.seeds
        ]

    def final_runs(self, folder: Path, chosen: Mapping[str, str]) -> list[PlannedRun]:
        """Every method in its chosen setting, by name, on the final seeds, and then the controls."""
        runs = [
            self._run(self.final, method, method.setting(chosen[method.name]), seed, folder)
            for method in self.methods
            for seed in self.final.seeds
        ]
        for name, setting in self.controls:
            if chosen[name] != setting:
                method = self.method(name)
                made = (
                    self._run(self.final, method, method.setting(setting), seed, folder)
                    for seed in self.final.seeds
                )
                runs += [replace(run, method=control_label(name, setting)) for run in made]
        return runs

    def check_problems(self) -> None:
        """Raises ValueError where a held-out problem of one stage is one of the other, or trains anywhere."""
        heldout, trained = [], set()
        for stage in (self.development, self.final):
            tokenizer = stage.task.load_tokenizer(None)
            heldout.append({prompt.content for prompt in stage.task.heldout_prompts(tokenizer)})
            trained |= {prompt.content for prompt in stage.task.train_prompts(tokenizer).prompts}
        shared = heldout[0] & heldout[1] | (heldout[0] | heldout[1]) & trained
        if shared:
            raise ValueError(
                "held-out problems of a study must be in one stage only and never train, but "
                f"{len(shared)} are not, such as {min(shared)!r}; give the tasks different parts of one seed"
            )

    def _run(self, stage: Stage, method: Method, setting: Setting, seed: int, folder: Path) -> PlannedRun:
        number = method.settings.index(setting) + 1
        slug = "-".join(method.name.lower().split())
        warm_start = setting.config.warm_start
        if warm_start is not None:
            warm_start = replace(warm_start, cache_folder=folder / "policies")
        config = replace(
            setting.config,
            name=validate_name(f"{slug}-setting{number}-seed{seed}"),
            seed=seed,
            task=stage.task,
            evaluation=stage.evaluation,
            warm_start=warm_start,
            runs_folder=folder / stage.name,
        )
        return PlannedRun(method=method.name, setting=setting.name, seed=seed, config=config)


def control_label(method: str, setting: str) -> str:
    """What a control is called."""
    return f"{method} at {setting}"


def load_study(path: Path) -> Study:
    """What `get_study()` of a Python file returns.

    The file is run as code: use only files you trust. Raises ValueError when it returns something else.
    """
    study = load_module(path, flag="--study", function="get_study").get_study()
    if not isinstance(study, Study):
        raise ValueError(f"get_study() of {path} must return a Study, got {type(study).__name__}")
    return study
