import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import dask
import pytest
from dask_nodes import free_port, wait_until
from distributed import LocalCluster

from lensweep.deploy import local
from lensweep.deploy.cluster import open_client
from lensweep.deploy.config import (
    SHARDS_AT_ONCE,
    ClusterConfig,
    ClusterError,
    NoSchedulerError,
    read_cluster,
)
from lensweep.deploy.environment import ALLOCATOR
from lensweep.deploy.job_record import SubmissionError
from lensweep.deploy.kubernetes.options import KubernetesOptions
from lensweep.deploy.slurm.options import SlurmOptions
from lensweep.deploy.tls import CERTIFICATE, KEY, make_certificates
from lensweep.ground.errors import InputError
from lensweep.scanner.work.dispatch import spread

SLURM = SlurmOptions(nodes=2, cores=4, memory="8G", partition="short", account="astro")
PODS = KubernetesOptions(
    image="registry/lensweep:1", claims=("surveys:/surveys",), cores=2, memory="8Gi", nodes=2
)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("slrm", "there is no such kind"),  # a slip, which no waiting mends
        ("http//host:1", "no scheduler"),
        ("tcp://127.0.0.1:not-a-port", "no scheduler"),
    ],
)
def test_addresses_that_are_none_are_refused(address, message):
    with (
        pytest.raises(ClusterError, match=f"cluster {address}: {message}.*tcp://host:8786"),
        open_client(address, timeout_s=1.0),
    ):
        pass


def test_nobody_answers():
    address = f"tcp://127.0.0.1:{free_port()}"
    with (
        pytest.raises(NoSchedulerError, match="no scheduler answers"),
        open_client(address, timeout_s=1.0),
    ):
        pass


@pytest.mark.parametrize("prefix", ["scheduler-file:", ""])
def test_a_scheduler_at_an_address_or_in_a_file(tmp_path, prefix):
    path = tmp_path / "scheduler.json"
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0",
        protocol="tcp",
    ) as cluster:  # fmt: skip
        path.write_text(f'{{"address": "{cluster.scheduler_address}"}}')
        for asked in (cluster.scheduler_address, f"{prefix}{path}"):
            with open_client(asked) as client:
                assert client.submit(sum, [1, 2]).result() == 3

        async def cell():
            """A notebook's cell: a loop runs already."""
            with open_client(cluster.scheduler_address) as client:
                return client.submit(sum, [1, 2]).result()

        assert asyncio.run(cell()) == 3


@pytest.mark.parametrize("text", [None, "not JSON", "[]", "{}"])
def test_scheduler_files_that_are_none(tmp_path, text):
    path = tmp_path / "scheduler.json"
    if text is not None:
        path.write_text(text)
    with (
        pytest.raises(NoSchedulerError, match=r"no scheduler file.*dask scheduler"),
        open_client(f"scheduler-file:{path}", timeout_s=0.1),
    ):
        pass


@pytest.mark.parametrize("left", [None, "65536"])
def test_local_workers_are_processes_of_one_thread(monkeypatch, left):
    """Whatever an earlier cluster of Dask's has left in the environment of this process."""
    if left is None:
        monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    else:
        monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", left)
    with open_client("local", 1) as client:
        assert list(client.nthreads().values()) == [1]
        (worker,) = client.scheduler_info()["workers"].values()
        assert worker["nanny"].startswith("tcp://127.0.0.1:")
        assert worker["resources"] == {"CUT": 1, "SCORE": 1}
        assert client.submit(_threads).result() == "1"
        assert [*client.run(_tick_ms).values(), _tick_ms(client.cluster.scheduler)] == [500, 500]
        begun = client.submit(_environment_at_start).result()
        for name, value in ALLOCATOR.items():
            assert f"{name}={value}" in begun
    assert os.environ.get("MALLOC_TRIM_THRESHOLD_") == left


def test_processes_of_a_later_cluster_see_what_was_set_since(monkeypatch, tmp_path):
    """Though they are forked off a server that began with the first."""
    for value in ("one", "two"):
        monkeypatch.setenv("LENSWEEP_TEST_VALUE", value)
        monkeypatch.chdir(tmp_path)
        with open_client("local", 1) as client:
            assert client.submit(os.environ.get, "LENSWEEP_TEST_VALUE").result() == value
            assert client.submit(os.getcwd).result() == str(tmp_path)


