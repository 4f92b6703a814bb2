"""One run, whole: every setting that decides its numbers, composed of the settings of the parts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal, get_args

import jax
from etils import epath

from entropy_rl.data.prompts import Prompt
from entropy_rl.data.tasks import CountdownTask, Task
from entropy_rl.data.tokenizers import Tokenizer
from entropy_rl.dynamic_sampling import DynamicSampling
from entropy_rl.guard import CollapseGuard
from entropy_rl.kernel_choice import KernelConfig, Kernels, selector_beside
from entropy_rl.models.config import Qwen2Config
from entropy_rl.models.policy import Policy
from entropy_rl.models.rematerialization import Rematerialize
from entropy_rl.objectives import (
    Aggregation,
    GroupAdvantage,
    KLCov,
    PolicyObjective,
    Regularizer,
    TokenMean,
)
from entropy_rl.parallelism import MeshConfig, axes_of, num_shards
from entropy_rl.recording import Recording
from entropy_rl.sampler import GREEDY, Sampler, Sampling
from entropy_rl.training.layout import Layout, Packed, Padded
from entropy_rl.training.learner import Learner
from entropy_rl.training.optimizer import AdamW, Optimizer
from entropy_rl.training.warm_start import WarmStart
from entropy_rl.validation import Schedule, Validation

Dtype = Literal["float32", "bfloat16"]
Stream = Literal["init", "sampler", "selection", "evaluation", "later generation batches"]
"""Uses of random numbers; a new one goes to the end, or old runs could not be repeated."""


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """Where the policy comes from and in which precision it works."""

    directory: Path | None = None
    """Hugging Face folder of a pretrained policy; None starts from random parameters."""
    architecture: Qwen2Config | None = None
    """Sizes of a policy that starts from random parameters, or those that the folder must have: with them a
    run can be planned before its weights are there."""
    param_dtype: Dtype = "float32"
    """Dtype in which parameters are kept and updated."""
    compute_dtype: Dtype = Policy.compute_dtype
    """Dtype of activations and matrix products; norms, softmax and logits are float32 all the same."""
    rematerialize: Rematerialize = Policy.rematerialize
    """What the backward pass computes again: none of it; all but matrix products (dots); all but the input of
    each layer (layer), which may be kept in the host's memory (offload)."""

    def __post_init__(self):
        if self.directory is None and self.architecture is None:
            raise ValueError(
                "a policy needs policy.directory (pretrained), policy.architecture (random start) or both "
                "(pretrained, of these sizes), got neither"
            )


@dataclass(frozen=True, kw_only=True)
class BatchConfig:
    """How many prompts, samples and updates make a step."""

    prompts_per_step: int = 256
    """Prompts of one rollout."""
    samples_per_prompt: int = 8
    """G, responses sampled to each prompt."""
    prompts_per_update: int = 32
    """Prompts of one optimiser mini-batch; the paper makes 256 / 32 = 8 updates from a rollout."""
    prompts_per_wave: int | None = None
    """Prompts whose responses are sampled together (None: all of a step), which bounds the memory of keys and
    values; no result depends on it."""
    layout: Layout = Packed()
    """How a mini-batch goes through the model, and in how many micro-batches, to save memory."""

    @property
    def updates_per_step(self) -> int:
        """Optimiser updates made from one rollout."""
        return self.prompts_per_step // self.prompts_per_update

    def __post_init__(self):
        numbers = {"prompts_per_step": self.prompts_per_step, "prompts_per_update": self.prompts_per_update}
        if isinstance(self.layout, Padded):
            numbers["layout.num_microbatches"] = self.layout.num_microbatches
        for (whole, number), (part, divisor) in pairwise(numbers.items()):
            if divisor < 1 or number % divisor:
                raise ValueError(
                    f"batch.{part} must be a divisor of batch.{whole}, got {divisor} and {number}"
                )


