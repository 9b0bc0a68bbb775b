import socket

import pytest
from distributed import LocalCluster

from deploy.cluster import ClusterError, open_client


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@pytest.mark.parametrize(
    "address",
    ["gpu-cluster", "http//host:1", "tcp://127.0.0.1:not-a-port"],
)
def test_addresses_that_are_none_are_refused(address):
    with (
        pytest.raises(ClusterError, match=f"cluster {address}: no scheduler.*tcp://host:8786"),
        open_client(address, timeout_s=1.0),
    ):
        pass


def test_nobody_answers():
    address = f"tcp://127.0.0.1:{free_port()}"
    with (
        pytest.raises(ClusterError, match="no scheduler answers"),
        open_client(address, timeout_s=1.0),
    ):
        pass


def test_a_scheduler_at_an_address():
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0",
            protocol="tcp",
        ) as cluster,
        open_client(cluster.scheduler_address) as client,
    ):  # fmt: skip
        assert client.submit(sum, [1, 2]).result() == 3


def test_local_workers_are_processes_of_one_thread():
    with open_client("local", 1) as client:
        assert list(client.nthreads().values()) == [1]
        (worker,) = client.scheduler_info()["workers"].values()
        assert worker["nanny"].startswith("tcp://127.0.0.1:")
        assert client.submit(_threads).result() == "1"


def _threads():
    import os

    return os.environ["OMP_NUM_THREADS"]
