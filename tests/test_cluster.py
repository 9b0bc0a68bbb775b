import os
import sys
from contextlib import closing
from pathlib import Path

import dask
import pytest
from dask_nodes import free_port
from distributed import LocalCluster

from lensweep.deploy import local
from lensweep.deploy.cluster import open_client
from lensweep.deploy.config import ClusterConfig, ClusterError, NoSchedulerError, read_cluster
from lensweep.deploy.environment import ALLOCATOR
from lensweep.deploy.kubernetes.cluster import cluster_spec, worker_spec
from lensweep.deploy.slurm import cluster as jobs
from lensweep.deploy.slurm.cluster import make_cluster, walltime_s
from lensweep.deploy.tls import CERTIFICATE, KEY, make_certificates

SLURM = {"kind": "slurm", "cores": 4, "memory": "8GiB", "partition": "short", "account": "astro",
         "walltime": "04:00:00"}  # fmt: skip
PODS = {"kind": "kubernetes", "image": "registry/lensweep:1", "volume_claim": "surveys",
        "cores": 2, "memory": "8Gi"}  # fmt: skip


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


def test_local_workers_are_processes_of_one_thread():
    with open_client("local", 1) as client:
        assert list(client.nthreads().values()) == [1]
        (worker,) = client.scheduler_info()["workers"].values()
        assert worker["nanny"].startswith("tcp://127.0.0.1:")
        assert worker["resources"] == {"CUT": 1, "SCORE": 1}
        assert client.submit(_threads).result() == "1"
        begun = client.submit(_environment_at_start).result()
        for name, value in ALLOCATOR.items():
            assert f"{name}={value}" in begun


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


def _threads():
    return os.environ["OMP_NUM_THREADS"]


def _environment_at_start():
    return Path("/proc/self/environ").read_text().split("\0")


def test_a_file_says_what_a_cluster_is(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text(
        'kind = "slurm"\ncores = 8\nmemory = "16GiB"\ngpu_jobs = 2\n'
        'prologue = ["module load cuda"]\n'
    )
    expected = ClusterConfig(
        "slurm", cores=8, memory="16GiB", gpu_jobs=2, prologue=("module load cuda",)
    )
    assert read_cluster(str(path)) == expected
    assert read_cluster(str(path), tls=True).tls
    assert read_cluster("local", 3) == ClusterConfig("local", workers=3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("kind = ", "not TOML"),
        ("cores = 8", "no kind"),
        ('kind = "slurm"\nqueue = "x"', "unknown keys queue; known are account"),
        ('kind = "slurm"\ncores = "8"', "cores = '8' is of another type"),
        ('kind = "slurm"\ncores = true', "cores = True is of another type"),
        ('kind = "slurm"\noptions = [1]', r"options = \(1,\) is of another type"),
        ('kind = "local"\nworkers = -1', "workers = -1 is too few"),
        ('kind = "local"\nthreads = 0', "threads = 0 is too few"),
        ('kind = "slurm"\ncpu_jobs = 0', "only CPU jobs cut"),
    ],
)
def test_files_that_are_unfit(tmp_path, text, message):
    path = tmp_path / "site.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ClusterError, match=message):
        read_cluster(str(path))


# An entry of None in `sys.modules` is how Python itself says that a package cannot be imported.
@pytest.mark.parametrize(
    ("config", "missing", "message"),
    [
        ({"kind": "cuda"}, "dask_cuda", r"dask_cuda is not installed; `pip install 'lensweep\[gpu"),
        (SLURM, "dask_jobqueue", r"`pip install 'lensweep\[slurm\]'`"),
        (PODS, "dask_kubernetes", r"`pip install 'lensweep\[kubernetes\]'`"),
        ({"kind": "slurm"}, None, "cores = None, memory = None of a job.*a TOML file such as"),
        (SLURM | {"walltime": "soon"}, None, "walltime = soon: give it as 04:00:00"),
        # encrypted whether it is asked for or not
        (SLURM, None, r"need a folder that all nodes see; name an --out .*lensweep certificates"),
        (PODS | {"image": None}, None, "no image; give --cluster a TOML file such as"),
        (PODS | {"tls": True}, None, "operator connects without TLS"),
    ],
)
def test_what_a_cluster_lacks_is_said(monkeypatch, config, missing, message):
    if missing:
        for name in (missing, f"{missing}.slurm", f"{missing}.operator"):
            monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ClusterError, match=message), open_client(ClusterConfig(**config)):
        pass


def test_slurm_without_slurm(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(ClusterError, match=r"no job could be submitted: .*sbatch"),
        open_client(ClusterConfig(**SLURM)),
    ):
        pass


