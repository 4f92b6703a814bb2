"""The theory's two sides around real updates: on which tokens, against dense logits, and in every layout."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.models.parameters import logical_axes
from entropy_rl.objectives import GroupAdvantage, PPOClip, entropy_of_logits, lemma1_change
from entropy_rl.parallelism import MeshConfig, batch_sharding, parameter_shardings
from entropy_rl.training import theory_probe
from entropy_rl.training.layout import Packed, Padded
from entropy_rl.training.learner import Learner
from entropy_rl.training.optimizer import AdamW
from entropy_rl.training.step import learn
from entropy_rl.training.theory_probe import ShareSize, TheoryProbe, take_share
from pallas_kernels.sharding import Shards
from tests.policies import TINY, tiny_policy
from tests.training.cases import PROMPTS, SAMPLES, TOKENS, make_batch, make_rollout

FRACTION = 0.42
"""Five of twelve sequences. A run may ask for at most 1/32: here that would be one."""
CHOSEN = [0, 2, 4, 7, 9]
"""floor(i 12 / 5)."""
LEARNER = Learner(
    policy=tiny_policy()[0],
    objective=PPOClip(),
    optimizer=AdamW(learning_rate=1e-3),
    layout=Padded(num_microbatches=2),
    temperature=0.7,
)


def moved(params, size=0.05):
    """Other parameters, near the given ones."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(8), len(leaves))
    noise = [size * jax.random.normal(key, x.shape) for key, x in zip(keys, leaves, strict=True)]
    return structure.unflatten([x + n for x, n in zip(leaves, noise, strict=True)])


def looked(learner=LEARNER, after=None):
    """(the probe, what it tells of the step from tiny parameters to others)."""
    params = tiny_policy()[1]
    probe = TheoryProbe.before(learner, params, make_rollout(TINY.vocab_size), FRACTION)
    return probe, jax.device_get(probe.after(moved(params) if after is None else after))


def dense(rollout, sequences):
    """The same numbers by all logits of these sequences' tokens."""
    policy, params = tiny_policy()
    ids_BT = rollout.response_ids_PGT.reshape(-1, TOKENS)
    mask_BT = np.zeros((PROMPTS * SAMPLES, TOKENS), bool)
    mask_BT[sequences] = rollout.response_mask_PGT.reshape(-1, TOKENS)[np.array(sequences)]

    @jax.jit
    def logits_NV(params):
        hidden = policy.response_hidden(params, rollout.prompt_ids_PS, rollout.prompt_mask_PS, ids_BT)
        return policy.logits(params, hidden)[mask_BT] / LEARNER.temperature

    before_NV, after_NV = logits_NV(params), logits_NV(moved(params))
    entropy_N = entropy_of_logits(before_NV)
    return {
        "theory/tokens": mask_BT.sum(),
        "theory/entropy_before": entropy_N.mean(),
        "theory/entropy_change": (entropy_of_logits(after_NV) - entropy_N).mean(),
        "theory/lemma1": lemma1_change(before_NV, after_NV).mean(),
    }


def assert_equal(numbers, expected):
    assert numbers.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(numbers[name], value, rtol=1e-4, atol=2e-6, err_msg=name)


@pytest.fixture(scope="module")
def expected():
    return dense(make_rollout(TINY.vocab_size), CHOSEN)


def test_both_sides_are_those_of_all_logits_of_evenly_spaced_sequences(expected):
    assert abs(expected["theory/entropy_change"]) > 1e-3
    assert_equal(looked()[1], expected)


def test_packed_rows_tell_the_same_as_padded_ones(expected):
    layout = Packed(tokens_per_device=40, tokens_per_row=13)
    assert_equal(looked(replace(LEARNER, layout=layout))[1], expected)


@pytest.mark.parametrize(
    "layout",
    [Padded(), pytest.param(Packed(tokens_per_device=26, tokens_per_row=13), marks=pytest.mark.slow)],
)
def test_a_mesh_tells_the_same_as_one_device(layout, expected):
    """Five sequences on two shards of them, with one row to fill; the vocabulary of 23 stays whole."""
    mesh = MeshConfig(data=2).build()
    policy = replace(LEARNER.policy, shards=Shards(mesh=mesh, tokens=("data", "fsdp")))
    place = partial(jax.device_put, device=parameter_shardings(mesh, logical_axes(TINY), tiny_policy()[1]))
    rollout = jax.device_put(make_rollout(TINY.vocab_size), batch_sharding(mesh))
    learner = replace(LEARNER, policy=policy, layout=layout)
    params = tiny_policy()[1]
    probe = TheoryProbe.before(learner, place(params), rollout, FRACTION)
    assert_equal(jax.device_get(probe.after(place(moved(params)))), expected)


