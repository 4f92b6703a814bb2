"""What one chip does in every part of a step: operations, memory traffic, network traffic, by formula.

Assumptions. Attention is counted as it is run: in packed rows splash attention computes all pairs under the
diagonal of a row, also those of different sequences, and so does cuDNN, which reads a mask of packed rows;
plain XLA, in f32 on a GPU, computes all pairs. The backward pass takes two products for each of the forward
pass; attention kernels compute their scores again, and token statistics their logits. Of an embedding that is
no head only rows are read, which count as nothing, and tokens' states are sent instead of it. Each product
reads its operands from high-bandwidth memory once and writes its result once; what lies between is fused.
Parameters cross the network in the compute dtype, once forward and once backward, gradients in f32 once a
micro-batch. Rows that have ended are decoded on until their wave ends.
"""

from dataclasses import dataclass, field

from entropy_rl.models.parameters import count
from entropy_rl.plan.arithmetic import gradient_flops, head_flops, kv_size, layers_flops, num_read
from entropy_rl.plan.job import Job
from entropy_rl.plan.memory import F32, attends_by_cudnn, item_bytes, mask_bytes, moment_bytes
from pallas_kernels.chips import TPUChip


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one chip does in one execution of a program."""

    flops: float = 0.0
    hbm_bytes: float = 0.0
    sent: dict[str, float] = field(default_factory=dict)
    """Bytes it sends along each mesh axis."""

    def __add__(self, other: "Work") -> "Work":
        sent = {axis: self.sent.get(axis, 0.0) + other.sent.get(axis, 0.0) for axis in self.sent | other.sent}
        return Work(flops=self.flops + other.flops, hbm_bytes=self.hbm_bytes + other.hbm_bytes, sent=sent)

    def times(self, number: float) -> "Work":
        """The same so many times."""
        sent = {axis: number * value for axis, value in self.sent.items()}
        return Work(flops=number * self.flops, hbm_bytes=number * self.hbm_bytes, sent=sent)


def useful_flops(job: Job) -> float:
    """Of a whole step on all chips: what the mathematics needs of the updates, 3 forward passes of each real
    token with causal attention inside its sequence. Neither padding nor anything computed twice counts."""
    c, p, r = job.architecture, job.prompts, job.responses
    slots = p.mean + r.mean - 1
    square = p.mean_square + r.mean_square + 1 + 2 * p.mean * r.mean - 2 * p.mean - 2 * r.mean
    forward = layers_flops(c, slots, (square + slots) / 2) + head_flops(c, r.mean)
    return 3 * forward * job.num_sequences


def reshard(job: Job) -> Work:
    """Training's parameters, read in f32, to decoding's, whole over fsdp in the compute dtype."""
    total, mesh = count(job.architecture), job.config.mesh
    own, whole = total / (mesh.fsdp * mesh.tensor), item_bytes(job) * total / mesh.tensor
    return Work(hbm_bytes=F32 * own + 2 * whole, sent={"fsdp": _left(mesh.fsdp) * whole})


def prefill(job: Job) -> Work:
    """One wave's prompts, each padded to the longest."""
    c, S = job.architecture, job.prompts.longest
    tokens = job.prompts_per_wave / job.num_shards * S
    pairs = tokens * (S + 1) / 2 if _skips(job) else tokens * S
    flops = layers_flops(c, tokens, pairs) + head_flops(c, tokens / S)
    keys = kv_size(c) * tokens * item_bytes(job)
    tensor = job.config.mesh.tensor
    return Work(
        flops=flops / tensor,
        hbm_bytes=(_weights_bytes(job) + keys) / tensor + _activation_bytes(job, tokens),
        sent=_tensor_traffic(job, tokens, passes=1),
    )


def decode_step(job: Job) -> Work:
    """One token of every sequence of a wave, ended or not, in the mean over the wave's steps."""
    c, batch, tensor = job.architecture, job.config.batch, job.config.mesh.tensor
    prompts = job.prompts_per_wave / job.num_shards
    rows = prompts * batch.samples_per_prompt
    slots, S = job.mean_slots, job.prompts.longest
    flops = layers_flops(c, rows, rows * (slots + S)) + head_flops(c, rows)
    keys = kv_size(c) * (rows * slots + prompts * S) * item_bytes(job)
    logits = 3 * F32 * c.vocab_size * rows
    return Work(
        flops=flops / tensor,
        hbm_bytes=(_weights_bytes(job) + keys + logits) / tensor,
        sent=_tensor_traffic(job, rows, passes=1),
    )


