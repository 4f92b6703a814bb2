"""What a look at policies tells: of a sampler that ignores its temperature, of a bonus of the wrong sign."""

from dataclasses import replace

import numpy as np
import pytest

from entropy_rl import policy_probes
from entropy_rl.objectives import Regularizer
from entropy_rl.observability.json_files import write_json
from entropy_rl.observability.run_record import CONFIG_FILE, METRICS_FILE, RunRecord
from entropy_rl.policy_probes import demonstration_numbers, entropy_bonus_change, probe_policy
from entropy_rl.sampler import Sampling
from entropy_rl.starting_policy import policy_before_warm_start, starting_policy
from entropy_rl.stored_policy import save_policy
from entropy_rl.training.optimizer import AdamW
from tests.runs import make_config
from tests.training.cases import make_rollout


def recorded(config) -> RunRecord:
    """The folder of a run of these settings, before its first step."""
    folder = config.runs_folder / config.name
    folder.mkdir(parents=True)
    write_json(folder / CONFIG_FILE, config)
    (folder / METRICS_FILE).touch()
    return RunRecord.load(folder)


def sharpened(stored, scale: float):
    """The policy with its embedding, hence its logits, larger."""
    params = stored.params | {"embedding": scale * stored.params["embedding"]}
    return replace(stored, params=params)


@pytest.mark.slow
def test_an_update_of_the_entropy_bonus_alone_raises_entropy_and_one_of_the_wrong_sign_does_not(
    tmp_path, monkeypatch
):
    config = make_config(tmp_path)
    rollout = make_rollout(config.policy.architecture.vocab_size)

    def change(config):
        return entropy_bonus_change(config, sharpened(policy_before_warm_start(config), 20.0), rollout)

    assert change(config) > policy_probes.MEASURABLE_NATS
    penalty = Regularizer.token_penalty
    monkeypatch.setattr(Regularizer, "token_penalty", lambda self, **arrays: -penalty(self, **arrays))
    # Other settings, or the program that is compiled already would run.
    assert change(replace(config, optimizer=AdamW(learning_rate=2e-3))) < 0


@pytest.mark.slow
def test_policies_are_looked_at_before_the_warm_start_after_it_and_as_they_are(tmp_path):
    config = make_config(tmp_path, sampling=Sampling(temperature=0.5))
    brief = replace(config.warm_start, num_steps=30, optimizer=AdamW(learning_rate=1e-2))
    config = replace(config, warm_start=brief)
    record = recorded(config)
    save_policy(sharpened(policy_before_warm_start(config), 60.0), tmp_path / "sharp")
    before = probe_policy(record, tmp_path / "sharp")
    assert before.start_entropy_nats is before.demonstration_loss_nats is None  # no warm start was made yet
    starting_policy(config)
    probes = probe_policy(record, tmp_path / "sharp", repetition_penalty=1.3)
    size = config.policy.architecture.vocab_size
    assert probes.base_entropy_nats == pytest.approx(np.log(size), rel=0.05)  # random, all but uniform
    assert probes.policy_entropy_nats < 0.5 * probes.base_entropy_nats
    assert min(probes.policy_max_probability, probes.start_max_probability) > probes.base_max_probability
    assert probes.policy_gap > probes.base_gap > 0
    assert 0 < probes.demonstration_loss_nats < np.log(size)
    assert probes.entropy_bonus_change_nats > 0
    assert probes.temperature == 0.5 and probes.temperature_effect < -0.05
    assert before.entropy_with_penalty_nats == before.entropy_without_penalty_nats
    assert probes.entropy_without_penalty_nats == pytest.approx(probes.policy_entropy_nats, rel=1e-5)
    assert probes.entropy_with_penalty_nats != pytest.approx(probes.policy_entropy_nats, rel=1e-2)


@pytest.mark.slow
def test_a_sampler_that_ignores_its_temperature_is_found(tmp_path, monkeypatch):
    config = make_config(tmp_path, warm_start=None, sampling=Sampling(temperature=0.5))
    record = recorded(config)
    save_policy(sharpened(policy_before_warm_start(config), 60.0), tmp_path / "sharp")
    monkeypatch.setattr(policy_probes, "Sampling", lambda temperature: Sampling())
    effect = probe_policy(record, tmp_path / "sharp").temperature_effect
    assert abs(effect) < 0.04


def test_demonstrations_are_measured_in_tokens_and_compared_with_the_training_prompts(tmp_path, monkeypatch):
    config = make_config(tmp_path)
    tokenizer = config.task.load_tokenizer(None)
    trained = config.task.train_prompts(tokenizer).prompts
    pairs = [(trained[0].text, "1+2"), (trained[3].text, "17"), ("9,9=1:", "9*9*9*9")]
    monkeypatch.setattr(policy_probes, "demonstration_pairs", lambda config: pairs)
    numbers = demonstration_numbers(config, tokenizer, trained)
    assert numbers["demonstration_overlap_fraction"] == pytest.approx(2 / len(trained))
    lengths = [3 + 1, 2 + 1, 7 + 1]  # countdown has a token a character, and a stop token
    assert numbers["demonstration_length_quantiles_tokens"] == (min(lengths), 4, pytest.approx(5))
    assert demonstration_numbers(replace(config, warm_start=None), tokenizer, trained) == {}