def test_what_processes_import_is_imported_before_they_begin():
    """In a process of its own: a server that runs already is kept."""
    code = (
        "import sys\n"
        "from lensweep.deploy.cluster import open_client\n"
        "from lensweep.scanner.work.stages import IMPORTS\n"
        "def there(names): return [name in sys.modules for name in names]\n"
        "def unused():\n"
        "    from tensorflow.python.eager.context import context\n"
        "    return context()._context_handle is None\n"
        "if __name__ == '__main__':\n"
        "    names = [*IMPORTS, 'tensorflow', 'keras', 'sklearn']\n"
        "    with open_client('local', 1, imports=IMPORTS) as client:\n"
        "        print(client.submit(there, names).result())\n"
        "        print(client.submit(unused).result())\n"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False
    )
    assert ran.stdout == "[True, True, True, True, False]\nTrue\n", ran.stderr


def test_a_machine_so_busy_that_nothing_connects_in_the_time_of_dask():
    """Here a thousandth of a second."""
    short = {"distributed.comm.timeouts.connect": "1ms"}
    with dask.config.set(short), open_client("local", 1) as client:
        assert client.submit(sum, [1, 2]).result() == 3


def test_a_local_cluster_that_does_not_start(monkeypatch):
    monkeypatch.setitem(local._LOCAL_SETTINGS, "distributed.comm.timeouts.connect", 1e-6)
    with (
        pytest.raises(NoSchedulerError, match=r"processes do not start .*repeat the command later"),
        open_client("local", 1),
    ):
        pass


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        ("local", "give --tls"),
        ("cuda", "give --tls"),
        ("tcp://127.0.0.1:1", "tcp://127.0.0.1:1 does not encrypt"),
    ],
)
def test_dask_is_configured_to_require_encryption(cluster, message):
    with (
        dask.config.set({"distributed.comm.require-encryption": True}),
        pytest.raises(ClusterError, match=f"cluster {cluster}: Dask is configured.*{message}"),
        open_client(cluster),
    ):
        pass


def test_the_users_own_certificates_are_used(tmp_path):
    """Whoever has configured Dask wholly needs nothing of ours."""
    make_certificates(tmp_path / "tls")
    cert, key = str(tmp_path / "tls" / CERTIFICATE), str(tmp_path / "tls" / KEY)
    configured = {"require-encryption": True, "tls.ca-file": cert}
    for role in ("client", "scheduler", "worker"):
        configured |= {f"tls.{role}.cert": cert, f"tls.{role}.key": key}
    configured = {f"distributed.comm.{name}": value for name, value in configured.items()}
    with dask.config.set(configured), open_client("local", 1) as client:
        assert client.scheduler.address.startswith("tls://")


def test_workers_share_the_memory_of_the_container(monkeypatch):
    # As Dask reads it from the control group.
    monkeypatch.setattr("lensweep.deploy.local.MEMORY_LIMIT", 20 * 2**30)
    with open_client("local", 2) as client:
        client.wait_for_workers(2)
        workers = client.scheduler_info()["workers"].values()
        assert {worker["memory_limit"] for worker in workers} == {10 * 2**30}


def test_a_local_cluster_grows_when_it_is_asked_to():
    with open_client("local", 2, begin_with=1) as client:
        for asked, there in ((1, 1), (5, 2), (1, 2)):  # no more than may be; never less
            local.grow(client, asked)
            client.wait_for_workers(there)
            assert len(client.cluster.worker_spec) == there


def test_a_process_that_dask_has_given_up_is_replaced(monkeypatch):
    """Killed once more while its nanny begins it anew, when Dask looks whether it is back."""
    monkeypatch.setitem(local._LOCAL_SETTINGS, "distributed.deploy.lost-worker-timeout", "1 ms")
    with open_client("local", 1) as client:
        (nanny,) = client.cluster.workers.values()
        os.kill(nanny.pid, signal.SIGKILL)
        wait_until(lambda: not client.cluster.workers)
        assert sorted(done for _, done in spread(client, abs, [-1, 2, -3])) == [1, 2, 3]


def _tick_ms(dask_worker):
    return dask_worker.periodic_callbacks["tick"].callback_time


def _threads():
    return os.environ["OMP_NUM_THREADS"]


def _environment_at_start():
    return Path("/proc/self/environ").read_text().split("\0")


