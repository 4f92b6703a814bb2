"""Each check finds the illness planted for it and no other; a healthy run has none."""

import re
from dataclasses import fields, is_dataclass, replace
from typing import get_args, get_type_hints

import pytest

from entropy_rl.config import RunConfig
from entropy_rl.observability.json_files import json_value
from entropy_rl.observability.run_record import METRICS_FILE, RunRecord
from entropy_rl.observatory.checks import CHECKS
from entropy_rl.observatory.diagnosis import Outcome, Priority, diagnose, severity
from entropy_rl.observatory.thresholds import Thresholds
from tests.observatory.illnesses import ILLNESSES
from tests.observatory.synthetic_runs import CONFIG, PROBES, STEPS, healthy_rows, record, write_run

NAMES = [check.name for check in CHECKS]
NEED_PROBES = {
    "base entropy",
    "entropy gradient sign",
    "logit root cause",
    "minimum length",
    "repetition penalty",
    "train / warm-start overlap",
}
"""Without --policy these are not measurable of a run that has switched everything on."""


def outcomes(verdicts) -> dict[str, str]:
    return {verdict.check: verdict.outcome.value for verdict in verdicts}


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    """As its folder tells it; the other runs are not written."""
    return RunRecord.load(write_run(tmp_path_factory.mktemp("runs") / "healthy", healthy_rows()))


def test_a_healthy_run_passes_all_checks(healthy):
    assert outcomes(diagnose(healthy, probes=PROBES)) == dict.fromkeys(NAMES, "ok")


def test_so_it_does_whatever_its_noise():
    for seed in range(1, 8):
        verdicts = diagnose(record(healthy_rows(seed)), probes=PROBES)
        assert outcomes(verdicts) == dict.fromkeys(NAMES, "ok"), seed


def test_without_a_policy_what_must_be_probed_is_not_measurable_and_says_how(healthy):
    verdicts = diagnose(healthy)
    missing = [verdict for verdict in verdicts if verdict.outcome is Outcome.NOT_MEASURABLE]
    assert {verdict.check for verdict in missing} == NEED_PROBES
    assert all("--policy" in verdict.evidence and not verdict.advice for verdict in missing)
    assert {verdict.outcome for verdict in verdicts} == {Outcome.OK, Outcome.NOT_MEASURABLE}


def verdicts_of(illness):
    run, probes = illness.plant()
    return diagnose(run, probes=probes)


@pytest.mark.parametrize("illness", ILLNESSES, ids=str)
def test_a_planted_illness_is_found_by_its_check_and_by_no_other(illness):
    verdicts = verdicts_of(illness)
    found = outcomes(verdicts)
    assert found.pop(illness.check) == illness.outcome
    troubled = {name for name, outcome in found.items() if outcome in ("warn", "fail")}
    assert troubled == illness.also
    (verdict,) = (v for v in verdicts if v.check == illness.check)
    assert any(character.isdigit() for character in verdict.evidence) and len(verdict.advice) > 10


def settings_of(kind: type) -> set[str]:
    """The fields of a type of settings, or of all that it stands for, as the command line spells them."""
    kinds = [part for part in get_args(kind) or (kind,) if part is not type(None)]
    kinds += [child for part in kinds for child in part.__subclasses__()]
    return {field.name.replace("_", "-") for part in kinds if is_dataclass(part) for field in fields(part)}


def test_settings_that_advice_names_are_there_as_the_command_line_spells_them():
    advice = " ".join(v.advice for illness in ILLNESSES for v in verdicts_of(illness))
    named = set(re.findall(r"\b([a-z-]+)\.([a-z-]+)\b", advice))
    kinds = {name.replace("_", "-"): kind for name, kind in get_type_hints(RunConfig).items()}
    assert {("objective", "fraction"), ("warm-start", "num-steps"), ("task", "num-judges")} <= named
    assert [(part, name) for part, name in named if name not in settings_of(kinds[part])] == []


def test_every_check_has_a_planted_illness():
    assert {illness.check for illness in ILLNESSES} == set(NAMES) and len(NAMES) == len(set(NAMES))


def test_of_a_run_of_nothing_nothing_is_measurable(tmp_path):
    (tmp_path / METRICS_FILE).write_text("")
    verdicts = diagnose(RunRecord.load(tmp_path))
    assert {verdict.outcome for verdict in verdicts} == {Outcome.NOT_MEASURABLE} == {severity(verdicts)}
    assert all(len(verdict.evidence) > 20 for verdict in verdicts)


