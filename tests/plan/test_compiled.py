"""Plans by the compilers of TPUs and GPUs that are not there."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import jax
import numpy as np
import pytest

from entropy_rl.objectives import KLCov, PPOClip
from entropy_rl.parallelism import MeshConfig
from entropy_rl.plan.collectives import collectives
from entropy_rl.plan.compiler import DoesNotFitError, fingerprint
from entropy_rl.plan.hlo import parse
from entropy_rl.plan.memory import compiled, estimated
from entropy_rl.plan.programs import Programs
from entropy_rl.plan.step import as_json, make_plan, work_of
from entropy_rl.plan.topology import Topology
from entropy_rl.plan.weak_scaling import as_markdown, scaled_jobs, weak_scaling
from tests.plan.jobs import CONFIG, small_job

pytestmark = pytest.mark.usefixtures("without_type_checks")


def test_the_reshard_gathers_every_parameter_once(tpu_devices):
    job = small_job()
    program = Programs(job).program("reshard")
    memory = compiled(job, "reshard", program)
    assert memory.by_compiler and memory.kinds["parameters"] == estimated(job, "reshard").kinds["parameters"]
    found = collectives(parse(program.text), 4, lambda loop: pytest.fail("there is no loop"))
    assert {c.kind for c in found} <= {"all-gather", "collective-permute"}
    # In 16 bits, half of what a chip holds of them afterwards comes from the other shard.
    received = memory.kinds["sampler_copy"] / 2
    np.testing.assert_allclose(sum(c.bytes_sent for c in found), received, rtol=0.02)


def test_programs_that_differ_in_numbers_alone_are_one(tpu_devices):
    objectives = PPOClip(eps_high=0.2), PPOClip(eps_high=0.28), KLCov()
    jobs = [small_job(config=replace(CONFIG, objective=objective)) for objective in objectives]
    ppo, higher, kl_cov = [fingerprint(Programs(job).lowered("update")) for job in jobs]
    assert ppo == higher != kl_cov


def test_one_chip_is_planned_for_by_its_compiler_too(tpu_devices):
    program = Programs(small_job("v5e:1x1", replace(CONFIG, mesh=MeshConfig()))).program("decode")
    assert program.argument_bytes > 0 and "s32[48," in program.text  # tokens of 16 prompts x 3 samples


def test_a_program_is_compiled_once_for_all_that_ask_at_the_same_time(tpu_devices):
    told, job = [], small_job("v4:2x2x1")
    with ThreadPoolExecutor(3) as threads:
        programs = list(threads.map(lambda _: Programs(job, told.append).program("reshard"), range(3)))
    assert len(told) == 1 and len({program.seconds for program in programs}) == 1


def test_whoever_waits_for_a_program_that_failed_is_told(tpu_devices):
    def broken(line):
        raise BrokenPipeError(line)

    job = small_job("v6e:2x2")
    for _ in range(2):
        with pytest.raises(BrokenPipeError, match="compiling reshard for v6e:2x2"):
            Programs(job, broken).program("reshard")


def too_deep_a_job():
    deep = replace(CONFIG.policy.architecture, num_layers=100_000)
    return small_job(config=replace(CONFIG, policy=replace(CONFIG.policy, architecture=deep)))


def test_what_cannot_be_compiled_for_want_of_another_program_says_so(tpu_devices):
    phases = {phase.name: phase for phase in make_plan(too_deep_a_job(), by_formula=False).phases}
    assert phases["reshard"].memory.by_compiler and phases["reshard"].note.startswith("reshard: ")
    assert not phases["prefill"].memory.by_compiler
    assert "needs what does not fit, reshard: " in phases["prefill"].note


def test_what_is_too_large_is_told_with_what_it_needs(tpu_devices):
    with pytest.raises(DoesNotFitError) as error:
        Programs(too_deep_a_job()).program("reshard")
    assert error.value.needed_bytes > Topology.of("v5e:2x2").chip.usable_bytes


def sixteen_chips():
    config = replace(CONFIG, batch=replace(CONFIG.batch, prompts_per_wave=16))
    return small_job("v5e:4x4", replace(config, mesh=replace(CONFIG.mesh, fsdp=8)))


def test_weak_scaling_keeps_the_work_of_a_chip():
    jobs = scaled_jobs(sixteen_chips())
    assert [scaled.topology.num_chips for scaled in jobs] == [16, 64, 256]
    assert {scaled.prompts_per_wave / scaled.num_shards for scaled in jobs} == {2}
    assert {scaled.geometry.shapes[0][0] / scaled.num_shards for scaled in jobs} == {2}
    for phase in ("decode", "update"):
        first, *others = [work_of(scaled, phase)[0].flops for scaled in jobs]
        assert others == pytest.approx([first, first], rel=0.05)  # the lengths that are drawn differ


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phase", "tolerance"),
    [
        # Of so small a model these are 2 MiB, of which the compiler's choice of layouts moves 0.4.
        ("decode", {"abs": 1 << 19}),
        ("update", {"rel": 0.05}),
    ],
)
def test_a_chip_needs_the_same_memory_and_arithmetic_on_16_to_256_chips(tpu_devices, phase, tolerance):
    rows = weak_scaling(scaled_jobs(sixteen_chips()), (phase,), lambda line: None)
    print(as_markdown(rows))
    for row in rows[1:]:
        assert row.compiler_flops == pytest.approx(rows[0].compiler_flops, rel=0.05)
        assert row.temporary_bytes == pytest.approx(rows[0].temporary_bytes, **tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("topology", ["v5e:2x2", "h200:4"])
def test_a_whole_step_is_compiled(tpu_devices, topology):
    job = small_job(topology)
    if job.topology.missing_compiler is not None:
        pytest.skip(job.topology.missing_compiler)
    plan = make_plan(job, by_formula=False)
    assert plan.fits and plan.by_compiler
    by_name = {phase["name"]: phase for phase in as_json(plan)["phases"]}
    for phase in plan.phases:
        exact = estimated(job, phase.name).kinds
        for kind in ("parameters", "optimiser", "reference", "sampler_copy", "kv_cache"):
            assert phase.memory.kinds[kind] == exact[kind]
    # Layers' gradients are reduced, parameters gathered, and activations summed over the tensor axis.
    assert {"all-gather", "all-reduce"} <= set(by_name["update"]["sent_by_collective"])
    if job.topology.chip.platform == "tpu":
        # Formulas leave out what so small a model has relatively much of: inputs, masks, tokens' statistics.
        for phase in plan.phases:
            assert 0.9 < phase.memory.total / estimated(job, phase.name).total < 1.6, phase.name
            assert 0.9 < phase.sent_bytes / sum(phase.work.sent.values()) < 1.6, phase.name
    arguments = sum(by_name["update"]["bytes"][kind] for kind in ("parameters", "optimiser"))
    state = Programs(plan.job).state
    held = sum(
        np.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize
        for x in jax.tree.leaves((state.params, state.opt_state))
    )
    assert held == pytest.approx(arguments, rel=1e-3), "the optimiser's state is cut as the parameters are"
