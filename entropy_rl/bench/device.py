"""How near updates and decoding come to what the present device can do, at the shapes of Qwen2.5.

The roofline is measured in the same run: the best rate of large bf16 matrix products, and the bandwidth of a
copy, counted as bytes read plus bytes written.

Update: model FLOPs over time and peak rate (MFU). A token costs 6 FLOPs for each parameter that it is
multiplied with, 2 forward and 4 backward: all kernels of the layers, and for response tokens the head. A
pair of a query and a key it sees costs 12 N H a layer: 4 N H forward for scores and values, twice that
backward. Pairs hidden by causality, prompts run more than once and whatever is computed again do not count.

Decode: bytes that a token step must read over time and copy bandwidth. These are the weights in bf16, of an
embedding that is not the head only the rows looked up; keys and values of each prompt once for its samples;
those of every token generated so far. Slots that are read although nothing is in them do not count.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp

from entropy_rl.bench.device_workloads import DecodeLoad, DeviceWorkload, UpdateLoad
from entropy_rl.bench.kernels import take_turns
from entropy_rl.kernel_choice import Kernels
from entropy_rl.models.config import Qwen2Config
from entropy_rl.models.policy import Policy
from entropy_rl.objectives import KLCov
from entropy_rl.observability.clock import Clock
from entropy_rl.parallelism import MeshConfig
from entropy_rl.plan.arithmetic import head_flops, kv_size, layers_flops, num_read
from entropy_rl.sampler import Sampler, Sampling, wave
from entropy_rl.training.layout import Packed
from entropy_rl.training.learner import Learner
from entropy_rl.training.step import learn
from entropy_rl.types import Rollout

DTYPE = "bfloat16"
TARGETS = {"update": 0.5, "decode": 0.7}
"""Shares of the roofline to be reached: of the matrix rate, and of copy bandwidth."""


@dataclass(frozen=True, kw_only=True)
class Roofline:
    """What the device reached in this run."""

    flops_per_second: float
    """Best rate of a large bf16 matrix product."""
    bytes_per_second: float
    """Best rate of a copy, reads and writes added."""


@dataclass(frozen=True, kw_only=True)
class DeviceRow:
    """One measurement."""

    what: str
    """update or decode."""
    shape: str
    num_layers: int
    of_layers: int
    """Layers of the published shape; more than `num_layers` where these are all that fit."""
    num_sequences: int
    setting: str
    """What else decides the figure."""
    seconds: float
    """Median of an update, or of a token step."""
    seconds_range: tuple[float, float]
    work: float
    """Model FLOPs of an update, or bytes that a token step must read."""
    fraction: float
    """Share of the roofline, by the median."""
    target: float
    peak_gib: float | None
    """Most memory the process has used so far, where the device tells."""


def measure_roofline(workload: DeviceWorkload, repeats: int) -> Roofline:
    """Large products, several in a loop, and copies, each the best of `repeats`."""
    flops, num_products = [], 4
    for size in workload.product_sizes:
        matrix = jax.random.normal(jax.random.key(0), (size, size), DTYPE) * size**-0.5

        @jax.jit
        def multiply(x, w):
            return jax.lax.fori_loop(0, num_products, lambda _, x: x @ w, x)

        seconds = take_turns({"product": partial(multiply, matrix, matrix)}, repeats)["product"]
        flops.append(num_products * 2 * size**3 / min(seconds))
    data = jnp.ones(workload.copy_bytes // 2, DTYPE)
    seconds = take_turns({"copy": partial(jax.jit(jnp.negative), data)}, repeats)["copy"]
    return Roofline(flops_per_second=max(flops), bytes_per_second=2 * data.nbytes / min(seconds))


def bench_device(
    workload: DeviceWorkload, roofline: Roofline, *, repeats: int, budget_seconds: float, started: float
) -> Iterator[DeviceRow]:
    """Rows as they are measured, until one like the longest before it might not end within the budget.

    `started` is the time.perf_counter() from which the budget counts. What does not fit the device is tried
    again with half the layers.
    """
    longest = 0.0
    for shape, config in workload.shapes.items():
        update = workload.updates[shape]
        jobs = [partial(_update_row, load=update)]
        jobs += [partial(_decode_row, load=load) for load in workload.decodes]
        jobs += [partial(_update_row, load=update.packed(workload.tokens_per_row))]
        for job in jobs:
            start = time.perf_counter()
            if start - started + longest > budget_seconds:
                return
            row = _with_fewer_layers(job, shape, config, roofline, repeats)
            if row is not None:
                yield row
            longest = max(longest, time.perf_counter() - start)


def _with_fewer_layers(job: Callable, shape: str, config: Qwen2Config, roofline: Roofline, repeats: int):
    """The row with the most layers that fit, halving; None where not even one does."""
    num_layers = config.num_layers
    while num_layers:
        try:
            row = job(shape, replace(config, num_layers=num_layers), roofline, repeats)
            return replace(row, of_layers=config.num_layers)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            num_layers //= 2
    return None


def _update_row(
    shape: str, config: Qwen2Config, roofline: Roofline, repeats: int, *, load: UpdateLoad
) -> DeviceRow:
    learner = update_learner(config, load)
    params = jax.jit(learner.policy.init)(jax.random.key(0))
    adv_PG = jax.random.normal(jax.random.key(2), (load.num_prompts, load.num_samples))
    # Put there explicitly, as training does: else the second update would be compiled anew.
    params, rollout, adv_PG = jax.device_put(
        (params, made_up_rollout(config, load), adv_PG), jax.devices()[0]
    )
    state, seconds = learner.init(params), []
    del params  # donated
    for number in range(repeats + 1):
        clock = Clock()
        state, *_ = learn(
            learner,
            state,
            rollout,
            adv_PG,
            jax.random.key(number),
            prompts_per_update=load.num_prompts,
            clock=clock,
        )
        seconds.append(clock.seconds["update"])
    kept = f"{load.optimizer.first_moment_dtype}, {load.optimizer.second_moment_dtype} moments"
    rows = type(load.layout).__name__.lower()
    setting = f"{rows}, {load.num_prompt_tokens} + {load.num_new_tokens} tokens, {load.rematerialize}, {kept}"
    work = model_flops(config, load)
    return _row("update", shape, config, load.num_sequences, setting, seconds[1:], work, roofline)


def update_learner(config: Qwen2Config, load: UpdateLoad, device: jax.Device | None = None) -> Learner:
    """The learner whose update is measured, with the kernels of the device (None: the first there is)."""
    policy = Policy(config, compute_dtype=DTYPE, rematerialize=load.rematerialize)
    return Learner(
        policy=_equipped(policy, device, packed=isinstance(load.layout, Packed)),
        objective=KLCov(),
        optimizer=load.optimizer,
        layout=load.layout,
    )


def model_flops(config: Qwen2Config, load: UpdateLoad) -> float:
    """FLOPs of one update, as the module's text counts them."""
    S, T, group = load.num_prompt_tokens, load.num_new_tokens, load.num_samples
    num_run, num_labels = float(load.num_prompts * (S + group * (T - 1))), float(load.num_sequences * T)
    pairs = load.num_prompts * (S * (S + 1) / 2 + group * ((T - 1) * S + (T - 1) * T / 2))
    return 3 * (layers_flops(config, num_run, pairs) + head_flops(config, num_labels))


