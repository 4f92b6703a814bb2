"""One of two processes of four CPU devices: selects, and writes what its own devices hold.

It compiles with XLA's usual optimisations, unlike the process of the tests.

python -m tests.kernels.covariance_selection.process_worker PORT PROCESS FOLDER
"""

import os
import sys

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"

import jax  # noqa: E402

jax.config.update("jax_cpu_collectives_implementation", "gloo")


def main(port: str, process: int, folder: str) -> None:
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, process, initialization_timeout=60)
    import jax.numpy as jnp
    import numpy as np

    from .cases import Case, case, largest, on_devices, uniform

    assert len(jax.devices()) == 8 and len(jax.local_devices()) == 4
    selector, rows = on_devices(8)
    written = {}
    for name in ("random", "ties"):
        host = [np.asarray(x) for x in tuple(case(name))]
        batch = Case(*(jax.make_array_from_callback(x.shape, rows, lambda i, x=x: x[i]) for x in host))
        for kind, chosen in (
            ("largest", largest(selector, batch, jnp.int32(23))),
            ("uniform", uniform(selector, batch, jnp.int32(7), jax.random.key(0))),
        ):
            for shard in chosen.selected_BT.addressable_shards:
                written[f"{name}/{kind}/{shard.index[0].start}"] = np.asarray(shard.data)
            written[f"{name}/{kind}/mean"] = np.asarray(chosen.mean.addressable_data(0))
    np.savez(f"{folder}/{process}.npz", **written)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
