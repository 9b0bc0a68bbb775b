"""What `lensweep submit` checks, writes and hands over; SLURM itself is in test_slurm.py."""

import json
import os
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from conftest import scan_here, write_field

from lensweep.__main__ import main
from lensweep.deploy.environment import worker_environment
from lensweep.deploy.job_record import Job, SubmissionError, read_job, write_job
from lensweep.deploy.slurm.options import SlurmOptions
from lensweep.deploy.slurm.scripts import slurm_scripts
from lensweep.deploy.slurm.submit import slurm_state
from lensweep.ground.errors import InputError
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.work.submission import deal_out

SLURM = ("--cluster", "slurm")


@pytest.fixture
def command(monkeypatch, capfd, tmp_path):
    """Run a command where SLURM is not installed: its exit status and all that it said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["lensweep", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
            raise SystemExit(0)
        out, err = capfd.readouterr()
        return end.value.code or 0, out + err

    return run


@pytest.fixture
def small_field(tmp_path):
    return write_field(tmp_path / "field.fits", seed=1, shape=(120, 120), blank_columns=0)


def scripts(**options):
    return slurm_scripts(Path("/run/job"), Path("/run/tls"), SlurmOptions(**options), None)


def directives(script):
    return [line.removeprefix("#SBATCH ") for line in script.splitlines() if "#SBATCH" in line]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        # a node alone
        ({"cores": 8}, ["driver.sh"]),
        # nodes that work for a driver
        ({"cores": 8, "nodes": 4}, ["driver.sh", "worker.sh"]),
        # and some with GPUs
        ({"nodes": 4, "gpu_nodes": 2, "gpus": 4}, ["driver.sh", "worker.sh", "gpu-worker.sh"]),
        ({"tasks": 10, "setup": ("module load cuda",)}, ["driver.sh"]),
    ],
)
def test_scripts_are_sound_shell(options, names, tmp_path):
    made = scripts(**options)
    assert list(made) == names
    for name, text in made.items():
        path = tmp_path / name
        path.write_text(text)
        checked = subprocess.run([Path(sys.executable).with_name("shellcheck"), path], check=False,
                                 capture_output=True, text=True)  # fmt: skip
        assert checked.stdout == ""
        # SLURM reads directives only before the first command.
        assert text.index("set -u") > max(text.rindex(line) for line in directives(text))
        assert "@" not in text.replace("USR1@", "").replace("[@]", "")
        assert "--requeue" in directives(text)


def test_what_is_asked_of_slurm():
    made = scripts(
        partition="day", gpu_partition="gpu", account="hst", time="1-00:00:00", cores=16,
        memory="64G", gpus=4, nodes=8, gpu_nodes=2, directives=("--qos=long",),
    )  # fmt: skip
    driver, worker, on_gpus = map(directives, made.values())
    for one in (driver, worker, on_gpus):
        assert {"--account=hst", "--time=1-00:00:00", "--qos=long"} <= set(one)
    # The driver needs little; it works with its hands in its pockets.
    assert {"--cpus-per-task=1", "--mem=4G", "--partition=day"} <= set(driver)
    assert {"--cpus-per-task=16", "--mem=64G", "--partition=day", "--array=1-8"} <= set(worker)
    assert {"--partition=gpu", "--gpus-per-node=4", "--array=1-2"} <= set(on_gpus)
    assert not any("gpus" in line for line in driver + worker)
    # Those on cores cut; those on GPUs score.
    assert "resources=CUT=1\n" in made["worker.sh"]
    assert "resources=SCORE=8\nthreads=8\n" in made["gpu-worker.sh"]
    assert "resources=CUT=1,SCORE=1\nthreads=1\n" in scripts(nodes=1)["worker.sh"]


def test_workers_have_the_environment_of_any_worker():
    made = scripts(nodes=1, gpu_nodes=1, gpus=1)
    for name, value in worker_environment().items():
        assert f"export {name}={value}\n" in made["worker.sh"]
        assert f"export {name}={value}\n" in made["gpu-worker.sh"]


@pytest.mark.parametrize(
    ("options", "kind"),
    [({}, "local"), ({"gpus": 2}, "cuda"), ({"nodes": 1}, "workers")],
)
def test_where_the_driver_scans(options, kind):
    assert f"cluster_kind={kind}\n" in scripts(**options)["driver.sh"]


def test_dask_is_encrypted_between_nodes():
    for text in scripts(nodes=2, gpu_nodes=1, gpus=1).values():
        assert "REQUIRE_ENCRYPTION=True" in text
        assert "TLS__WORKER__KEY=/run/tls/key.pem" in text
        assert "BEGIN" not in text


def run_script(name, tmp_path, python, driver="7", **commands):
    """Run a job's script as SLURM does, with shell in the place of what it calls."""
    programs = {"python": python, **commands}
    for program, says in programs.items():
        (tmp_path / program).write_text(f"#!/bin/sh\n{says}\n")
        (tmp_path / program).chmod(0o755)
    made = slurm_scripts(tmp_path, tmp_path / "tls", SlurmOptions(nodes=1, gpu_nodes=1, gpus=1),
                         None)  # fmt: skip
    (tmp_path / name).write_text(made[name].replace(sys.executable, str(tmp_path / "python")))
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_ID": "7"}
    return subprocess.run(["bash", tmp_path / name, driver], env=environment, check=False,
                          capture_output=True, text=True, timeout=60)  # fmt: skip