@pytest.mark.parametrize(
    ("squeue", "alive"),
    [
        ("printf '11\\n12\\n'", {"11", "12"}),
        # nothing is known of the jobs, which is not that there are none
        ("exit 1", None),
        ("exec sleep 60", None),
    ],
)
def test_jobs_that_slurm_says_are_alive(monkeypatch, tmp_path, squeue, alive):
    (tmp_path / "squeue").write_text(f"#!/bin/sh\n{squeue}\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(jobs, "SQUEUE_TIMEOUT_S", 2.0)
    assert jobs._alive_jobs() == alive


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
    assert kinds.count({"SCORE": 1}) == len(kinds) - 2 == gpus


def test_no_driver_is_said():
    pytest.importorskip("dask_cuda", reason="dask-cuda is not installed: lensweep[gpu]")
    if Path("/dev/nvidiactl").exists():
        pytest.skip("there is a driver here")
    with (
        pytest.raises(ClusterError, match=r"no NVIDIA driver answers \(NVML.*nvidia-smi"),
        open_client("cuda"),
    ):
        pass


@pytest.fixture
def scripts(tmp_path):
    """``scripts(**values)``: the job scripts of a SLURM cluster, as sbatch gets them."""

    def write(**values):
        with closing(make_cluster(ClusterConfig(**SLURM | values), tmp_path)) as cluster:
            found = {
                name: spec["cls"](cluster.scheduler_address, name=name, **spec["options"])
                .job_script()
                for name, spec in cluster.worker_spec.items()
            }
            # Nothing is to be submitted or closed.
            cluster.worker_spec.clear()
            return found

    return write


def test_slurm_jobs_of_two_kinds_join_one_scheduler(scripts):
    found = scripts(cpu_jobs=2, gpu_jobs=1, gpu_partition="gpus", gpu_memory="12GiB",
                    prologue=("module load cuda",), options=("--qos=low",))  # fmt: skip
    assert sorted(found) == ["cpu-0", "cpu-1", "gpu-0"]
    cpu, gpu = found["cpu-0"], found["gpu-0"]
    for script in (cpu, gpu):
        for line in ("#SBATCH -A astro", "#SBATCH -t 04:00:00", "#SBATCH --cpus-per-task=4",
                     "#SBATCH --qos=low", "module load cuda", "export OMP_NUM_THREADS=1",
                     # a paused worker would never go on
                     "export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=False",
                     "--lifetime 14280s"):  # fmt: skip
            assert line in script
    for line in ("#SBATCH -p short", "--mem=8G", "--resources CUT=1 ", "--nworkers 4"):
        assert line in cpu.replace("\n", " ")
    for line in ("#SBATCH -p gpus", "--mem=12G", "--gres=gpu:1", "--resources SCORE=1"):
        assert line in gpu
    assert "--nworkers" not in gpu
    assert "gres" not in cpu
    address = cpu.split("dask_worker ")[1].split()[0]
    assert address in gpu


def test_slurm_jobs_without_gpus_do_both(scripts):
    found = scripts()
    assert list(found) == ["cpu-0"]
    assert "--resources CUT=1,SCORE=1" in found["cpu-0"]


def test_slurm_jobs_encrypt_and_name_files_and_no_secrets(scripts, tmp_path):
    (script,) = scripts().values()
    assert f"--tls-key {tmp_path / 'tls' / 'key.pem'}" in script
    assert "--protocol tls" in script
    assert "BEGIN" not in script


@pytest.mark.parametrize(
    ("walltime", "seconds"),
    [  # sbatch(1), --time
        ("90", 5400),
        ("90:30", 5430),
        ("04:00:00", 14400),
        ("1-0", 86400),
        ("1-12:30", 131400),
        ("1-12:30:30", 131430),
        ("UNLIMITED", None),
    ],
)
def test_walltimes(walltime, seconds):
    assert walltime_s(walltime) == seconds


def test_pods_of_two_kinds():
    config = ClusterConfig(**PODS, cpu_jobs=3, gpu_jobs=2)
    spec, gpu = cluster_spec(config), worker_spec(config, gpu=True)
    cpu = spec["spec"]["worker"]
    assert (cpu["replicas"], gpu["replicas"]) == (3, 2)
    for group, resources in ((cpu, "CUT=1"), (gpu, "SCORE=1")):
        (container,) = group["spec"]["containers"]
        assert container["args"][container["args"].index("--resources") + 1] == resources
    (container,) = gpu["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    for pod in (cpu["spec"], gpu["spec"], spec["spec"]["scheduler"]["spec"]):
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"]
    name = spec["metadata"]["name"]
    assert spec["spec"]["scheduler"]["service"]["selector"]["dask.org/cluster-name"] == name


@pytest.mark.parametrize("which", ["cpu", "gpu", "scheduler"])
def test_kubernetes_takes_the_pods(which):
    validate = pytest.importorskip("kubernetes_validate")
    config = ClusterConfig(**PODS, gpu_jobs=1)
    whole = cluster_spec(config)["spec"]
    pods = {"cpu": whole["worker"], "gpu": worker_spec(config, gpu=True)} | whole
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"},
           "spec": pods[which]["spec"]}  # fmt: skip
    validate.validate(pod, validate.latest_version(), strict=True)