def test_of_a_run_from_before_the_new_metrics_the_old_ones_are_judged():
    new = ("surprisal", "reward/std", "distinct", "zero_var", "group/", "advantage/", "theory/", "logits/")
    new += ("sampler/", "reference_kl", "judge_errors")
    rows = [{k: v for k, v in row.items() if not any(n in k for n in new)} for row in healthy_rows()]
    found = outcomes(diagnose(record(rows)))
    assert set(found.values()) == {"ok", "not measurable"}
    assert found["entropy level"] == found["step size"] == found["truncation"] == "ok"
    assert found["temperature"] == found["logit gap"] == found["duplicates"] == "not measurable"


@pytest.mark.parametrize("num", [1, 2, 3, 5, 17])
def test_a_killed_run_is_judged_by_what_it_left(tmp_path, num):
    write_run(tmp_path, healthy_rows()[:num])
    with (tmp_path / METRICS_FILE).open("a") as file:
        file.write('{"step": 4, "policy/ent')
    found = outcomes(diagnose(RunRecord.load(tmp_path), probes=PROBES))
    assert set(found.values()) <= {"ok", "not measurable"}
    assert found["entropy level"] == "ok"
    assert found["entropy slope"] == ("ok" if num >= 16 else "not measurable")


def test_a_run_with_nothing_switched_on_is_well():
    plain = replace(
        CONFIG,
        dynamic_sampling=None,
        warm_start=None,
        sampling=type(CONFIG.sampling)(),
        regularizer=type(CONFIG.regularizer)(),
    )
    rows = [
        {k: v for k, v in row.items() if not k.startswith(("staleness/", "generation/", "sampler/"))}
        for row in healthy_rows()
    ]
    for row in rows:
        del row["policy/reference_kl"]
    found = outcomes(diagnose(record(rows, plain)))
    assert {name for name, outcome in found.items() if outcome != "ok"} <= NEED_PROBES


def test_of_a_small_vocabulary_less_entropy_is_asked():
    rows = healthy_rows()
    for row in rows:  # from 0.33 to 0.26 nats, which is low for a large vocabulary
        for name in ("policy/entropy", "policy/surprisal"):
            row[name] *= 0.37
    large = outcomes(diagnose(record(rows)))
    config = json_value(CONFIG)
    config["policy"]["architecture"]["vocab_size"] = 32
    small = outcomes(diagnose(record(rows, config)))
    assert (large["entropy level"], small["entropy level"]) == ("warn", "ok")


def test_where_tokens_are_cut_off_surprisal_says_nothing_of_the_temperature():
    for change in ({"top_k": 5}, {"top_p": 0.9}):
        config = json_value(CONFIG)
        config["sampling"] |= change
        run = record(healthy_rows(), config)
        assert outcomes(diagnose(run))["temperature"] == "not measurable"
        assert outcomes(diagnose(run, probes=PROBES))["temperature"] == "ok"


def test_verdicts_are_sorted_by_severity_and_then_by_priority():
    rows = healthy_rows()
    for row in rows:
        row |= {"length/truncated_fraction": 0.9, "advantage/std": 0.01, "mismatch/logp_gap_mean": 1e-3}
    verdicts = diagnose(record(rows))
    keys = [(v.outcome, v.priority) for v in verdicts]
    assert keys[:3] == [
        (Outcome.FAIL, Priority.HIGH),
        (Outcome.FAIL, Priority.MEDIUM),
        (Outcome.WARN, Priority.MEDIUM),
    ]
    order = list(dict.fromkeys(v.outcome for v in verdicts))
    assert order == [Outcome.FAIL, Outcome.WARN, Outcome.OK, Outcome.NOT_MEASURABLE]
    assert severity(verdicts) is Outcome.FAIL


def test_a_threshold_can_be_moved(healthy):
    strict = Thresholds(truncated_warn_fraction=1e-3)
    assert outcomes(diagnose(healthy, thresholds=strict))["truncation"] == "warn"
    with pytest.raises(ValueError, match="window_steps must be at least 1"):
        Thresholds(window_steps=0)


def test_the_whole_course_is_healthy_at_any_length():
    rows = healthy_rows()
    for num in range(6, STEPS, 9):
        run = record(rows[:num])
        assert set(outcomes(diagnose(run)).values()) <= {"ok", "not measurable"}, num
