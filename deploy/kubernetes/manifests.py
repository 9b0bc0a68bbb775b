"""The Kubernetes objects of a submitted scan, from the templates in `deploy/kubernetes`."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

import yaml

from lensweep.deploy.config import SHARDS_AT_ONCE
from lensweep.deploy.environment import worker_environment
from lensweep.deploy.kubernetes.options import KubernetesOptions

TEMPLATES = Path(__file__).parent
# The user of the images; who submits as root must own no files of the pods.
IMAGE_USER = 1000
# A driver ranks candidates, and a scheduler knows a few shards per worker.
SMALL = {"cpu": "1", "memory": "4Gi"}
TMP_LIMIT = "8Gi"
# Kubernetes deletes the log of a pod with the pod. The status is that of the scan, and all that it
# said is in the file before the container ends.
_LOGGED = 'set -o pipefail; log="$1"; shift; "$@" 2>&1 | tee --append "$log"'
_AWAIT_SCHEDULER = """\
import socket, sys, time
while True:
    try:
        socket.create_connection((sys.argv[1], 8786), 5).close()
        break
    except OSError:
        time.sleep(2)
"""


def driver_job(
    name: str, folder: Path, options: KubernetesOptions, workers: int | None
) -> dict[str, Any]:
    """The Job that conducts the scan whose `scan.toml` lies in a folder.

    Parameters
    ----------
    name : str
        Of the Job, and of the Dask cluster that works for it.
    folder : Path
    options : KubernetesOptions
    workers : int or None
        Processes of a driver that works alone; None is one per core.
    """
    scan = ["bash", "-c", _LOGGED, "log", str(driver_log(name, folder)),
            "lensweep", "scan", "--config", str(folder / "scan.toml"), "--cluster"]  # fmt: skip
    if options.nodes:
        pod = _pod(options, "driver", [*scan, f"tcp://{name}-scheduler:8786"], SMALL)
        pod["initContainers"] = [_waiting(pod["containers"][0], f"{name}-scheduler")]
    else:
        kind = "cuda" if options.gpus else "local"
        arguments = [*scan, kind, "--workers", str(workers or options.cores)]
        pod = _pod(options, "driver", arguments, _size(options, options.gpus))
    pod["restartPolicy"] = "Never"
    return _fill("job", name=name, labels=_labels(name), pod=pod)


def driver_log(name: str, folder: Path) -> Path:
    """Where all drivers of a Job write what they say, one after the other."""
    return folder / f"driver-{name}.log"


def dask_cluster(
    name: str, owner_uid: str | None, options: KubernetesOptions
) -> list[dict[str, Any]]:
    """What works for a driver: network policy, Dask cluster, and its workers with GPUs.

    Parameters
    ----------
    name : str
        Of the Job.
    owner_uid : str or None
        Of the Job: what it owns is deleted with it. Without a Job there is no network policy:
        whoever conducts the scan is outside.
    options : KubernetesOptions
    """
    if not options.nodes:
        return []
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": owner_uid}
    owners = [owner] if owner_uid else []
    common = {"name": name, "labels": _labels(name), "owners": owners}
    scheduler = _pod(options, "scheduler", ["dask", "scheduler", "--host", "0.0.0.0"], SMALL)
    _watch(scheduler["containers"][0])
    does = "CUT=1" if options.gpu_nodes else "CUT=1,SCORE=1"
    on_cores = ["dask", "worker", *_worker_arguments(does, 1), "--nworkers", str(options.cores)]
    worker = _pod(options, "worker", on_cores, _size(options, 0))
    policy = [_fill("network-policy", **common)] if owner_uid else []
    made = [
        *policy,
        _fill("dask-cluster", **common, scheduler_pod=scheduler, worker_pod=worker,
              nodes=options.nodes),
    ]  # fmt: skip
    if options.gpu_nodes:
        scoring = _worker_arguments(f"SCORE={SHARDS_AT_ONCE}", SHARDS_AT_ONCE)
        on_gpus = ["dask", "cuda", "worker", *scoring]
        pod = _pod(options, "worker", on_gpus, _size(options, options.gpus))
        made.append(
            _fill("gpu-workers", **common, group_name=f"{name}-gpu", gpu_pod=pod,
                  gpu_nodes=options.gpu_nodes)
        )  # fmt: skip
    return made


def as_yaml(objects: Sequence[dict[str, Any]]) -> str:
    """Objects as the text that `kubectl apply` takes."""
    return "".join(f"---\n{yaml.safe_dump(one, sort_keys=False)}" for one in objects)


def _fill(template: str, **values: Any) -> dict[str, Any]:
    """A template with its placeholders filled by JSON, of which YAML is a superset."""
    text = Template((TEMPLATES / f"{template}.yaml").read_text())
    filled: dict[str, Any] = yaml.safe_load(
        text.substitute({key: json.dumps(value) for key, value in values.items()})
    )
    return filled


def _labels(name: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": "lensweep", "app.kubernetes.io/instance": name}


def _pod(
    options: KubernetesOptions, container: str, arguments: list[str], size: dict[str, str]
) -> dict[str, Any]:
    user, group = os.getuid() or IMAGE_USER, os.getgid() or IMAGE_USER
    volumes: list[dict[str, Any]] = [
        {"name": f"claim-{n}", "persistentVolumeClaim": {"claimName": claim, "readOnly": read_only}}
        for n, (claim, _, read_only) in enumerate(options.mounts)
    ]
    mounts: list[dict[str, Any]] = [
        {"name": f"claim-{n}", "mountPath": str(path), "readOnly": read_only}
        for n, (_, path, read_only) in enumerate(options.mounts)
    ]
    return _fill(
        "pod", user=user, group=group, container=container, image=options.image,
        arguments=arguments, environment=_environment(),
        # What is asked for is what is had: such pods are the last to be evicted.
        resources={"requests": size, "limits": size},
        mounts=[*mounts, {"name": "tmp", "mountPath": "/tmp"}],
        volumes=[*volumes, {"name": "tmp", "emptyDir": {"sizeLimit": TMP_LIMIT}}],
    )  # fmt: skip


def _size(options: KubernetesOptions, gpus: int) -> dict[str, str]:
    size = {"cpu": str(options.cores), "memory": str(options.memory)}
    return size | ({"nvidia.com/gpu": str(gpus)} if gpus else {})


def _worker_arguments(does: str, threads: int) -> list[str]:
    # A paused worker would never go on. Without an address, what serves the dashboard listens
    # everywhere, dashboard or not.
    return ["--name", "$(DASK_WORKER_NAME)", "--nthreads", str(threads), "--resources", does,
            "--memory-limit", "0", "--no-dashboard", "--dashboard-address", "127.0.0.1:0",
            "--local-directory", "/tmp"]  # fmt: skip


def _environment() -> list[dict[str, str]]:
    """What any worker's environment says, and homes and caches in /tmp."""
    values = {
        **worker_environment(),
        "HOME": "/tmp",
        "MPLCONFIGDIR": "/tmp/matplotlib",
    }
    return [{"name": name, "value": value} for name, value in values.items()]


def _waiting(driver: dict[str, Any], host: str) -> dict[str, Any]:
    """A container that ends once the scheduler answers: a driver does not wait for long."""
    return {
        **driver,
        "name": "await-scheduler",
        "args": ["python", "-c", _AWAIT_SCHEDULER, host],
        "resources": {"requests": SMALL, "limits": SMALL},
    }


def _watch(scheduler: dict[str, Any]) -> None:
    """Let the operator see whether the scheduler is well."""
    scheduler["ports"] = [
        {"name": "tcp-comm", "containerPort": 8786, "protocol": "TCP"},
        {"name": "http-dashboard", "containerPort": 8787, "protocol": "TCP"},
    ]
    probe = {"httpGet": {"port": "http-dashboard", "path": "/health"}, "initialDelaySeconds": 5}
    scheduler["readinessProbe"] = {**probe, "periodSeconds": 10}
    scheduler["livenessProbe"] = {**probe, "initialDelaySeconds": 15, "periodSeconds": 20}