def log_probs(job: Job) -> Work:
    """Log-probs of one mini-batch."""
    c, tensor = job.architecture, job.config.mesh.tensor
    total = Work()
    for number, tokens, pairs in _rows(job):
        flops = layers_flops(c, tokens, pairs) + head_flops(c, tokens)
        work = Work(
            flops=flops / tensor,
            hbm_bytes=2 * _weights_bytes(job) / tensor
            + _activation_bytes(job, tokens)
            + c.num_layers * mask_bytes(job, tokens),
            sent=_tensor_traffic(job, tokens, passes=1) | {"fsdp": _gather(job)},
        )
        total += work.times(number)
    return total


def update(job: Job) -> Work:
    """One update: all micro-batches, the optimiser, and the pass in which tokens are chosen, where it needs
    one (in the mean over the updates of a step)."""
    c, mesh, policy = job.architecture, job.config.mesh, job.config.policy
    again = policy.rematerialize in ("layer", "offload")
    own = count(c) / (mesh.fsdp * mesh.tensor)
    total = log_probs(job).times(job.num_selections / job.num_updates)
    total += Work(hbm_bytes=own * (3 * F32 + 2 * moment_bytes(job.config.optimizer)))
    for number, tokens, pairs in _rows(job):
        flops = gradient_flops(c, tokens, pairs, again=again, scores_again=_skips(job))
        passes = 4 if again else 3
        work = Work(
            flops=flops / mesh.tensor,
            # Gathered weights are written and read; a gradient is written, and added to what there is.
            hbm_bytes=(passes + 2) * _weights_bytes(job) / mesh.tensor
            + 4 * F32 * own
            + passes * _activation_bytes(job, tokens)
            + (passes - 1) * c.num_layers * mask_bytes(job, tokens),
            sent=_tensor_traffic(job, tokens, passes=passes - 1)
            | {
                "fsdp": 2 * _gather(job) + F32 * _left(mesh.fsdp) * num_read(c) / mesh.tensor,
                "data": 2 * F32 * _left(mesh.data) * own,
            },
        )
        total += work.times(number)
    return total


def _rows(job: Job) -> list[tuple[float, float, float]]:
    """(how many micro-batches, tokens of one on a shard, pairs of these), for each shape of micro-batch."""
    if job.geometry is None:
        S, T = job.prompts.longest, job.responses.longest - 1
        number = job.config.batch.layout.num_microbatches
        prompts = job.config.batch.prompts_per_update / number / job.num_shards
        rows = prompts * job.config.batch.samples_per_prompt
        pairs = (prompts * S * S + rows * T * T) / (2 if _skips(job) else 1) + rows * T * S
        return [(number, prompts * S + rows * T, pairs)]
    shapes = [(R / job.num_shards * C, C) for R, C in job.geometry.shapes]
    return [
        (number, tokens, tokens * (C + 1) / 2 if _skips(job) else tokens * C)
        for number, (tokens, C) in zip(job.microbatches, shapes, strict=True)
    ]


def _skips(job: Job) -> bool:
    """Whether attention leaves out what lies above the diagonal: splash attention and cuDNN's do."""
    return isinstance(job.topology.chip, TPUChip) or attends_by_cudnn(job)


def _left(n: int) -> float:
    """The share that comes from others."""
    return (n - 1) / n


def _weights_bytes(job: Job) -> float:
    """Parameters that a pass reads whole, in the compute dtype."""
    return float(item_bytes(job) * num_read(job.architecture))


def _gather(job: Job) -> float:
    """Bytes a chip sends when all parameters are gathered once."""
    return _left(job.config.mesh.fsdp) * _weights_bytes(job) / job.config.mesh.tensor


def _activation_bytes(job: Job, tokens: float) -> float:
    """Operands and results of all products of a pass, read and written once."""
    c, tensor = job.architecture, job.config.mesh.tensor
    cut = 2 * c.num_heads * c.head_dim + 2 * c.num_kv_heads * c.head_dim + 3 * c.intermediate_size
    return 2 * item_bytes(job) * c.num_layers * tokens * (cut / tensor + 4 * c.hidden_size)


def _tensor_traffic(job: Job, tokens: float, passes: int) -> dict[str, float]:
    """Two sums of activations over the tensor axis in every layer and pass, and one of the embedding."""
    c, n = job.architecture, job.config.mesh.tensor
    return {
        "tensor": passes * (2 * c.num_layers + 1) * 2 * _left(n) * item_bytes(job) * tokens * c.hidden_size
    }
