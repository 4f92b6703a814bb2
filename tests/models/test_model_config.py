import dataclasses

import pytest

from entropy_rl.models.config import QWEN2_5, Qwen2Config
from entropy_rl.models.parameters import count


@pytest.mark.parametrize(
    "size, num_parameters",
    # Sums of the tensor sizes in the published checkpoints.
    [
        ("0.5B", 494_032_768),
        ("1.5B", 1_543_714_304),
        ("3B", 3_085_938_688),
        ("7B", 7_615_616_512),
        ("14B", 14_770_033_664),
        ("32B", 32_763_876_352),
        ("72B", 72_706_203_648),
    ],
)
def test_published_sizes_have_the_published_number_of_parameters(size, num_parameters):
    assert count(QWEN2_5[size]) == num_parameters


@pytest.mark.parametrize("size", QWEN2_5)
def test_config_json_round_trips(size):
    assert Qwen2Config.from_hf(QWEN2_5[size].to_hf("bfloat16")) == QWEN2_5[size]


def test_rope_theta_is_read_in_the_spelling_of_either_transformers_version(config):
    old = config.to_hf("float32")
    new = {key: value for key, value in old.items() if key != "rope_theta"}
    new["rope_parameters"] = {"rope_type": "default", "rope_theta": config.rope_theta}
    assert Qwen2Config.from_hf(old) == Qwen2Config.from_hf(new) == config


def test_head_dim_defaults_to_an_equal_share_of_the_hidden_size():
    hf = QWEN2_5["7B"].to_hf("float32")
    del hf["head_dim"]
    assert Qwen2Config.from_hf(hf).head_dim == 128


@pytest.mark.parametrize(
    "change, message",
    [
        ({"model_type": "llama"}, "model_type must be 'qwen2'.*got 'llama'"),
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
