"""Who is found to belong to a run, and what is said to those who are not."""

import os
import sys
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace as Fields

import pytest
from jax._src.clusters import K8sCluster, SlurmCluster

from entropy_rl.parallelism import Processes
from entropy_rl.parallelism.clusters import Membership

SLURM = {
    "SLURM_JOB_ID": "4099",
    "SLURM_STEP_NODELIST": "node[003-006]",
    "SLURM_NTASKS": "4",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NUM_NODES": "4",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "0",
}
OPEN_MPI = {
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911",
    "OMPI_COMM_WORLD_SIZE": "6",
    "OMPI_COMM_WORLD_RANK": "5",
    "OMPI_COMM_WORLD_LOCAL_RANK": "2",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "3",
    "OMPI_VERSION": "4.1.6",
}


@pytest.fixture(autouse=True)
def nothing_around(monkeypatch):
    """No launcher but the one of the test."""
    for name in os.environ:
        if name.startswith(
            ("SLURM_", "OMPI_", "KUBERNETES_", "JOB_COMPLETION", "JAX_COORDINATOR", "CUDA_VI", "MEGASCALE_")
        ):
            monkeypatch.delenv(name)


def surround(monkeypatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_alone_is_alone():
    assert Processes().membership() is None
    assert Processes(num_processes=1).membership() is None


def test_flags_name_a_place():
    processes = Processes(coordinator="10.0.0.2:8476", num_processes=3, process_id=2)
    assert processes.membership() == Membership(coordinator="10.0.0.2:8476", num_processes=3, process_id=2)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (dict(num_processes=2), "together or not at all"),
        (dict(coordinator="a:1", process_id=0), "together or not at all"),
        (dict(coordinator="10.0.0.2", num_processes=2, process_id=0), "must be HOST:PORT"),
        (dict(coordinator="10.0.0.2:x", num_processes=2, process_id=0), "must be HOST:PORT"),
        (dict(coordinator="a:8476", num_processes=2, process_id=2), "must be 0 to 1"),
        (dict(coordinator="a:8476", num_processes=2, process_id=-1), "must be 0 to 1"),
    ],
)
def test_flags_that_are_wrong_or_half_given_are_refused(flags, said):
    with pytest.raises(ValueError, match=said):
        Processes(**flags).membership()


def test_a_step_of_slurm_is_found_with_all_accelerators_of_its_node(monkeypatch):
    surround(monkeypatch, SLURM)
    address = SlurmCluster.get_coordinator_address(timeout_secs=1, override_coordinator_port=None)
    assert Processes().membership() == Membership(coordinator=address, num_processes=4, process_id=2)
    assert address.startswith("node003:")


def test_flags_go_before_what_is_around(monkeypatch):
    surround(monkeypatch, SLURM)
    assert Processes(num_processes=1).membership() is None
    assert Processes(coordinator="a:1", num_processes=2, process_id=1).membership().num_processes == 2


def test_a_batch_script_of_slurm_and_an_interactive_step_of_it_are_alone(monkeypatch):
    surround(monkeypatch, {name: value for name, value in SLURM.items() if "_STEP_" not in name})
    assert Processes().membership() is None
    surround(monkeypatch, SLURM | {"SLURM_STEP_NUM_TASKS": "1"})
    assert Processes().membership() is None


def test_processes_that_open_mpi_puts_on_one_machine_share_its_accelerators(monkeypatch):
    surround(monkeypatch, OPEN_MPI)
    found = Processes().membership()
    assert (found.num_processes, found.process_id, found.local_device_ids) == (6, 5, (2,))
    assert found.coordinator.startswith("10.96.0.1:")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")  # the launcher has divided them
    assert Processes().membership().local_device_ids is None


