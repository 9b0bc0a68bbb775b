"""Processes of a cluster that know each other by a certificate."""

import subprocess
import sys

import psutil
import pytest
from conftest import scan_here
from dask_nodes import free_port
from distributed import Client
from distributed.security import Security

from lensweep.deploy.cluster import open_client
from lensweep.deploy.config import ClusterError, NoSchedulerError
from lensweep.deploy.tls import command_options, make_certificates, read_certificates


def listening():
    """Addresses and ports that this process and its children listen on."""
    this = psutil.Process()
    return {
        (connection.laddr.ip, connection.laddr.port)
        for process in [this, *this.children(recursive=True)]
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


@pytest.mark.filterwarnings("ignore")  # what Dask says of whom it refuses
def test_a_scan_that_encrypts(tiny_bundle, field, tmp_path):
    # Other tests may have clusters of their own.
    before = listening()
    with open_client("local", 1, tls=True) as client:
        address = client.scheduler.address
        assert address.startswith("tls://127.0.0.1:")
        (worker,) = client.scheduler_info()["workers"]
        assert worker.startswith("tls://127.0.0.1:")
        assert {ip for ip, _ in listening() - before} <= {"127.0.0.1", "::1"}
        assert scan_here(client, tiny_bundle, [field], tmp_path / "run").exit_status == 0
        others = make_certificates(tmp_path / "others")
        for target, security in [
            (address.replace("tls:", "tcp:"), None),  # no encryption at all
            (address, others),  # a certificate of another cluster
        ]:
            with pytest.raises(OSError):
                Client(target, timeout=2.0, security=security)
        assert client.submit(sum, [1, 2]).result() == 3
    secrets = [path for path in (tmp_path / "run").rglob("*") if is_secret(path)]
    assert not secrets


def is_secret(path):
    return path.is_file() and b"PRIVATE KEY" in path.read_bytes()


def test_local_processes_listen_on_loopback_only():
    before = listening()
    with open_client("local", 1) as client:
        client.wait_for_workers(1)
        assert {ip for ip, _ in listening() - before} <= {"127.0.0.1", "::1"}


def test_a_running_cluster_with_certificates(tmp_path):
    make_certificates(tmp_path / "tls")
    options = command_options(tmp_path / "tls").split()
    port = free_port()
    with (tmp_path / "log").open("w") as log:
        scheduler = subprocess.Popen(
            [sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", str(port),
             "--dashboard-address", "127.0.0.1:0", *options],
            stderr=log,
        )  # fmt: skip
    there = tmp_path / "there.toml"
    there.write_text(
        f'kind = "tls://127.0.0.1:{port}"\ntls = true\ncertificates = "{tmp_path / "tls"}"\n'
    )
    try:
        with open_client(str(there), timeout_s=60.0) as client:
            assert client.scheduler.address == f"tls://127.0.0.1:{port}"
        with (
            pytest.raises(NoSchedulerError, match="no scheduler answers"),
            open_client(f"tcp://127.0.0.1:{port}", timeout_s=1.0),
        ):
            pass
    finally:
        scheduler.terminate()
        scheduler.wait()
    assert "PRIVATE KEY" not in (tmp_path / "log").read_text()


def test_encryption_is_never_dropped():
    with (
        pytest.raises(ClusterError, match=r"does not encrypt; start it.*tls://"),
        open_client("tcp://127.0.0.1:8786", tls=True),
    ):
        pass


def test_keys_are_for_their_owner(tmp_path):
    folder = tmp_path / "tls"
    made = make_certificates(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert "BEGIN" not in repr(made)
    before = (folder / "key.pem").read_bytes()
    make_certificates(folder)
    assert (folder / "key.pem").read_bytes() != before
    assert isinstance(read_certificates(folder), Security)
    (folder / "key.pem").chmod(0o644)
    with pytest.raises(ClusterError, match=r"others may read key\.pem; `chmod 600"):
        read_certificates(folder)
    (folder / "key.pem").unlink()
    with pytest.raises(ClusterError, match=r"no key\.pem; make them with `lensweep certificates"):
        read_certificates(folder)
