"""python -m entropy_rl plan"""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import jax
from rich.console import Console

from entropy_rl.commands.configured import DEFAULT_CONFIG, Configured
from entropy_rl.config import RunConfig
from entropy_rl.config_file import load_config, topologies_of
from entropy_rl.plan.job import Job
from entropy_rl.plan.lengths import Lengths
from entropy_rl.plan.report import recipe_table, show, show_suggestion
from entropy_rl.plan.step import Plan as StepPlan
from entropy_rl.plan.step import as_json, make_plan
from entropy_rl.plan.suggest import suggest
from entropy_rl.plan.topology import Topology
from entropy_rl.plan.weak_scaling import as_markdown, scaled_jobs, weak_scaling


@dataclass(frozen=True, kw_only=True)
class Plan(Configured):
    """Compile a run for chips that need not be there: does it fit, how fast can it be, what does it cost?

    Prints memory and roofline time of every program of a step. Ends with exit code 1 when it does not fit,
    and says what to change. Example: python -m entropy_rl plan --config configs/qwen2_5_32b_kl_cov.py
    --topology v5p:4x4x8. Names of topologies: v5p:4x4x8, v6e:8x8, h200:8 (one node of 8 GPUs), h100:2x8.
    """

    estimate: bool = False
    """Use formulas alone, in a second: memory is rough then. So it is done where there is no compiler."""
    output: Path | None = None
    """File that receives the plan as JSON; with --recipes a folder, of NAME.TOPOLOGY.json and .txt."""
    mean_response_tokens: float = 1000.0
    """Mean of the responses' lengths, log-normal and cut at the task's longest; at most half of that. The
    default is that of the paper's runs."""
    mean_prompt_tokens: float = 200.0
    """The same of the prompts."""
    sigma: float = Lengths.sigma
    """Standard deviation of the logarithm of lengths."""
    price_per_chip_hour: float | None = None
    """Adds the price of the run, without evaluations."""
    recipes: tuple[Path, ...] = ()
    """Plan these files instead, each on all topologies that it names, and print one Markdown table."""
    weak_scaling: bool = False
    """Compile update and decoding for 16, 64 and 256 chips, the same work for each; prints a Markdown table.
    """

    @classmethod
    def load(cls, path: Path, topology: str | None) -> RunConfig:
        named = topologies_of(path)
        return load_config(path, topology if topology in named else None)

    def run(self) -> None:
        self._refuse_what_would_be_ignored()
        self._refuse_an_output_that_cannot_be_written()
        jax.config.update("jax_platforms", "cpu")  # whatever this machine has is not what is planned for
        if self.recipes:
            self._plan_recipes()
            return
        named = self.topology or next(iter(topologies_of(self.config)), None)
        job = self._job(self.config, self.settings, named)
        if self.weak_scaling:
            print(as_markdown(weak_scaling(scaled_jobs(job), ("update", "decode"), _tell)))
            return
        plan, console = self._plan(job), Console(width=None if sys.stdout.isatty() else 150)
        show(plan, console, self.price_per_chip_hour)
        result = as_json(plan, self.price_per_chip_hour)
        if not plan.fits:
            suggestion = suggest(job, plan, by_formula=self._by_formula(job), tell=_tell)
            show_suggestion(suggestion, console)
            result["suggestion"] = suggestion and suggestion.overrides
        if self.output is not None:
            _write_json(self.output, result)
        sys.exit(not plan.fits)

    def _refuse_what_would_be_ignored(self) -> None:
        given = self.config != DEFAULT_CONFIG or self.settings != self.load(self.config, self.topology)
        if self.recipes and given:
            raise ValueError(
                "--recipes plans files as they are, so --config and settings of a run must be left out; plan "
                "one of them by --config to change it"
            )
        alone = {
            "--recipes": self.recipes,
            "--estimate": self.estimate,
            "--output": self.output,
            "--price-per-chip-hour": self.price_per_chip_hour,
        }
        if self.weak_scaling and (ignored := [flag for flag, value in alone.items() if value]):
            raise ValueError(
                f"--weak-scaling compiles, and prints a table of memory and arithmetic: {', '.join(ignored)} "
                "must be left out"
            )

    def _refuse_an_output_that_cannot_be_written(self) -> None:
        """Before hours of compiling, not after."""
        if self.output is None:
            return
        if self.recipes:
            if self.output.exists() and not self.output.is_dir():
                raise ValueError(f"--output must be a folder with --recipes, got the file {self.output}")
            self.output.mkdir(parents=True, exist_ok=True)
        elif self.output.is_dir() or not self.output.parent.is_dir():
            raise ValueError(f"--output must be a file in a folder that exists, got {self.output}")

    def _plan_recipes(self) -> None:
        """Every recipe on every topology, each written as soon as it is planned."""
        jobs = [job for path in self.recipes for job in self._jobs(path)]
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            tried = [threads.submit(self._plan_and_keep, job) for job in jobs]
        plans = [one.result() for one in tried if one.exception() is None]
        print(recipe_table(plans, self.price_per_chip_hour))
        for one in tried:
            one.result()  # what went wrong with one is told when the others are there
        sys.exit(not all(plan.fits for plan in plans))

    def _plan_and_keep(self, job: Job) -> StepPlan:
        """Writes what a plan of its own would print, and its JSON, into the folder of the output."""
        plan = self._plan(job)
        if self.output is None:
            return plan
        name = f"{plan.job.config.name}.{plan.job.topology.name.replace(':', '-')}"
        _write_json(self.output / f"{name}.json", as_json(plan, self.price_per_chip_hour))
        with (self.output / f"{name}.txt").open("w") as file:
            show(plan, Console(file=file, width=150), self.price_per_chip_hour)
        return plan

    def _plan(self, job: Job) -> StepPlan:
        if self._by_formula(job) and not self.estimate:
            _tell(f"estimated by formula, for want of the compiler: {job.topology.missing_compiler}")
        return make_plan(job, by_formula=self._by_formula(job), tell=_tell)

    def _by_formula(self, job: Job) -> bool:
        return self.estimate or job.topology.missing_compiler is not None

    def _jobs(self, path: Path) -> list[Job]:
        topologies = (self.topology,) if self.topology else topologies_of(path) or (None,)
        return [self._job(path, self.load(path, topology), topology) for topology in topologies]

    def _job(self, path: Path, config: RunConfig, topology_name: str | None) -> Job:
        if topology_name is None:
            raise ValueError(
                f"--topology must say what to plan for, since {path} names none; for example v5e:2x4"
            )
        topology, task = Topology.of(topology_name), config.task
        return Job(
            config=_on(topology, config),
            topology=topology,
            prompts=Lengths.at_most(task.max_prompt_tokens, self.mean_prompt_tokens, self.sigma),
            responses=Lengths.at_most(task.max_response_tokens, self.mean_response_tokens, self.sigma),
        )


def _on(topology: Topology, config: RunConfig) -> RunConfig:
    """The configuration with as many shards of parameters as the topology has room for."""
    mesh, chips = config.mesh, topology.num_chips
    if mesh.size == chips:
        return config
    if chips % (mesh.data * mesh.tensor):
        raise ValueError(
            f"mesh.data * mesh.tensor must divide the {chips} chips of {topology.name}, got {mesh.data} x "
            f"{mesh.tensor}; set mesh.data, mesh.fsdp and mesh.tensor"
        )
    fsdp = chips // (mesh.data * mesh.tensor)
    _tell(f"taken for {chips} chips: --mesh.fsdp {fsdp} instead of {mesh.fsdp}")
    return replace(config, mesh=replace(mesh, fsdp=fsdp))


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