def test_open_mpi_that_cannot_be_asked_says_what_to_install(monkeypatch):
    surround(monkeypatch, {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_VERSION": "4.1.6"})
    monkeypatch.setattr("jax._src.clusters.Mpi4pyCluster.is_env_present", classmethod(lambda cls: False))
    with pytest.raises(ValueError, match="install mpi4py.*--coordinator"):
        Processes().membership()


@contextmanager
def metadata_server(attributes: dict[str, str]):
    """HOST:PORT of a server that tells a VM its attributes as Google's does, over HTTP."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            key = self.path.removeprefix("/computeMetadata/v1/instance/attributes/")
            known = key in attributes and self.headers["Metadata-Flavor"] == "Google"
            self.send_response(200 if known else 404)
            self.end_headers()
            self.wfile.write(attributes.get(key, "").encode())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def tpu_vm(monkeypatch):
    """A machine with TPUs, as far as jax has looked when it was loaded."""
    monkeypatch.setattr("jax._src.clusters.cloud_tpu_cluster.running_in_cloud_tpu_vm", True)
    for name in [name for name in os.environ if name.startswith("TPU_")] + ["JAX_PLATFORMS"]:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "endpoints", ["10.130.0.7,10.130.0.8,10.130.0.9", "a:0:10.130.0.7,b:1:10.130.0.8,c:2:10.130.0.9"]
)
def test_a_worker_of_a_tpu_slice_is_found_by_its_metadata(monkeypatch, tpu_vm, endpoints):
    pytest.importorskip("requests", reason="jax asks the metadata server by it; jax[tpu] brings it")
    attributes = {"agent-worker-number": "2", "worker-network-endpoints": endpoints, "tpu-env": "ZONE: 'z'\n"}
    with metadata_server(attributes) as address:
        surround(monkeypatch, {"GCE_METADATA_IP": address, "NO_PROXY": "*"})
        found = Processes().membership()
        assert found == Membership(coordinator="10.130.0.7:8482", num_processes=3, process_id=2)
        attributes |= {"worker-network-endpoints": "10.130.0.7", "agent-worker-number": "0"}
        assert Processes().membership() is None  # a slice of one machine


def test_a_pod_with_tpus_of_two_slices_is_found_by_its_environment(monkeypatch, tpu_vm):
    surround(monkeypatch, {"TPU_WORKER_HOSTNAMES": "10.4.0.2,10.4.0.3", "TPU_WORKER_ID": "1"})
    slices = {"NUM_SLICES": "2", "SLICE_ID": "1", "COORDINATOR_ADDRESS": "10.4.0.1:8080"}
    surround(monkeypatch, {f"MEGASCALE_{name}": value for name, value in slices.items()})
    found = Processes().membership()
    assert found == Membership(coordinator="10.4.0.1:8482", num_processes=4, process_id=3)


@pytest.fixture
def kubernetes(monkeypatch):
    """The package of that name, to which the cluster answers of one pod of a job set of three."""
    controller = Fields(kind="Job", controller=True)
    pod = Fields(metadata=Fields(labels={"job-name": "train-w"}, owner_references=[controller]))
    job_set = {"jobset.sigs.k8s.io/jobset-name": "train"}
    job = Fields(metadata=Fields(name="train-w", labels=job_set), spec=Fields(parallelism=3))
    pods = {("lab", "status.podIP=10.8.0.4"): [pod]}
    core = Fields(
        list_namespaced_pod=lambda namespace, field_selector: Fields(items=pods[namespace, field_selector])
    )
    batch = Fields(read_namespaced_job=lambda name, namespace: {("train-w", "lab"): job}[name, namespace])
    client = Fields(CoreV1Api=lambda: core, BatchV1Api=lambda: batch, exceptions=Fields(ApiException=OSError))
    package = Fields(config=Fields(load_incluster_config=lambda: None), client=client)
    monkeypatch.setitem(sys.modules, "kubernetes", package)
    monkeypatch.setattr(K8sCluster, "_namespace", lambda: "lab")  # from a file of every pod
    hosts = {"train-w-1": "10.8.0.4", "train-w-0.train": "10.8.0.3"}
    monkeypatch.setattr("socket.gethostbyname", hosts.__getitem__)
    yield
    for answer in ("_pod", "_job", "_controller"):  # jax asks once in a process
        vars(K8sCluster)[answer].__func__.cache_clear()


def test_a_pod_of_a_kubernetes_job_set_is_found(monkeypatch, kubernetes):
    surround(monkeypatch, {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOSTNAME": "train-w-1"})
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    found = Processes().membership()
    assert found == Membership(coordinator="train-w-0.train:55527", num_processes=3, process_id=1)


def test_a_job_set_of_kubernetes_that_cannot_be_asked_says_what_to_install(monkeypatch):
    surround(monkeypatch, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    assert Processes().membership() is None  # any pod
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    monkeypatch.setattr("jax._src.clusters.K8sCluster.is_env_present", classmethod(lambda cls: False))
    with pytest.raises(ValueError, match=r"install jax\[k8s\].*--num-processes 1"):
        Processes().membership()
