"""Plans by formula: sums that can be done by hand, limits, and what must grow with what."""

from dataclasses import replace
from functools import partial

import pytest

from entropy_rl.models.config import QWEN2_5
from entropy_rl.models.parameters import count
from entropy_rl.objectives import PPOClip, Regularizer, TargetEntropyBonus
from entropy_rl.parallelism import SAMPLING_RULES, TRAINING_RULES, MeshConfig
from entropy_rl.plan import work
from entropy_rl.plan.memory import cache_bytes, compiled, estimated, share
from entropy_rl.plan.programs import Program
from entropy_rl.plan.step import make_plan, phases_of
from entropy_rl.plan.suggest import overrides, suggest
from entropy_rl.plan.topology import Topology
from entropy_rl.recording import Recording
from entropy_rl.training.optimizer import AdamW
from tests.plan.jobs import CONFIG, WIDE, small_job

PROGRAM = Program(
    argument_bytes=0,
    output_bytes=0,
    temporary_bytes=1 << 30,
    host_bytes=0,
    flops=0.0,
    text="",
    seconds=0.0,
)
"""Stands for a compiled one."""
SILENT = replace(CONFIG, recording=Recording(theory_every_steps=0))


def test_parameters_are_cut_over_fsdp_and_tensor_in_training_and_over_tensor_in_sampling():
    mesh, c = MeshConfig(data=2, fsdp=4, tensor=2), QWEN2_5["32B"]
    norms = c.hidden_size * (2 * c.num_layers + 1)
    biases = c.num_layers * (c.num_heads + 2 * c.num_kv_heads) * c.head_dim
    products = count(c) - norms - biases
    assert share(c, mesh, TRAINING_RULES) == products / 8 + norms / 4 + biases / 2
    assert share(c, mesh, SAMPLING_RULES) == products / 2 + norms + biases / 2


def test_the_cache_of_the_papers_rollout_is_that_of_the_issue():
    """256 x 8 sequences of about 10,000 tokens, 57,344 bytes a token at 7B: 1.0 TB of responses alone."""
    c = QWEN2_5["7B"]
    config = replace(CONFIG, policy=replace(CONFIG.policy, architecture=c), mesh=MeshConfig(tensor=4))
    job = small_job(config=config, prompts_per_step=256, samples_per_prompt=8, prompts_per_update=32)
    responses = cache_bytes(job, with_responses=True) - cache_bytes(job, with_responses=False)
    of_token = 2 * 28 * 4 * 128 * 2
    assert of_token == 57_344
    assert responses * 4 == 256 * 8 * (192 - 1) * of_token


def test_optimiser_state_follows_the_dtypes_of_the_moments():
    def optimiser(**dtypes):
        config = replace(CONFIG, optimizer=AdamW(**dtypes))
        kinds = estimated(small_job(config=config), "update").kinds
        return kinds["optimiser"] / kinds["parameters"]

    assert optimiser() == 2
    assert optimiser(first_moment_dtype="bfloat16") == 1.5
    assert optimiser(first_moment_dtype="bfloat16", second_moment_dtype="bfloat16") == 1


def test_each_way_of_rematerialisation_keeps_less_than_the_one_before():
    def kept(how):
        config = replace(CONFIG, policy=replace(CONFIG.policy, rematerialize=how))
        return estimated(small_job(config=config), "update").kinds["activations"]

    none, dots, layer, offload = (kept(how) for how in ("none", "dots", "layer", "offload"))
    assert none > dots > layer > offload == 0
    # 512 slots of 256 in 16 bits, of two layers; between layers a chip of two has half of the slots.
    assert layer == 512 * 256 * 2 * 2 / 2


def test_the_same_work_is_spread_over_twice_the_chips():
    one = small_job()
    config = replace(CONFIG, mesh=MeshConfig(data=2, fsdp=2, tensor=2))
    two = small_job("v5e:2x4", config, prompts_per_step=32, prompts_per_update=16)
    assert work.prefill(two) == work.prefill(one)
    assert work.decode_step(two).sent == work.decode_step(one).sent
    assert work.reshard(two) == work.reshard(one)


def test_only_an_objective_that_selects_ahead_takes_another_forward_pass():
    plain = small_job(config=replace(CONFIG, objective=PPOClip()))
    choosing = small_job()
    assert (plain.num_selections, choosing.num_selections) == (0, 1)
    more = work.update(choosing).flops - work.update(plain).flops
    assert more == pytest.approx(work.log_probs(plain).flops / 2)


def test_of_an_embedding_that_is_no_head_decoding_reads_no_table():
    untied = replace(WIDE, tie_embeddings=False)
    config = replace(CONFIG, policy=replace(CONFIG.policy, architecture=untied))
    assert count(untied) > count(WIDE)
    assert work.decode_step(small_job(config=config)) == work.decode_step(small_job())