def made_up_rollout(config: Qwen2Config, load: UpdateLoad) -> Rollout:
    """Full responses of random tokens."""
    P, G, S, T = load.num_prompts, load.num_samples, load.num_prompt_tokens, load.num_new_tokens
    key = jax.random.key(1)
    return Rollout(
        prompt_ids_PS=jax.random.randint(key, (P, S), 0, config.vocab_size, jnp.int32),
        prompt_mask_PS=jnp.ones((P, S), bool),
        prompt_id_P=jnp.arange(P, dtype=jnp.int32),
        response_ids_PGT=jax.random.randint(key, (P, G, T), 0, config.vocab_size, jnp.int32),
        response_mask_PGT=jnp.ones((P, G, T), bool),
        behavior_logp_PGT=jnp.zeros((P, G, T)),
        logp_PGT=jnp.zeros((P, G, T)),
    )


def _decode_row(
    shape: str, config: Qwen2Config, roofline: Roofline, repeats: int, *, load: DecodeLoad
) -> DeviceRow:
    """Steps in the last segment of the cache; earlier tokens are not decoded, their slots hold zeros."""
    sampler = decode_sampler(config, load)
    params = jax.jit(partial(sampler.policy.init, param_dtype=DTYPE))(jax.random.key(0))
    ids_PS = jnp.ones((load.num_prompts, load.num_prompt_tokens), jnp.int32)
    prompts = (ids_PS, ids_PS > 0, jnp.arange(load.num_prompts, dtype=jnp.int32))
    started, responses = wave.prefill_wave(sampler, params, *prompts, jax.random.key(1))
    *past, cache = (
        wave.empty_segment(sampler, load.num_prompts, size)
        for size in wave.segment_sizes(load.num_new_tokens)
    )
    first, seconds = load.num_new_tokens - load.num_timed, []
    for _ in range(repeats + 1):
        responses = jax.block_until_ready(replace(responses, num_drawn=jnp.int32(first)))
        start = time.perf_counter()
        cache, responses, all_done = wave.decode_call(
            sampler, params, started, tuple(past), cache, responses, load.num_new_tokens
        )
        jax.block_until_ready((cache, responses, all_done))
        seconds.append((time.perf_counter() - start) / load.num_timed)
    setting = f"{load.num_prompt_tokens} + {load.mean_reached:.0f} tokens"
    work = bytes_of_step(config, load)
    return _row("decode", shape, config, load.num_sequences, setting, seconds[1:], work, roofline)