def test_where_nothing_changes_neither_side_tells_of_a_change():
    _, numbers = looked(after=tiny_policy()[1])
    assert abs(numbers["theory/entropy_change"]) < 1e-6 and abs(numbers["theory/lemma1"]) < 1e-6
    assert numbers["theory/entropy_before"] > 0.1


def test_beyond_the_most_tokens_evenly_spaced_ones_are_taken_a_few_at_a_time(monkeypatch, expected):
    monkeypatch.setattr(theory_probe, "MOST_LOGITS", 11 * TINY.vocab_size + 5)
    monkeypatch.setattr(theory_probe, "LOGITS_AT_ONCE", 4 * TINY.vocab_size)
    rollout = make_rollout(TINY.vocab_size)
    probe, numbers = looked()
    assert probe.logits_MNV.shape == (3, 4, TINY.vocab_size) and numbers["theory/tokens"] == 12
    total = expected["theory/tokens"]
    mask_BT = np.asarray(rollout.response_mask_PGT).reshape(-1, TOKENS)[CHOSEN]
    kept = np.flatnonzero(mask_BT)[[j * total // 12 for j in range(12)]]
    np.testing.assert_array_equal(np.flatnonzero(probe.share.slot_BT), kept)
    np.testing.assert_array_equal(np.asarray(probe.share.slot_BT).reshape(-1)[kept], np.arange(1, 13))


def test_empty_sequences_are_passed_over_and_the_share_shrinks_with_them():
    rollout = make_rollout(TINY.vocab_size)
    mask_PGT = rollout.response_mask_PGT.at[0].set(False).at[2].set(False)  # 6 of 12 sequences are left
    share = share_of(replace(rollout, response_mask_PGT=mask_PGT), FRACTION)
    mask_BT = np.asarray(mask_PGT).reshape(-1, TOKENS)
    rows = [3, 9]  # numbers 0 and 3 of the six; floor(5 * 6 / 12) = 2 are taken
    assert share.num_tokens == mask_BT[rows].sum()
    np.testing.assert_array_equal(
        np.asarray(share.rollout.response_ids_PGT)[:2, 0],
        np.asarray(rollout.response_ids_PGT).reshape(-1, TOKENS)[rows],
    )
    assert not share.rollout.response_mask_PGT[2:].any()


def test_the_smallest_share_is_one_sequence():
    rollout = make_rollout(TINY.vocab_size)
    share = share_of(rollout, 1 / 32)
    assert share.num_tokens == rollout.response_mask_PGT[0, 0].sum()
    assert share.slot_BT.shape == (1, TOKENS)


def share_of(rollout, fraction):
    return take_share(LEARNER, rollout, ShareSize.of(rollout, LEARNER, fraction))


def steps(num: int, fraction):
    """Plain policy-gradient steps on one rollout, as a run makes them; parameters and what each step told."""
    learner = replace(LEARNER, layout=Padded())
    state, rows = learner.init(tiny_policy()[1]), []
    rollout, adv_PG = make_rollout(TINY.vocab_size), make_batch(TINY.vocab_size, on_policy=True).adv_PG
    for step in range(num):
        state, metrics, _ = learn(
            learner,
            state,
            rollout,
            GroupAdvantage()(jnp.roll(adv_PG, step)),
            jax.random.key(step),
            prompts_per_update=PROMPTS,
            theory_fraction=fraction,
        )
        rows.append(metrics)
    return state.params, rows


def test_over_a_run_the_lemma_tracks_the_measured_change_and_training_is_bit_for_bit_the_same():
    params, rows = steps(7, FRACTION)
    predicted, measured = (
        np.array([row[f"theory/{side}"] for row in rows]) for side in ("lemma1", "entropy_change")
    )
    assert np.ptp(measured) > 1e-3
    assert np.corrcoef(predicted, measured)[0, 1] > 0.999
    np.testing.assert_allclose(np.polyfit(predicted, measured, 1)[0], 1, atol=0.05)
    assert all(np.isfinite(row[f"theory/theorem{n}_covariance"]) for row in rows for n in (1, 2))
    alone, others = steps(7, None)
    assert all(bool((a == b).all()) for a, b in zip(*map(jax.tree.leaves, (params, alone)), strict=True))
    for row, other in zip(rows, others, strict=True):
        assert {name: x for name, x in row.items() if not name.startswith("theory/")} == other