def test_the_reference_of_a_kl_term_stays_in_memory_and_takes_a_pass_over_the_rollout(without_type_checks):
    plain = small_job()
    tied = small_job(config=replace(CONFIG, regularizer=Regularizer(kl_coef=0.001)))
    copy = estimated(plain, "update").kinds["parameters"]
    for phase in phases_of(plain):
        for memory in (estimated, partial(compiled, program=PROGRAM)):
            assert memory(tied, phase).total - memory(plain, phase).total == pytest.approx(copy)
            assert memory(tied, phase).kinds["reference"] == copy
    assert set(phases_of(tied)) - set(phases_of(plain)) == {"ref_logp"}
    known = compiled(tied, "ref_logp", PROGRAM)
    assert known.total == pytest.approx(PROGRAM.total_bytes + copy + known.kinds["optimiser"])
    without, with_it = (make_plan(job, by_formula=True) for job in (plain, tied))
    (added,) = (phase for phase in with_it.phases if phase.name == "ref_logp")
    assert added.executions == 2 and added.work == work.log_probs(plain)
    assert with_it.step_seconds == pytest.approx(without.step_seconds + added.seconds)


def test_a_bonus_that_goes_by_entropy_takes_a_pass_of_the_first_mini_batch():
    def passes(**bonus):
        return small_job(config=replace(CONFIG, regularizer=Regularizer(**bonus))).num_old_logp

    assert passes(entropy_bonus=TargetEntropyBonus()) == passes() + 1 == passes(entropy_coef=0.1) + 1


def test_the_logits_that_the_theory_keeps_from_before_the_updates_are_counted(without_type_checks):
    never, job = small_job(config=SILENT), small_job()
    # Of every 32nd sequence all tokens, each with the whole vocabulary in 32 bits; over 2 x 2 chips.
    num_tokens = max(job.num_sequences // 32, 1) * job.responses.longest
    expected = 4 * num_tokens * job.architecture.vocab_size / 4
    for memory in (estimated, partial(compiled, program=PROGRAM)):
        assert memory(job, "update").total - memory(never, "update").total == pytest.approx(expected)
        assert memory(job, "decode") == memory(never, "decode")


def test_waves_are_as_large_as_fits():
    job = small_job(samples_per_prompt=48)
    assert job.wave_sizes == [16, 8, 4, 2]
    assert make_plan(job, by_formula=True).job.prompts_per_wave == 16
    held = make_plan(_crowded(job, prompts=8), by_formula=True)
    assert (held.job.prompts_per_wave, held.fits) == (8, True)


def test_what_does_not_fit_is_told_and_the_nearest_that_fits_is_suggested():
    job = _crowded(small_job(config=SILENT, samples_per_prompt=48, prompts_per_wave=16), prompts=4)
    plan = make_plan(job, by_formula=True)
    assert not plan.fits and plan.peak.name == "decode"
    suggestion = suggest(job, plan, by_formula=True)
    assert suggestion.plan.fits
    assert suggestion.overrides == "--batch.prompts-per-wave 4"


def test_nothing_is_suggested_where_nothing_fits():
    tiny = replace(Topology.of("v5e:2x2"), chip=replace(Topology.of("v5e:2x2").chip, usable_bytes=1000))
    job = replace(small_job(), topology=tiny)
    assert suggest(job, make_plan(job, by_formula=True), by_formula=True) is None


def test_overrides_name_each_setting_that_differs():
    wanted = replace(
        CONFIG,
        mesh=MeshConfig(fsdp=4),
        policy=replace(CONFIG.policy, rematerialize="offload"),
        optimizer=AdamW(second_moment_dtype="bfloat16"),
        batch=replace(CONFIG.batch, layout=replace(CONFIG.batch.layout, tokens_per_device=256)),
    )
    assert overrides(CONFIG, CONFIG) == ""
    assert overrides(CONFIG, wanted) == (
        "--mesh.fsdp 4 --mesh.tensor 1 --policy.rematerialize offload "
        "--batch.layout.tokens-per-device 256 --optimizer.second-moment-dtype bfloat16"
    )


def test_a_mesh_must_take_all_chips():
    with pytest.raises(ValueError, match="must be the 8 chips of v5e:2x4, got 1 x 2 x 2"):
        small_job("v5e:2x4")


def test_the_step_is_the_sum_of_its_phases_and_costs_its_chips():
    plan = make_plan(small_job(), by_formula=True)
    assert plan.step_seconds == sum(phase.executions * phase.times.seconds for phase in plan.phases)
    assert plan.chip_hours == pytest.approx(5 * 4 * plan.step_seconds / 3600)
    assert plan.tokens_per_step == 16 * 3 * 50
    assert 0 < plan.useful_share_of_step < plan.useful_share < 1
    for phase in plan.phases:
        assert phase.times.seconds == max(phase.times.compute, phase.times.memory, phase.times.network)


def test_the_model_of_these_tests_has_the_size_it_is_said_to_have():
    assert count(WIDE) == share(WIDE, MeshConfig(), TRAINING_RULES)


def _crowded(job, prompts: int):
    """The job on chips that hold a wave of so many prompts, and hardly more."""
    needed = estimated(job.with_wave(prompts), "decode").total
    chip = replace(job.topology.chip, usable_bytes=int(needed * 1.01))
    return replace(job, topology=replace(job.topology, chip=chip))