def test_a_file_says_what_a_cluster_is(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text('kind = "slurm"\ncores = 8\nnodes = 2\nsetup = ["module load cuda"]\n')
    assert read_cluster(str(path)) == SlurmOptions(cores=8, nodes=2, setup=("module load cuda",))
    path.write_text('kind = "local"\nworkers = 2\n')
    assert read_cluster(str(path), tls=True) == ClusterConfig("local", workers=2, tls=True)
    assert read_cluster("local", 3) == ClusterConfig("local", workers=3)
    assert read_cluster("slurm") == SlurmOptions()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("kind = ", "not TOML"),
        ("cores = 8", "no kind"),
        ('kind = "slurm"\nqueue = "x"', "unknown keys queue; known are account"),
        ('kind = "local"\nqueue = "x"', "unknown keys queue; known are certificates"),
        ('kind = "slurm"\ncores = "8"', "cores = '8': must be a whole number"),
        ('kind = "slurm"\ncores = true', "cores = True: must be a whole number"),
        ('kind = "slurm"\ndirectives = [1]', r"directives = \(1,\): must be a list of names"),
        ('kind = "local"\nworkers = -1', "workers = -1: must lie within 0"),
        ('kind = "local"\nthreads = 0', "threads = 0: must lie within 1"),
        ('kind = "kubernetes"\ncores = 2', "no image, claims, memory; give them"),
    ],
)
def test_files_that_are_unfit(tmp_path, text, message):
    path = tmp_path / "site.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_cluster(str(path))


def test_pods_that_are_to_encrypt_are_refused(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text(
        'kind = "kubernetes"\nimage = "r/lensweep:1"\nclaims = ["s:/s"]\n'
        'cores = 2\nmemory = "8Gi"\n'
    )
    assert isinstance(read_cluster(str(path)), KubernetesOptions)
    with pytest.raises(ClusterError, match="operator connects without TLS"):
        read_cluster(str(path), tls=True)


# An entry of None in `sys.modules` is how Python itself says that a package cannot be imported.
@pytest.mark.parametrize(
    ("config", "missing", "message"),
    [
        (ClusterConfig("cuda"), "dask_cuda",
         r"dask_cuda is not installed; `pip install 'lensweep\[gpu"),
        (PODS, "dask_kubernetes", r"`pip install 'lensweep\[kubernetes\]'`"),
        (dataclasses.replace(PODS, nodes=0), None, "nodes = 0, but pods have to work"),
        (SlurmOptions(), None, "nodes = 0, but nodes have to work.*a TOML file such as"),
        (SlurmOptions(tasks=2), None, "nodes = 0"),
        # encrypted whether it is asked for or not
        (SLURM, None, r"need a folder that all nodes see; name an --out .*lensweep certificates"),
    ],
)  # fmt: skip
def test_what_a_cluster_lacks_is_said(monkeypatch, config, missing, message):
    if missing:
        for name in (missing, f"{missing}.operator"):
            monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ClusterError, match=message), open_client(config):
        pass


def test_slurm_without_slurm(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(SubmissionError, match=r"no sbatch here: give the command .* login node"),
        open_client(SLURM, folder=tmp_path),
    ):
        pass
    # Nobody is left to wait for a scheduler that is gone.
    assert not (tmp_path / "job" / "scheduler.json").exists()


@pytest.mark.gpu
def test_a_process_for_every_gpu_and_others_that_cut():
    dask_cuda = pytest.importorskip("dask_cuda", reason="dask-cuda is not installed: lensweep[gpu]")
    if not Path("/dev/nvidia0").exists():
        pytest.skip("no NVIDIA GPU here")
    gpus = dask_cuda.utils.get_n_gpus()
    with open_client("cuda", 2) as client:
        client.wait_for_workers(gpus + 2)
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        kinds = [worker["resources"] for worker in workers]
    assert kinds.count({"CUT": 1}) == 2
    assert kinds.count({"SCORE": SHARDS_AT_ONCE}) == len(kinds) - 2 == gpus


def test_no_driver_is_said():
    pytest.importorskip("dask_cuda", reason="dask-cuda is not installed: lensweep[gpu]")
    if Path("/dev/nvidiactl").exists():
        pytest.skip("there is a driver here")
    with (
        pytest.raises(ClusterError, match=r"no NVIDIA driver answers \(NVML.*nvidia-smi"),
        open_client("cuda"),
    ):
        pass
