"""Stricter than production: shapes checked at run time, no rank promotion, eight CPU devices."""

import os
from importlib.metadata import version
from tempfile import TemporaryDirectory

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# The suite spends its time in the compiler: level 0 compiles three times as fast, and so do, once more, the
# plain emitters, which newer releases no longer have (and an unknown flag ends the process).
FLAGS = ["--xla_force_host_platform_device_count=8"]
if os.environ["JAX_PLATFORMS"] == "cpu":
    FLAGS.append("--xla_backend_optimization_level=0")
    if version("jaxlib").startswith("0.10."):
        FLAGS.append("--xla_cpu_use_fusion_emitters=false")
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *FLAGS])
# What one process of a run has compiled, the others and their children need not: they find this set.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    COMPILED = TemporaryDirectory(prefix="compiled-for-tests-")
    os.environ |= {
        "JAX_COMPILATION_CACHE_DIR": COMPILED.name,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }

from pathlib import Path  # noqa: E402

import pytest  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

install_import_hook(["entropy_rl", "pallas_kernels"], "beartype.beartype")

import jax  # noqa: E402
import jaxtyping  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")

SHARED = Path(__file__).resolve().parents[2] / "shared"
MANY_MEMORY_MAPPINGS = 20_000


def num_memory_mappings() -> int:
    """Of this process; 0 where there is no telling, as on macOS."""
    mappings = Path("/proc/self/maps")
    return len(mappings.read_bytes().splitlines()) if mappings.exists() else 0


@pytest.fixture(autouse=True, scope="module")
def _few_compiled_programs():
    """Lets compiled programs go after a file that leaves many behind.

    Each keeps several memory mappings, of which Linux grants a process 65,530: at the next one the compiler
    ends the process with a segmentation fault.
    """
    yield
    if num_memory_mappings() > MANY_MEMORY_MAPPINGS:
        jax.clear_caches()


@pytest.fixture
def shared_folder() -> Path:
    """The public data sets beside the checkout; tests that need them are skipped where they are absent."""
    if not SHARED.is_dir():
        pytest.skip("the folder of shared data sets is absent")
    return SHARED


@pytest.fixture
def key():
    return jax.random.key(0)


@pytest.fixture
def without_type_checks():
    """Compiling without data puts other things than arrays into the dataclasses."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def tpu_devices():
    """A function: the devices of a TPU topology such as v5e:2x2, for compiling without one."""
    pytest.importorskip("libtpu", reason="the TPU compiler is absent: pip install libtpu")
    from entropy_rl.plan.topology import tpu_devices as tpu_topology

    jax.devices()  # the CPU has read its flags now
    with pytest.MonkeyPatch.context() as patch:
        # The compiler reads its environment as it is first used. It ends the process at a flag that is the
        # CPU's alone, asks the network for the machine it is on, and suffers no second process.
        patch.setenv("XLA_FLAGS", "")
        patch.setenv("TPU_SKIP_MDS_QUERY", "1")
        patch.setenv("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
        device = tpu_topology("v5e:2x2")[0]
        one = jax.ShapeDtypeStruct((8,), "float32", sharding=jax.sharding.SingleDeviceSharding(device))
        jax.jit(lambda x: x + 1).lower(one).compile()
    return tpu_topology
