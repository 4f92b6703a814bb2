"""The settings of a run, read back from its folder."""

from dataclasses import replace
from pathlib import Path

import pytest

from entropy_rl.config_file import load_config
from entropy_rl.objectives import Regularizer
from entropy_rl.observability.json_files import json_value, write_json
from entropy_rl.recorded_config import config_of_json, recorded_config

CONFIGS = sorted((Path(__file__).resolve().parents[1] / "configs").glob("*.py"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_is_read_back_as_it_was_written(path):
    config = load_config(path)
    assert config_of_json(json_value(config)) == config


def test_a_run_without_settings_is_told_so(tmp_path):
    with pytest.raises(ValueError, match=r"must hold config\.json"):
        recorded_config(tmp_path)


def test_settings_that_came_later_have_their_defaults_and_unknown_ones_are_refused(tmp_path):
    config = load_config(CONFIGS[-1])
    settings = json_value(config)
    del settings["regularizer"]
    write_json(tmp_path / "config.json", settings)
    assert recorded_config(tmp_path) == replace(config, regularizer=Regularizer())
    for path, match in (
        (("batch", "size"), "no size"),
        (("objective", "kind"), "PolicyObjective of the kind"),
    ):
        spoilt = json_value(config)
        spoilt[path[0]][path[1]] = "nothing"
        with pytest.raises(ValueError, match=match):
            config_of_json(spoilt)