def decode_sampler(config: Qwen2Config, load: DecodeLoad, device: jax.Device | None = None) -> Sampler:
    """The sampler whose decoding is measured: no response ends."""
    return Sampler(
        policy=_equipped(Policy(config, compute_dtype=DTYPE), device),
        sampling=Sampling(),
        stop_ids=(),
        pad_id=0,
        num_samples=load.num_samples,
        max_new_tokens=load.num_new_tokens,
    )


def _equipped(policy: Policy, device: jax.Device | None, *, packed: bool = False) -> Policy:
    mesh = MeshConfig().build(None if device is None else [device])
    return Kernels.of(mesh, policy.config, DTYPE, packed=packed).equip(policy)


def bytes_of_step(config: Qwen2Config, load: DecodeLoad) -> float:
    """Bytes that a token step must read, as the module's text counts them."""
    tokens = load.num_prompts * load.num_prompt_tokens + load.num_sequences * load.mean_reached
    return 2.0 * (num_read(config) + kv_size(config) * tokens)


def _row(what, shape, config, num_sequences, setting, seconds, work, roofline: Roofline) -> DeviceRow:
    median = statistics.median(seconds)
    best = roofline.flops_per_second if what == "update" else roofline.bytes_per_second
    peak_bytes = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    return DeviceRow(
        what=what,
        shape=shape,
        num_layers=config.num_layers,
        of_layers=config.num_layers,
        num_sequences=num_sequences,
        setting=setting,
        seconds=median,
        seconds_range=(min(seconds), max(seconds)),
        work=work,
        fraction=work / median / best,
        target=TARGETS[what],
        peak_gib=None if peak_bytes is None else peak_bytes / 2**30,
    )


HEADER = (
    "| what | shape | layers | sequences | setting | ms (range) | reached | of roofline | target |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def roofline_line(roofline: Roofline) -> str:
    """The roofline in a sentence."""
    return (
        f"Measured here: {roofline.flops_per_second / 1e12:,.3g} TFLOP/s of bf16 products, "
        f"{roofline.bytes_per_second / 1e9:,.3g} GB/s of copies."
    )


def device_line(row: DeviceRow) -> str:
    """A row of the table below HEADER."""
    low, high = (f"{1e3 * seconds:.4g}" for seconds in row.seconds_range)
    layers = (
        str(row.num_layers) if row.num_layers == row.of_layers else f"{row.num_layers} of {row.of_layers}"
    )
    rate = row.work / row.seconds
    reached = f"{rate / 1e12:,.3g} TFLOP/s" if row.what == "update" else f"{rate / 1e9:,.3g} GB/s"
    return (
        f"| {row.what} | {row.shape} | {layers} | {row.num_sequences} | {row.setting} "
        f"| {1e3 * row.seconds:.4g} ({low}-{high}) | {reached} | {100 * row.fraction:.0f} % "
        f"| {100 * row.target:.0f} % |"
    )


def device_numbers(device: dict[str, str], roofline: Roofline, rows: list[DeviceRow]) -> dict:
    """All of it as JSON takes it."""
    return device | {"roofline": asdict(roofline), "rows": [asdict(row) for row in rows]}
