"""Bytes of one chip's memory, by kind: by formula, or by formula and compiler together.

What lies in memory between programs follows from shapes and the tables of shardings, and is exact. Of a
program's temporaries the formulas name gradients and what is kept for the backward pass; the rest, when no
compiler says it, is an estimate of what one layer and the head need at once.
"""

import math
from dataclasses import dataclass

from entropy_rl.models.config import Qwen2Config
from entropy_rl.models.embedding import residual_axes
from entropy_rl.models.parameters import parameters
from entropy_rl.parallelism import SAMPLING_RULES, TRAINING_RULES, MeshConfig, Rules, num_shards
from entropy_rl.plan.arithmetic import kv_size, layer_weights
from entropy_rl.plan.job import Job
from entropy_rl.plan.programs import Program
from entropy_rl.training.optimizer import Optimizer
from entropy_rl.training.theory_probe import ShareSize
from pallas_kernels.chips import TPUChip

BF16, F32 = 2, 4
KINDS = (
    "parameters",
    "optimiser",
    "reference",
    "gradients",
    "sampler_copy",
    "kv_cache",
    "activations",
    "other",
)
"""Parameters, optimiser state and the frozen reference of a KL term stay throughout. The sampler's copy and
the cache exist during a rollout, gradients and the activations kept for the backward pass during an update;
other is all the rest: inputs, results, temporaries, and the logits that the theory's probe keeps from before
the updates."""


@dataclass(frozen=True)
class Memory:
    """Bytes of one chip by KINDS, at the highest point of one program."""

    kinds: dict[str, float]
    by_compiler: bool
    host_bytes: float = 0.0
    """Of the host's memory, for one chip."""

    @property
    def total(self) -> float:
        """All together."""
        return sum(self.kinds.values())


def share(c: Qwen2Config, mesh: MeshConfig, rules: Rules) -> float:
    """Parameters of one chip: of each, its size over the mesh axes that cut it."""
    return sum(
        math.prod(row.shape(c)) / math.prod(num_shards(mesh, axis, rules) for axis in row.axes)
        for row in parameters(c)
    )


def moment_bytes(optimizer: Optimizer) -> int:
    """Bytes of optimiser state for a parameter; those of Adafactor are too few to count."""
    dtypes = [getattr(optimizer, f"{name}_moment_dtype", None) for name in ("first", "second")]
    return sum({"float32": F32, "bfloat16": BF16, None: 0}[dtype] for dtype in dtypes)


def item_bytes(job: Job) -> int:
    """Of an activation."""
    return BF16 if job.config.policy.compute_dtype == "bfloat16" else F32


def estimated(job: Job, phase: str) -> Memory:
    """One of PHASES by formula alone."""
    kinds = _known(job, phase)
    kinds["other"] = {
        "reshard": 0.0,
        "prefill": _layer_bytes(job, _wave_tokens(job)) + _rollout_bytes(job),
        "decode": _drawing_bytes(job) + _rollout_bytes(job),
        "ref_logp": _micro_batch_bytes(job) + _head_bytes(job),
        "old_logp": _micro_batch_bytes(job) + _head_bytes(job),
        "update": 2 * _micro_batch_bytes(job)
        + 2 * _head_bytes(job)
        + kinds["gradients"]
        + _kept_logits_bytes(job),
    }[phase]
    return Memory(kinds=kinds, by_compiler=False, host_bytes=_offloaded(job) if phase == "update" else 0.0)


def compiled(job: Job, phase: str, program: Program) -> Memory:
    """One of PHASES: what the compiler says, of which the formulas name the kinds they know.

    Training's parameters and optimiser state are no arguments of the sampler's programs, but stay. So does
    the reference; its own pass has it for an argument, and the parameters stay.
    """
    kinds = _known(job, phase)
    total = program.total_bytes + kinds["reference"]
    if phase in ("prefill", "decode"):
        total += kinds["parameters"] + kinds["optimiser"]
        if kinds["sampler_copy"] == 0:
            total -= kinds["parameters"]  # the sampler reads them as they are
    if phase in ("reshard", "ref_logp", "old_logp"):
        total += kinds["optimiser"]
    if phase == "update":
        total += _kept_logits_bytes(job)
    named = sum(kinds.values())
    if phase == "update" and named > total:  # not everything that might be kept is
        kinds["activations"] = max(kinds["activations"] - (named - total), 0.0)
    kinds["other"] = max(total - sum(kinds.values()), 0.0)
    return Memory(kinds=kinds, by_compiler=True, host_bytes=program.host_bytes)


def too_large(job: Job, phase: str, needed_bytes: float) -> Memory:
    """One of PHASES that the compiler refused, with what it said that it needs."""
    stand_in = Program(
        argument_bytes=0,
        output_bytes=0,
        temporary_bytes=int(needed_bytes),
        host_bytes=0,
        flops=0.0,
        text="",
        seconds=0.0,
    )
    return compiled(job, phase, stand_in)


def sampler_differs(job: Job) -> bool:
    """Whether decoding reads a copy of the parameters."""
    policy = job.config.policy
    return job.config.mesh.fsdp > 1 or policy.compute_dtype != policy.param_dtype