@dataclass(frozen=True, kw_only=True)
class Evaluation(Schedule):
    """How the policy is measured on the task's held-out prompts."""

    num_samples: int = 8
    """Samples of each prompt: average@k over all of them, pass@k for each power of two up to them."""
    max_prompts: int | None = None
    """Use only the first so many held-out prompts (None: all)."""
    sampling: Sampling = Sampling()
    """How responses are drawn; the paper's AIME and AMC figures use temperature 0.6."""
    greedy: bool = False
    """Measure the greedy response to each prompt too."""

    def sampler(
        self, training: Sampler, sequences_at_once: int, num_shards: int, *, greedy: bool = False
    ) -> Sampler:
        """The training sampler with these settings, or one that is greedy, instead of its own.

        A wave has at most so many responses, that it may fit where training's does, and a prompt at least on
        each shard of prompts.
        """
        num_samples = 1 if greedy else self.num_samples
        prompts_of_shard = max(sequences_at_once // (num_samples * num_shards), 1)
        return replace(
            training,
            sampling=GREEDY if greedy else self.sampling,
            num_samples=num_samples,
            prompts_per_wave=prompts_of_shard * num_shards,
            watches_logits=False,
        )


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A run. Its file in configs/ returns one; the command line may override single fields."""

    name: str
    """Folder of the run under `runs_folder`."""
    policy: PolicyConfig
    task: Task = CountdownTask()
    objective: PolicyObjective = KLCov()
    optimizer: Optimizer = AdamW()
    batch: BatchConfig = BatchConfig()
    sampling: Sampling = Sampling()
    advantage: GroupAdvantage = GroupAdvantage()
    aggregation: Aggregation = TokenMean()
    regularizer: Regularizer = Regularizer()
    guard: CollapseGuard = CollapseGuard()
    dynamic_sampling: DynamicSampling | None = None
    """Learn only from groups that pass a filter, and sample until there are enough (None: from all)."""
    mesh: MeshConfig = MeshConfig()
    kernels: KernelConfig = KernelConfig()
    evaluation: Evaluation | None = Evaluation()
    validation: Validation | None = None
    """Measuring by a suite of benchmarks, beside the task's own held-out prompts."""
    recording: Recording = Recording()
    """What is recorded beside the numbers of each step."""
    warm_start: WarmStart | None = None
    """Supervised training on the task's demonstrations before the run; its result is cached."""
    num_steps: int = 100
    """Training steps: one rollout and all of its updates each."""
    seed: int = 0
    """Decides initial parameters, order of prompts and every sampled token."""
    runs_folder: Path = Path("runs")
    """Where the folders of runs lie."""
    checkpoint_folder: str | None = None
    """Where checkpoints lie, as FOLDER/NAME/checkpoints: storage that outlives the machine and that all
    processes see, such as gs://bucket/runs. None: in the folder of the run."""
    checkpoint_every_steps: int = 25
    """Save a checkpoint after each so many steps, and after the last."""
    keep_checkpoints: int = 2
    """Older checkpoints are deleted."""
    max_skipped_updates: int = 3
    """Stop the run when so many updates in a row had a non-finite loss or gradient."""

    def __post_init__(self):
        if (self.checkpoint_folder or "").startswith("s3://"):
            raise ValueError(
                f"checkpoint_folder must be a folder or on gs://, got {self.checkpoint_folder}: orbax cannot "
                "write arrays to s3://; give a shared or mounted file system"
            )
        if self.num_steps < 1 or self.checkpoint_every_steps < 1 or self.max_skipped_updates < 1:
            raise ValueError(
                "num_steps, checkpoint_every_steps and max_skipped_updates must be at least 1, got "
                f"{self.num_steps}, {self.checkpoint_every_steps} and {self.max_skipped_updates}"
            )
        self._check_rollouts()
        shards = self.num_shards
        rows_at_once = {"batch.prompts_per_update": self.batch.prompts_per_update}
        match self.batch.layout:
            case Padded(num_microbatches=number):
                prompts = self.batch.prompts_per_update // number
                rows_at_once = {"the prompts of a micro-batch": prompts}
            case Packed() as packed:  # which refuses rows that do not fit
                packed.row_slots(self.task.max_prompt_tokens + self.task.max_response_tokens)
        if self.warm_start is not None:
            rows_at_once["warm_start.batch_size"] = self.warm_start.batch_size
        for what, number in rows_at_once.items():
            if number % shards:
                axes = " * ".join(f"mesh.{axis}" for axis in axes_of("batch"))
                raise ValueError(
                    f"{axes} must divide {what}, got {shards} and {number}; change the one or the other"
                )

    def _check_rollouts(self) -> None:
        batch, shards, wave = self.batch, self.num_shards, self.batch.prompts_per_wave
        if self.dynamic_sampling is not None:
            self.dynamic_sampling.check(
                prompts_per_step=batch.prompts_per_step,
                samples_per_prompt=batch.samples_per_prompt,
                num_shards=shards,
            )
        if wave is not None and (wave % shards or not 0 < wave <= self.prompts_per_gen_batch):
            raise ValueError(
                f"batch.prompts_per_wave must be a multiple of mesh.data * mesh.fsdp = {shards} and at most "
                f"{self.gen_batch_setting} = {self.prompts_per_gen_batch}, got {wave}"
            )

    @property
    def prompts_per_gen_batch(self) -> int:
        """Prompts that are read and sampled at a time: those of a step, unless dynamic sampling differs."""
        given = None if self.dynamic_sampling is None else self.dynamic_sampling.prompts_per_gen_batch
        return given or self.batch.prompts_per_step

    @property
    def gen_batch_setting(self) -> str:
        """The setting that decides how many these are."""
        given = None if self.dynamic_sampling is None else self.dynamic_sampling.prompts_per_gen_batch
        return "batch.prompts_per_step" if given is None else "dynamic_sampling.prompts_per_gen_batch"

    @property
    def sequences_at_once(self) -> int:
        """Responses that are sampled together: those of a wave."""
        return (self.batch.prompts_per_wave or self.prompts_per_gen_batch) * self.batch.samples_per_prompt

    @property
    def num_shards(self) -> int:
        """Shards of prompts."""
        return num_shards(self.mesh, "batch")

    @property
    def checkpoints(self) -> epath.Path:
        """Folder of this run's checkpoints."""
        return self._lasting_folder / self.name / "checkpoints"

    @property
    def compiled_programs(self) -> epath.Path:
        """Folder of what runs on accelerators have compiled, beside the runs."""
        return self._lasting_folder / ".compiled"

    @property
    def _lasting_folder(self) -> epath.Path:
        return epath.Path(self.runs_folder if self.checkpoint_folder is None else self.checkpoint_folder)

    def key(self, stream: Stream, step: int = 0) -> jax.Array:
        """Random key of one use at one step; together they are all the randomness of a run."""
        number = get_args(Stream).index(stream)
        return jax.random.fold_in(jax.random.fold_in(jax.random.key(self.seed), number), step)

    def sampler_key(self, step: int, gen_batch: int) -> jax.Array:
        """Random key of one generation batch of a step; the first one's is that without dynamic sampling."""
        if gen_batch == 0:
            return self.key("sampler", step)
        return jax.random.fold_in(self.key("later generation batches", step), gen_batch)

    def sampler(self, policy: Policy, tokenizer: Tokenizer) -> Sampler:
        """The sampler of the training rollouts."""
        return Sampler(
            policy=policy,
            sampling=self.sampling,
            stop_ids=tokenizer.stop_ids,
            pad_id=tokenizer.pad_id,
            num_samples=self.batch.samples_per_prompt,
            max_new_tokens=self.task.max_response_tokens,
            prompts_per_wave=self.batch.prompts_per_wave,
            watches_logits=True,
        )

    def evaluation_sampler(self, policy: Policy, tokenizer: Tokenizer, *, greedy: bool = False) -> Sampler:
        """The sampler of held-out prompts; there must be an evaluation."""
        training, sequences = self.sampler(policy, tokenizer), self.sequences_at_once
        if greedy:  # each has a prompt of its own, where a group of training shares one
            longest = self.task.max_response_tokens
            sequences = sequences * longest // (self.task.max_prompt_tokens + longest)
        return self.evaluation.sampler(training, sequences, self.num_shards, greedy=greedy)

    def kernels_on(self, devices: Sequence[jax.Device], architecture: Qwen2Config) -> Kernels:
        """The kernels of these settings for a policy on the first of these devices."""
        return Kernels.of(
            self.mesh.build(devices),
            architecture,
            self.policy.compute_dtype,
            chosen=self.kernels,
            packed=isinstance(self.batch.layout, Packed),
        )

    def policy_of(self, architecture: Qwen2Config, devices: Sequence[jax.Device] | None = None) -> Policy:
        """The policy these settings describe, with the kernels of its devices (default: all there are)."""
        devices = jax.devices() if devices is None else devices
        policy = Policy(architecture, self.policy.compute_dtype, self.policy.rematerialize)
        return self.kernels_on(devices, architecture).equip(policy)

    def heldout_prompts(self, tokenizer: Tokenizer) -> list[Prompt]:
        """The prompts that evaluation asks."""
        prompts = self.task.heldout_prompts(tokenizer)
        return prompts if self.evaluation is None else prompts[: self.evaluation.max_prompts]

    def learner(self, policy: Policy, devices: Sequence[jax.Device] | None = None) -> Learner:
        """The learner these settings describe."""
        devices = jax.devices() if devices is None else devices
        return Learner(
            policy=policy,
            objective=self.objective,
            optimizer=self.optimizer,
            aggregation=self.aggregation,
            temperature=self.sampling.temperature,
            regularizer=self.regularizer,
            layout=self.batch.layout,
            selector=selector_beside(policy, devices[0], self.kernels),
        )