def test_a_driver_forgets_the_scheduler_of_a_lost_node(tmp_path):
    # A requeued job finds the file that the node before could not remove.
    (tmp_path / "scheduler.json").write_text('{"address": "tls://lost:1"}')
    new = f"""sleep 1; echo '{{"address": "tls://new:1"}}' > {tmp_path}/scheduler.json; sleep 60"""
    ran = run_script(
        "driver.sh", tmp_path,
        f'if [ "$3" = scheduler ]; then {new}; else echo "$@" > {tmp_path}/scanned; fi',
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout
    assert "--cluster tls://new:1 " in (tmp_path / "scanned").read_text()


@pytest.mark.parametrize("name", ["worker.sh", "gpu-worker.sh"])
def test_workers_serve_nothing_and_never_pause(tmp_path, name):
    (tmp_path / "scheduler.json").write_text('{"address": "tls://there:1"}')
    joined = tmp_path / "joined"
    ran = run_script(
        name, tmp_path, f'echo "$@ " > {joined}',
        squeue=f"if [ -e {joined} ]; then echo COMPLETED; else echo RUNNING; fi",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    # `--no-dashboard` alone still listens, everywhere.
    assert "--dashboard-address 127.0.0.1:0 " in joined.read_text()
    assert "--memory-limit 0 " in joined.read_text()


@pytest.mark.parametrize("silent", [True, False], ids=["silent", "ended"])
def test_workers_leave_a_scan_that_is_no_job_and_is_gone(tmp_path, silent):
    file = tmp_path / "scheduler.json"
    if silent:
        # Killed: it renews its file no more. Ended: it took the file away.
        file.write_text('{"address": "tls://gone:1"}')
        os.utime(file, (0, 0))
    ran = run_script("worker.sh", tmp_path, f"touch {tmp_path}/joined", driver="")
    assert ran.returncode == 0, ran.stderr
    assert not (tmp_path / "joined").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cores": 0}, "cores = 0: must be 1 or more"),
        ({"nodes": -1}, "nodes = -1: must be 0 or more"),
        ({"tasks": 0}, "tasks = 0"),
        ({"time": "tomorrow"}, "time = tomorrow: write it as SLURM does"),
        ({"memory": "64 GB"}, "memory = 64 GB"),
        ({"gpu_nodes": 2, "nodes": 1}, "say how many GPUs a node has"),
        ({"gpu_nodes": 2, "gpus": 1}, "workers with GPUs only score"),
        ({"gpus": 2, "nodes": 2}, "say how many nodes work with GPUs"),
        ({"tasks": 4, "nodes": 2}, "choose one"),
        # It would end the block of directives.
        ({"setup": ("a\nb",)}, "must be one line"),
    ],
)
def test_unfit_options_are_refused(options, message):
    with pytest.raises(SubmissionError, match=message):
        SlurmOptions(**options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*SLURM, "gone.fits", "--out", "run"], "mosaic gone.fits: no such file"),
        ([*SLURM, "field.fits", "gone.fits", "--out", "run"], "mosaic gone.fits: no such file"),
        ([*SLURM, "field.fits"], "no output folder"),
        ([*SLURM, "field.fits", "--out", "run", "--stride", "0"], "stride = 0: must lie within"),
        ([*SLURM, "field.fits", "--out", "run", "--ensemble", "x"], "ensemble x: neither a folder"),
        ([*SLURM, "field.fits", "--out", "run", "--time", "soon"], "time = soon"),
        ([*SLURM, "field.fits", "--out", "run", "--array", "2"], "array of 2: only 1 mosaics"),
        ([*SLURM, "field.fits", "--out", "run", "--image", "x:1"],
         "cluster slurm: takes no --image"),
        ([*SLURM, "field.fits", "--out", "run", "--claim", "a:/b"], "takes no --claim"),
        (["--cluster", "pbs", "field.fits", "--out", "run"], "submitted to slurm or kubernetes"),
        (["--cluster", "kubernetes", "field.fits", "--out", "run"], "no image, claims, cores"),
        (["--cluster", "kubernetes", "field.fits", "--out", "run", "--array", "2", "--image", "x:1",
          "--claim", "a:/b", "--cores", "1", "--memory", "4Gi"], "takes no --array"),
        (["--cluster", "kubernetes", "field.fits", "--out", "run", "--nodes", "2", "--tls",
          "--image", "x:1", "--claim", "a:/b", "--cores", "1", "--memory", "4Gi"],
         "tls with 2 nodes on kubernetes: Dask's operator connects without TLS"),
        # nothing is left of a run that could not be handed over
        ([*SLURM, "field.fits", "--out", "run"], "no sbatch here: give the command where SLURM's"),
    ],
)  # fmt: skip
def test_refused_before_anything_is_submitted(
    command, small_field, tiny_bundle, tmp_path, arguments, message
):
    ensemble = () if "--ensemble" in arguments else ("--ensemble", tiny_bundle)
    status, said = command("submit", *arguments, *ensemble)
    assert status == 2
    assert message in said
    assert [path.name for path in tmp_path.iterdir()] == ["field.fits"]


