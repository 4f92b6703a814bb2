"""Which kernels suit which devices, and that the trainer's own update holds them when compiled for a TPU."""

import re
import warnings
from dataclasses import replace
from types import SimpleNamespace

import jax
import pytest

from entropy_rl.config import BatchConfig, PolicyConfig
from entropy_rl.kernel_choice import KernelConfig, Kernels, fill, selector_beside
from entropy_rl.models.config import Qwen2Config
from entropy_rl.models.parameters import logical_axes
from entropy_rl.models.training_attention import CuDNNAttention, SplashAttention, XLAAttention
from entropy_rl.objectives import ClipCov, KLCov
from entropy_rl.parallelism import MeshConfig, batch_sharding, parameter_shardings, spec_of
from entropy_rl.training.layout import Packed, Padded
from entropy_rl.training.learner import _update
from pallas_kernels.covariance_selection import MosaicHistogram, XLAHistogram
from pallas_kernels.token_statistics import Mosaic, XLATiles
from tests.policies import TINY, tiny_policy
from tests.runs import make_config
from tests.training.cases import make_batch

WIDE = Qwen2Config(
    vocab_size=1_000,  # no multiple of a tile
    num_layers=2,
    hidden_size=256,
    intermediate_size=384,
    num_heads=4,
    num_kv_heads=2,
    head_dim=64,
    rope_theta=1e4,
    tie_embeddings=True,
)
"""The smallest of the proportions that the TPU kernels are made for."""


def device(platform: str, device_kind: str, compute_capability: str = "0") -> SimpleNamespace:
    """What a choice looks at, of a device that is not at hand."""
    return SimpleNamespace(platform=platform, device_kind=device_kind, compute_capability=compute_capability)


def kinds(chosen: KernelConfig) -> tuple[type, type, type]:
    return type(chosen.statistics), type(chosen.attention), type(chosen.histogram)


@pytest.fixture
def no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


@pytest.mark.usefixtures("no_warning", "without_type_checks")
def test_cpus_get_plain_xla():
    suited = fill(KernelConfig(), device("cpu", "cpu"), WIDE, "bfloat16")
    assert kinds(suited) == (XLATiles, XLAAttention, XLAHistogram)


@pytest.mark.usefixtures("no_warning", "without_type_checks")
@pytest.mark.parametrize("device_kind", ["TPU v4", "TPU v5 lite", "TPU v5", "TPU v6 lite"])
def test_known_tpus_get_their_kernels(device_kind):
    suited = fill(KernelConfig(), device("tpu", device_kind), WIDE, "bfloat16")
    assert kinds(suited) == (Mosaic, SplashAttention, MosaicHistogram)


@pytest.mark.usefixtures("without_type_checks")
def test_an_unknown_tpu_gets_plain_xla_and_a_warning():
    with pytest.warns(UserWarning, match="no kernels for 'TPU v99' yet: plain XLA is used"):
        suited = fill(KernelConfig(), device("tpu", "TPU v99"), WIDE, "bfloat16")
    assert kinds(suited) == (XLATiles, XLAAttention, XLAHistogram)


@pytest.mark.usefixtures("without_type_checks")
def test_a_model_too_wide_for_the_tiles_gets_plain_xla_for_its_statistics_alone():
    widest = replace(WIDE, hidden_size=8192)
    with pytest.warns(UserWarning, match="token statistics: rows of hidden of 32768 bytes are wider"):
        suited = fill(KernelConfig(), device("tpu", "TPU v5 lite"), widest, "float32")
    assert kinds(suited) == (XLATiles, SplashAttention, MosaicHistogram)


@pytest.mark.usefixtures("no_warning", "without_type_checks")
@pytest.mark.parametrize(("dtype", "attention"), [("bfloat16", CuDNNAttention), ("float32", XLAAttention)])
def test_new_nvidia_gpus_get_cudnn_for_16_bits_and_xla_otherwise(dtype, attention):
    suited = fill(KernelConfig(), device("gpu", "NVIDIA H200", "9.0"), WIDE, dtype)
    assert kinds(suited) == (XLATiles, attention, XLAHistogram)


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    "gpu", [device("gpu", "Tesla T4", "7.5"), device("gpu", "AMD Instinct MI300X", "gfx942")]
)
def test_gpus_without_cudnn_attention_get_xla_and_a_warning(gpu):
    with pytest.warns(UserWarning, match="cuDNN's attention needs an NVIDIA GPU of compute capability 8"):
        suited = fill(KernelConfig(), gpu, WIDE, "bfloat16")
    assert kinds(suited) == (XLATiles, XLAAttention, XLAHistogram)


