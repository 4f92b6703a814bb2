"""Runs of the real trainer, in health and ill: what is found is what was done to them."""

import pytest

from entropy_rl.observatory.diagnosis import diagnose
from tests.observatory.real_runs import healthy_config, ill_configs, trained

pytestmark = pytest.mark.slow

FINDINGS = {
    "constant_reward": ("reward degeneration", "advantage spread"),
    "cold_sampler": ("temperature", "sampler-learner mismatch"),
    "huge_steps": ("step size",),
}
"""What each illness must be found by."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("real")


def troubles(record) -> dict[str, str]:
    verdicts = {verdict.check: verdict.outcome.value for verdict in diagnose(record)}
    return {check: outcome for check, outcome in verdicts.items() if outcome in ("warn", "fail")}


def test_a_real_healthy_run_passes_all_checks(folder):
    assert troubles(trained(healthy_config(folder))) == {}


@pytest.mark.parametrize("name", FINDINGS)
def test_a_real_illness_is_found(folder, name):
    found = troubles(trained(ill_configs(folder)[name]))
    assert {check: found.get(check) for check in FINDINGS[name]} == dict.fromkeys(FINDINGS[name], "fail")