def _known(job: Job, phase: str) -> dict[str, float]:
    c, config = job.architecture, job.config
    own = share(c, config.mesh, TRAINING_RULES)
    param_bytes = {"float32": F32, "bfloat16": BF16}[config.policy.param_dtype]
    kinds = dict.fromkeys(KINDS, 0.0)
    kinds["parameters"] = param_bytes * own
    kinds["optimiser"] = moment_bytes(config.optimizer) * own
    if config.regularizer.needs_reference:
        kinds["reference"] = kinds["parameters"]
    if phase in ("reshard", "prefill", "decode") and sampler_differs(job):
        kinds["sampler_copy"] = item_bytes(job) * share(c, config.mesh, SAMPLING_RULES)
    if phase in ("prefill", "decode"):
        kinds["kv_cache"] = cache_bytes(job, with_responses=phase == "decode")
    if phase == "update":
        kinds["gradients"] = F32 * own
        kinds["activations"] = _kept_bytes(job)
    return kinds


def cache_bytes(job: Job, *, with_responses: bool) -> float:
    """Keys and values of a wave: prompts once for their samples, responses up to the longest."""
    c, rows = job.architecture, job.prompts_per_wave / job.num_shards
    slots = rows * job.prompts.longest
    if with_responses:
        slots += rows * job.config.batch.samples_per_prompt * max(job.responses.longest - 1, 1)
    return slots * kv_size(c) * item_bytes(job) / job.config.mesh.tensor


def _row_tokens(job: Job) -> float:
    """Slots of the largest micro-batch on one shard."""
    if job.geometry is not None:
        rows, slots = job.geometry.shapes[0]
        return rows * slots / job.num_shards
    prompts = job.config.batch.prompts_per_update / job.config.batch.layout.num_microbatches
    return (
        prompts
        * (job.prompts.longest + job.config.batch.samples_per_prompt * job.responses.longest)
        / job.num_shards
    )


def _wave_tokens(job: Job) -> float:
    return job.prompts_per_wave * job.prompts.longest / job.num_shards


def _kept_bytes(job: Job) -> float:
    """What the backward pass finds of the forward pass, of all layers."""
    c, tensor = job.architecture, job.config.mesh.tensor
    heads = (2 * c.num_heads + 2 * c.num_kv_heads) * c.head_dim
    products = 2 * c.hidden_size + (heads + 2 * c.intermediate_size) / tensor
    wide = c.hidden_size / _cuts_between_layers(job)
    of_token = {"none": wide + 2 * products, "dots": wide + products, "layer": wide, "offload": 0.0}
    kept = of_token[job.config.policy.rematerialize]
    return c.num_layers * _row_tokens(job) * item_bytes(job) * kept


def _offloaded(job: Job) -> float:
    if job.config.policy.rematerialize != "offload":
        return 0.0
    c = job.architecture
    return c.num_layers * _row_tokens(job) * item_bytes(job) * c.hidden_size / _cuts_between_layers(job)


def _cuts_between_layers(job: Job) -> int:
    """Shards of the positions of what passes between layers; of padded rows, their responses' are counted."""
    slots = job.responses.longest - 1 if job.geometry is None else job.geometry.shapes[0][1]
    _, positions, _ = residual_axes(slots, job.config.mesh)
    return num_shards(job.config.mesh, positions)


def attends_by_cudnn(job: Job) -> bool:
    """Whether training attends by cuDNN: on GPUs, in 16 bits (entropy_rl/kernel_choice.py)."""
    return not isinstance(job.topology.chip, TPUChip) and item_bytes(job) == BF16


def mask_bytes(job: Job, tokens: float) -> float:
    """Which tokens of packed rows may see which, for attention that is not told of segments: cuDNN's."""
    if job.geometry is None or not attends_by_cudnn(job):
        return 0.0
    return BF16 * tokens * job.geometry.shapes[0][1]


def _layer_bytes(job: Job, tokens: float) -> float:
    """What one layer needs at once: its gathered weights and the next one's, and all activations."""
    c, tensor = job.architecture, job.config.mesh.tensor
    wide = 4 * c.hidden_size + (2 * c.num_heads * c.head_dim + 3 * c.intermediate_size) / tensor
    return item_bytes(job) * (2 * layer_weights(c) / tensor + tokens * wide)


def _micro_batch_bytes(job: Job) -> float:
    """What one layer of an update needs at once."""
    return _layer_bytes(job, _row_tokens(job)) + mask_bytes(job, _row_tokens(job))


def _head_bytes(job: Job) -> float:
    """The gathered head and, in the backward pass once more, its gradient in f32."""
    return (BF16 + F32) * job.architecture.vocab_size * job.architecture.hidden_size / job.config.mesh.tensor


def _kept_logits_bytes(job: Job) -> float:
    """What the theory's probe (training/theory_probe.py) holds while the updates of its steps run."""
    config, vocab_size = job.config, job.architecture.vocab_size
    if config.recording.theory_every_steps == 0:
        return 0.0
    size = ShareSize.of_step(
        job.num_sequences,
        job.responses.longest,
        config.recording.theory_fraction,
        vocab_size=vocab_size,
        shards=job.num_shards,
    )
    return F32 * size.num_chunks * size.chunk * vocab_size / (job.num_shards * config.mesh.tensor)


def _rollout_bytes(job: Job) -> float:
    """Tokens, masks, log-probs and random numbers of a wave, and what has been sampled before."""
    sequences = job.prompts_per_wave * job.config.batch.samples_per_prompt
    return (13 * job.num_sequences + 2 * 8 * sequences) * job.responses.longest / job.num_shards


def _drawing_bytes(job: Job) -> float:
    """Logits in f32, and twice again while they are drawn from."""
    rows = job.prompts_per_wave * job.config.batch.samples_per_prompt / job.num_shards
    return 3 * F32 * rows * job.architecture.vocab_size / job.config.mesh.tensor