@pytest.mark.usefixtures("no_warning", "without_type_checks")
def test_what_is_chosen_is_taken_and_nothing_is_said_where_all_is():
    chosen = KernelConfig(
        statistics=XLATiles(min_width=3), attention=SplashAttention(block_q=256), histogram=XLAHistogram()
    )
    assert fill(chosen, device("tpu", "TPU v99"), WIDE, "float32") == chosen
    partly = fill(replace(chosen, histogram=None), device("tpu", "TPU v4"), WIDE, "float32")
    assert partly == replace(chosen, histogram=MosaicHistogram())


@pytest.mark.usefixtures("no_warning", "without_type_checks")
def test_the_selector_of_a_policy_that_has_its_kernels_repeats_no_warning():
    policy = replace(tiny_policy()[0], compute_dtype="bfloat16")
    for platform, kind, histogram in (("tpu", "TPU v99", XLAHistogram), ("tpu", "TPU v4", MosaicHistogram)):
        selector = selector_beside(policy, device(platform, kind))
        assert type(selector.histogram) is histogram and selector.shards is policy.shards


def test_packed_rows_get_an_attention_that_takes_them():
    mesh = MeshConfig().build()
    for packed in (False, True):
        chosen = KernelConfig(attention=CuDNNAttention())
        kernels = Kernels.of(mesh, TINY, "bfloat16", chosen, packed=packed)
        assert kernels.attention.takes_packed_rows == packed


def test_on_one_device_nothing_is_cut_and_on_several_the_table_says_how():
    alone = Kernels.of(MeshConfig().build(), TINY, "float32")
    assert alone.shards is None and alone.selector.shards is None
    mesh = MeshConfig(data=2, tensor=2).build()
    cut = Kernels.of(mesh, TINY, "float32")
    assert cut.shards.tokens == ("data", "fsdp")
    assert cut.shards.vocabulary == cut.shards.heads == "tensor"
    assert cut.selector.shards == cut.shards


def compiled_update(tmp_path, devices, mesh_config: MeshConfig, **changes) -> str:
    """The program of `Learner.update` for these devices, as text."""
    config = replace(
        make_config(tmp_path),
        policy=PolicyConfig(architecture=WIDE, compute_dtype="bfloat16"),
        mesh=mesh_config,
        warm_start=None,
        **changes,
    )
    policy = config.policy_of(WIDE, devices)
    learner, mesh = config.learner(policy, devices), config.mesh.build(devices)
    params = policy.abstract_params()
    shardings = parameter_shardings(mesh, logical_axes(WIDE), params)
    whole = jax.NamedSharding(mesh, spec_of(()))
    state = jax.eval_shape(learner.init, params)
    state = replace(_placed(state, whole), params=jax.tree.map(_placed, params, shardings))
    batch = jax.eval_shape(lambda: make_batch(WIDE.vocab_size, on_policy=False))
    batch = _placed(batch, batch_sharding(mesh))
    key = _placed(jax.eval_shape(lambda: jax.random.key(0)), whole)
    packing = learner.abstract_packing(batch.rollout)
    return _update.lower(learner, state, batch, key, packing).compile().as_text()


def _placed(tree, sharding):
    """Stand-ins with that sharding; scalars are whole everywhere."""
    whole = jax.NamedSharding(sharding.mesh, spec_of(()))
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding if x.ndim else whole), tree
    )


@pytest.mark.usefixtures("no_warning", "without_type_checks")
@pytest.mark.parametrize(
    ("objective", "mesh_config", "layout"),
    [
        (KLCov(fraction=0.2), MeshConfig(fsdp=2, tensor=2), Packed(num_smaller_shapes=0)),
        pytest.param(
            ClipCov(fraction=0.2, cov_low=0.1), MeshConfig(data=2), Packed(), marks=pytest.mark.slow
        ),
        pytest.param(
            ClipCov(fraction=0.2, cov_low=0.1),
            MeshConfig(data=2),
            Padded(num_microbatches=2),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_update_compiled_for_a_tpu_holds_the_kernels(
    tmp_path, tpu_devices, objective, mesh_config, layout
):
    batch = BatchConfig(prompts_per_step=4, samples_per_prompt=3, prompts_per_update=4, layout=layout)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # that plain XLA stands in for a kernel
        text = compiled_update(
            tmp_path, tpu_devices("v5e:2x2"), mesh_config, objective=objective, batch=batch
        )
    calls = " ".join(re.findall(r"(%\S+) = [^\n]*custom_call_target=\"tpu_custom_call\"", text))
    for kernel in (
        "token_statistics_forward",
        "token_statistics_both_bars",
        "digit_histogram",
        "splash_mha_fwd",
        "splash_mha_dkv",
    ):
        assert kernel in calls