def test_options_that_nobody_knows_are_refused(command, small_field):
    status, said = command("submit", *SLURM, small_field, "--out", "run", "--strid", "25")
    assert status == 2
    assert "No such option" in said


def test_a_dry_run_writes_nothing(command, small_field, tiny_bundle, tmp_path):
    status, said = command(
        "submit", *SLURM, small_field, "--out", "run", "--ensemble", tiny_bundle, "--stride", 25,
        "--dry-run",
    )  # fmt: skip
    assert status == 0
    assert f"job={tmp_path}/run/job\n" in said
    assert "stride = 25\n" in said
    assert [path.name for path in tmp_path.iterdir()] == ["field.fits"]


def test_the_job_gets_the_scan_that_was_asked_for(command, small_field, tiny_bundle, tmp_path):
    """By way of a `sbatch` that answers as SLURM's does."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sbatch").write_text("#!/bin/sh\necho 17\n")
    (tmp_path / "bin" / "sbatch").chmod(0o755)
    status, said = command(
        "submit", "field.fits", *SLURM, "--out", "run", "--ensemble", tiny_bundle, "--stride", 25,
        "--band", "F814W",
    )  # fmt: skip
    assert status == 0, said
    assert f"job 17\nlog: {tmp_path}/run/job/driver-17.log" in said
    asked = tomllib.loads((tmp_path / "run" / "job" / "scan.toml").read_text())
    config = ScanConfig(**asked | {"mosaics": tuple(asked["mosaics"])})
    assert config.mosaics == (str(small_field),)
    assert (config.out, config.stride, config.band) == (str(tmp_path / "run"), 25, "F814W")
    assert read_job(tmp_path / "run" / "job") == Job(
        "slurm", "17", (), "", str(tmp_path / "run" / "job" / "driver-17.log")
    )
    # A login node's status, where SLURM cannot be asked.
    status, said = command("status", "run")
    assert status == 0
    assert "slurm 17: cannot be asked here (no squeue here" in said
    assert "0 of 1 planned" in said


def test_a_run_of_which_nothing_came_can_be_submitted_again(scan, small_field, tmp_path):
    (tmp_path / "run" / "job").mkdir(parents=True)
    assert scan([small_field], tmp_path / "run").exit_status == 0


def test_what_was_not_submitted_cannot_be_cancelled(command, tmp_path):
    status, said = command("cancel", "run")
    assert status == 2
    assert "run run: no such folder" in said
    (tmp_path / "run").mkdir()
    status, said = command("cancel", "run")
    assert status == 2
    assert "run run: was not submitted" in said


@pytest.mark.parametrize(
    ("squeue", "sacct", "alive", "words"),
    [
        # the tasks of an array
        ("printf 'RUNNING|n1\\nPENDING|Resources\\n'", "exit 1", True,
         "PENDING Resources, RUNNING n1"),
        ("echo 'COMPLETED|'", "exit 1", False, "COMPLETED"),
        # forgotten by the controller, known to the accounting
        ("echo 'Invalid job id specified' >&2; exit 1", "echo OUT_OF_MEMORY", False,
         "OUT_OF_MEMORY"),
        ("exit 0", "echo 'accounting storage is disabled' >&2; exit 1", False,
         "no longer known to SLURM"),
    ],
)  # fmt: skip
def test_what_slurm_says(monkeypatch, tmp_path, squeue, sacct, alive, words):
    for name, says in (("squeue", squeue), ("sacct", sacct)):
        (tmp_path / name).write_text(f"#!/bin/sh\n{says}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    state = slurm_state(Job("slurm", "17"))
    assert (state.alive, state.words) == (alive, words)


def test_a_silent_slurm_is_an_error(monkeypatch, tmp_path):
    (tmp_path / "squeue").write_text("#!/bin/sh\necho 'Unable to contact controller' >&2; exit 1\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(SubmissionError, match="squeue: Unable to contact controller"):
        slurm_state(Job("slurm", "17"))


def test_mosaics_are_dealt_out_by_size(tmp_path):
    for name, size in (("a", 5), ("b", 3), ("c", 3), ("d", 1)):
        (tmp_path / f"{name}.fits").write_bytes(b"0" * size)
    mosaics = tuple(str(path) for path in sorted(tmp_path.glob("*.fits")))
    hands = deal_out(ScanConfig(mosaics, str(tmp_path / "out")), 2)
    dealt = [[Path(path).stem for path in hand.mosaics] for hand in hands]
    assert dealt == [["a", "d"], ["b", "c"]]
    assert [Path(hand.out).name for hand in hands] == ["0000", "0001"]
    with pytest.raises(InputError, match="array of 5: only 4 mosaics"):
        deal_out(ScanConfig(mosaics, str(tmp_path / "out")), 5)


def test_a_finished_array_is_all_there(command, client, tiny_bundle, tmp_path):
    """Windows that the screen passed over are done, too."""
    job = tmp_path / "survey" / "job"
    job.mkdir(parents=True)
    for number in range(2):
        field = write_field(tmp_path / f"{number}.fits", seed=number)
        run = tmp_path / "survey" / f"000{number}"
        done = scan_here(client, tiny_bundle, [field], run, screen="auto")
        assert done.tally.screened > 0
        (job / f"scan-{number}.toml").touch()
    n = done.tally.planned
    status, said = command("status", "survey")
    assert status == 0
    assert f"0000      {n:,} of {n:,} windows, finished" in said
    assert f"2 of 2 runs finished, {2 * n:,} of {2 * n:,} windows" in said


def test_a_record_is_read_back(tmp_path):
    job = Job("kubernetes", "lensweep-x", ("lensweep-x",), "hst", "kubectl logs ...")
    assert read_job(tmp_path) is None
    write_job(tmp_path, job)
    assert read_job(tmp_path) == job


class Api(BaseHTTPRequestHandler):
    """The few paths of a Kubernetes API server that a submission uses; keeps what it is given."""

    refuses = ""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if body["kind"] == self.refuses:
            self.answer(403, {"message": "no"})
            return
        path = f"{self.path.split('?')[0]}/{body['metadata']['name']}"
        body["metadata"]["uid"] = "uid-1"
        self.server.objects[path] = body
        self.answer(201, body)

    def do_GET(self):
        found = self.server.objects.get(self.path.split("?")[0].removesuffix("/status"))
        self.answer(200 if found else 404, found or {"message": "not found"})

    def do_DELETE(self):
        gone = self.server.objects.pop(self.path.split("?")[0], None)
        self.answer(200 if gone else 404, {"kind": "Status"})

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


@pytest.fixture
def api(tmp_path):
    """An API server on loopback, and the user's configuration to reach it."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        server.objects = {}
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cluster = {"server": f"http://127.0.0.1:{server.server_address[1]}"}
        (tmp_path / "kubeconfig").write_text(
            yaml.safe_dump({
                "apiVersion": "v1", "kind": "Config", "current-context": "here",
                "clusters": [{"name": "here", "cluster": cluster}],
                "users": [{"name": "me", "user": {}}],
                "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me",
                                                          "namespace": "hst"}}],
            })
        )  # fmt: skip
        yield server
        server.shutdown()


