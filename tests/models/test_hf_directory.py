import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from entropy_rl.models import hf
from entropy_rl.models.hf import INDEX, SINGLE, help_saving, load_pretrained, save_pretrained
from entropy_rl.models.parameters import logical_axes
from entropy_rl.models.policy import Policy
from entropy_rl.parallelism import MeshConfig, parameter_shardings
from tests.models.families import both_families

pytestmark = both_families


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("max_shard_bytes", [1 << 30, 2000], ids=["single", "sharded"])
def test_saving_and_loading_gives_the_same_bits(config, params, tmp_path, dtype, max_shard_bytes):
    params = jax.tree.map(lambda x: np.asarray(x.astype(dtype)), params)
    save_pretrained(tmp_path, config, params, dtype=dtype, max_shard_bytes=max_shard_bytes)
    loaded_config, loaded = load_pretrained(tmp_path)
    assert loaded_config == config
    assert (tmp_path / INDEX).exists() == (max_shard_bytes == 2000)
    jax.tree.map(np.testing.assert_array_equal, loaded, params)
    assert loaded["embedding"].dtype == jnp.dtype(dtype)


def test_shards_hold_at_most_their_limit_and_the_index_knows_every_tensor(config, params, tmp_path):
    save_pretrained(tmp_path, config, params, dtype="float32", max_shard_bytes=5000)
    index = json.loads((tmp_path / INDEX).read_text())
    files = sorted(tmp_path.glob("model-*.safetensors"))
    found, total = {}, 0
    for file in files:
        tensors = load_file(file)
        size = sum(tensor.nbytes for tensor in tensors.values())
        assert size <= 5000 or len(tensors) == 1
        total += size
        found |= dict.fromkeys(tensors, file.name)
    assert found == index["weight_map"] and len(files) > 3
    assert total == index["metadata"]["total_size"]


def test_a_second_save_leaves_nothing_of_the_first(config, params, tmp_path):
    save_pretrained(tmp_path, config, params, max_shard_bytes=2000)
    save_pretrained(tmp_path, config, params)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", SINGLE]


def test_the_dtype_of_parameters_may_be_chosen(config, params, tmp_path):
    save_pretrained(tmp_path, config, params, dtype="float32")
    _, loaded = load_pretrained(tmp_path, "bfloat16")
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(a, np.asarray(b.astype("bfloat16"))), loaded, params
    )


@pytest.mark.parametrize("axis", ["fsdp", "tensor"])
def test_a_mesh_reads_the_same_and_each_part_once(config, params, tmp_path, axis, monkeypatch):
    config = dataclasses.replace(config, vocab_size=34, hidden_size=14, intermediate_size=22, num_heads=4)
    draw = np.random.default_rng(0).normal
    params = jax.tree.map(lambda x: draw(size=x.shape).astype(x.dtype), Policy(config).abstract_params())
    save_pretrained(tmp_path, config, params, dtype="float32", max_shard_bytes=2000)
    mesh = MeshConfig(data=2, **{axis: 2}).build()
    num_read = []
    part = hf._part
    monkeypatch.setattr(hf, "_part", lambda *given: num_read.append(part(*given)) or num_read[-1])
    _, loaded = load_pretrained(
        tmp_path, "float32", lambda config: parameter_shardings(mesh, logical_axes(config), params)
    )
    jax.tree.map(np.testing.assert_array_equal, jax.tree.map(np.asarray, loaded), params)
    assert sum(x.size for x in num_read) == sum(x.size for x in jax.tree.leaves(params))


def test_a_mesh_gathers_one_tensor_at_a_time_and_those_who_help_gather_the_same(
    config, params, tmp_path, monkeypatch
):
    config = dataclasses.replace(config, vocab_size=34, hidden_size=14, intermediate_size=22, num_heads=4)
    draw = np.random.default_rng(0).normal
    params = jax.tree.map(lambda x: draw(size=x.shape).astype(x.dtype), Policy(config).abstract_params())
    mesh = MeshConfig(data=2, fsdp=2, tensor=2).build()
    cut = jax.device_put(params, parameter_shardings(mesh, logical_axes(config), params))
    asked, gathered = [], hf.gathered

    def noted(x, layer):
        whole = gathered(x, layer)
        assert whole.sharding.is_fully_replicated
        asked.append((whole.size, layer))
        return whole

    monkeypatch.setattr(hf, "gathered", noted)
    save_pretrained(tmp_path, config, cut, dtype="float32", max_shard_bytes=2000)
    written, asked[:] = list(asked), []
    help_saving(config, cut)
    assert asked == written
    assert sum(size for size, _ in written) == sum(x.size for x in jax.tree.leaves(params))
    assert max(size for size, _ in written) == 14 * 4 * 10  # queries of one layer
    jax.tree.map(np.testing.assert_array_equal, load_pretrained(tmp_path)[1], params)


def rewrite(directory, change):
    """Applies `change` to the dictionary of tensors in the single file of a directory."""
    tensors = load_file(directory / SINGLE)
    change(tensors)
    save_file(tensors, directory / SINGLE)


def test_missing_and_unexpected_tensors_are_listed(config, params, tmp_path):
    save_pretrained(tmp_path, config, params)

    def rename(tensors):
        tensors["model.layers.1.mlp.gate.weight"] = tensors.pop("model.layers.1.mlp.gate_proj.weight")

    rewrite(tmp_path, rename)
    with pytest.raises(
        ValueError, match="missing: .*1.mlp.gate_proj.weight; unexpected: .*1.mlp.gate.weight"
    ):
        load_pretrained(tmp_path)


def test_a_tensor_of_another_shape_is_named(config, params, tmp_path):
    save_pretrained(tmp_path, config, params)
    rewrite(tmp_path, lambda t: t.update({"model.norm.weight": t["model.norm.weight"][:-1].copy()}))
    with pytest.raises(ValueError, match=r"model.norm.weight must have shape \(13,\).*got \(12,\)"):
        load_pretrained(tmp_path)


def test_a_second_copy_of_a_tied_head_is_ignored(config, params, tmp_path):
    config = dataclasses.replace(config, tie_embeddings=True)
    params = {path: leaf for path, leaf in params.items() if path != "head"}
    save_pretrained(tmp_path, config, params)
    rewrite(tmp_path, lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"].copy()}))
    assert "head" not in load_pretrained(tmp_path)[1]


@pytest.mark.parametrize("absent", ["config.json", SINGLE])
def test_an_incomplete_directory_is_refused_by_the_name_of_what_lacks(config, params, tmp_path, absent):
    save_pretrained(tmp_path, config, params)
    (tmp_path / absent).unlink()
    with pytest.raises(ValueError, match=absent):
        load_pretrained(tmp_path)


def test_the_tokenizer_and_its_special_ids_come_along(config, params, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "tokenizer.json").write_text("{}")
    (source / "config.json").write_text(json.dumps({"eos_token_id": 7, "hidden_size": 999}))
    save_pretrained(target, config, params, tokenizer_dir=source)
    saved = json.loads((target / "config.json").read_text())
    assert (saved["eos_token_id"], saved["hidden_size"]) == (7, config.hidden_size)
    assert (target / "tokenizer.json").read_text() == "{}"
