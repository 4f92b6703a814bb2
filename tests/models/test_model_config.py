import dataclasses

import pytest

from entropy_rl.models.config import QWEN2_5, QWEN3, Qwen2Config
from entropy_rl.models.parameters import count
from tests.models import families

PUBLISHED = {f"Qwen2.5-{size}": config for size, config in QWEN2_5.items()} | {
    f"Qwen3-{size}": config for size, config in QWEN3.items()
}


@pytest.mark.parametrize(
    "name, num_parameters",
    # Sums of the tensor sizes in the published checkpoints, a tied head counted once.
    [
        ("Qwen2.5-0.5B", 494_032_768),
        ("Qwen2.5-1.5B", 1_543_714_304),
        ("Qwen2.5-3B", 3_085_938_688),
        ("Qwen2.5-7B", 7_615_616_512),
        ("Qwen2.5-14B", 14_770_033_664),
        ("Qwen2.5-32B", 32_763_876_352),
        ("Qwen2.5-72B", 72_706_203_648),
        ("Qwen3-0.6B", 596_049_920),
        ("Qwen3-1.7B", 1_720_574_976),
        ("Qwen3-4B", 4_022_468_096),
        ("Qwen3-8B", 8_190_735_360),
        ("Qwen3-14B", 14_768_307_200),
        ("Qwen3-32B", 32_762_123_264),
    ],
)
def test_published_sizes_have_the_published_number_of_parameters(name, num_parameters):
    assert count(PUBLISHED[name]) == num_parameters


@pytest.mark.parametrize("name", PUBLISHED)
def test_config_json_round_trips(name):
    assert Qwen2Config.from_hf(PUBLISHED[name].to_hf("bfloat16")) == PUBLISHED[name]


def test_rope_theta_is_read_in_the_spelling_of_either_transformers_version(config):
    old = config.to_hf("float32")
    new = {key: value for key, value in old.items() if key != "rope_theta"}
    new["rope_parameters"] = {"rope_type": "default", "rope_theta": config.rope_theta}
    assert Qwen2Config.from_hf(old) == Qwen2Config.from_hf(new) == config


def test_head_dim_defaults_to_what_transformers_takes():
    for config, default in ((QWEN2_5["0.5B"], 64), (QWEN3["0.6B"], 128), (families.QWEN3, 128)):
        hf = config.to_hf("float32")
        del hf["head_dim"]
        assert Qwen2Config.from_hf(hf).head_dim == default


@pytest.mark.parametrize(
    "change, message",
    [
        ({"model_type": "llama"}, "model_type must be 'qwen2' or 'qwen3'; got 'llama'"),
        ({"model_type": "qwen3_moe"}, "got 'qwen3_moe'"),
        ({"model_type": "qwen3", "attention_bias": True}, "attention_bias must be False"),
        ({"hidden_act": "gelu"}, "hidden_act must be 'silu'"),
        ({"use_sliding_window": True}, "use_sliding_window must be False"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "sliding_attention"),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0}}, "rope type 'yarn'"),
        ({"rope_parameters": {"rope_type": "linear", "rope_theta": 1e6}}, "rope type 'linear'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_the_model_does_not_have_is_refused(config, change, message):
    with pytest.raises(ValueError, match=message):
        Qwen2Config.from_hf(config.to_hf("float32") | change)


def test_every_missing_size_is_named(config):
    hf = config.to_hf("float32")
    del hf["vocab_size"], hf["num_key_value_heads"]
    with pytest.raises(ValueError, match="num_key_value_heads, vocab_size"):
        Qwen2Config.from_hf(hf)


@pytest.mark.parametrize("change", [{"num_kv_heads": 4}, {"head_dim": 7}])
def test_heads_that_do_not_fit_are_refused(config, change):
    with pytest.raises(ValueError, match="must be"):
        dataclasses.replace(config, **change)