PODS = ("--cluster", "kubernetes", "--image", "lensweep:1", "--cores", 2, "--memory", "8Gi")


def test_kubernetes_from_submission_to_end(command, api, small_field, tiny_bundle, tmp_path):
    claims = "--claim", f"survey:{tmp_path}", "--claim", f"bundles:{tiny_bundle.parent}:ro"
    scan = small_field, "--out", "run", "--ensemble", tiny_bundle
    status, said = command("submit", *PODS, *claims, "--nodes", 3, *scan)
    assert status == 0, said
    job = read_job(tmp_path / "run" / "job")
    assert (job.cluster, job.place, job.workers) == ("kubernetes", "hst", (job.driver,))
    path = f"/apis/batch/v1/namespaces/hst/jobs/{job.driver}"
    dask = f"/apis/kubernetes.dask.org/v1/namespaces/hst/daskclusters/{job.driver}"
    assert f"log: {tmp_path}/run/job/driver-{job.driver}.log" in said
    assert set(api.objects) == {
        path, dask, f"/apis/networking.k8s.io/v1/namespaces/hst/networkpolicies/{job.driver}",
    }  # fmt: skip
    assert api.objects[dask]["metadata"]["ownerReferences"][0]["uid"] == "uid-1"

    api.objects[path]["status"] = {"ready": 1, "failed": 2}
    status, said = command("status", "run")
    assert f"kubernetes {job.driver}: Running, 2 attempts failed" in said
    status, said = command("submit", *PODS, *claims, *scan)
    assert status == 2
    assert "wait for it" in said

    ended = {"type": "Complete", "status": "True", "reason": "CompletionsReached"}
    api.objects[path]["status"] = {"conditions": [ended]}
    status, said = command("status", "run")
    assert "Complete (CompletionsReached)" in said

    status, said = command("cancel", "run")
    assert f"cancelled kubernetes {job.driver}" in said
    assert path not in api.objects
    status, said = command("status", "run")
    assert "no longer known to Kubernetes" in said


def test_what_kubernetes_refuses_leaves_nothing(
    command, api, small_field, tiny_bundle, tmp_path, monkeypatch
):
    monkeypatch.setattr(Api, "refuses", "DaskCluster")
    claims = "--claim", f"survey:{tmp_path}", "--claim", f"bundles:{tiny_bundle.parent}:ro"
    scan = small_field, "--out", "run", "--ensemble", tiny_bundle
    status, said = command("submit", *PODS, *claims, "--nodes", 3, *scan)
    assert status == 2
    assert "cluster kubernetes: 403" in said
    assert not [path for path in api.objects if "/jobs/" in path]
    assert not (tmp_path / "run").exists()


def test_a_laptop_without_access(command, small_field, tiny_bundle, tmp_path):
    claims = "--claim", f"survey:{tmp_path}", "--claim", f"bundles:{tiny_bundle.parent}:ro"
    status, said = command("submit", *PODS, *claims, small_field, "--out", "run",
                           "--ensemble", tiny_bundle)  # fmt: skip
    assert status == 2
    assert "cluster kubernetes: no access from here" in said
