"""A cluster of Kubernetes pods, made by Dask's operator: one group cuts, another scores."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from distributed import Client
from distributed.security import Security

from lensweep.deploy.config import RECONNECT_S, SCORE, ClusterConfig, ClusterError
from lensweep.deploy.environment import worker_environment

# Nobody; the images are built to run as any user.
USER_ID = 1000


@contextmanager
def open_pods(config: ClusterConfig) -> Iterator[Client]:
    """A scheduler and workers in pods, deleted when the block ends.

    Raises
    ------
    ClusterError
        If dask-kubernetes is not installed, or the pods are not fully described.
    """
    try:
        from dask_kubernetes.operator import KubeCluster
    except ImportError as error:
        raise ClusterError(
            "cluster kubernetes: dask-kubernetes is not installed; "
            "`pip install 'lensweep[kubernetes]'`"
        ) from error
    spec = cluster_spec(config)
    with KubeCluster(
        namespace=config.namespace, custom_cluster_spec=spec, quiet=True, shutdown_on_close=True
    ) as cluster:
        if config.gpu_jobs:
            cluster.add_worker_group("gpu", custom_spec=worker_spec(config, gpu=True))
        with Client(cluster, timeout=RECONNECT_S) as client:
            yield client


def cluster_spec(config: ClusterConfig) -> dict[str, Any]:
    """The operator's `DaskCluster`: a scheduler, and the pods that cut.

    Raises
    ------
    ClusterError
        If the image, the volume or the size of a pod is not stated, or TLS is asked for.
    """
    needed = ("image", "volume_claim", "cores", "memory")
    if missing := [name for name in needed if getattr(config, name) is None]:
        raise ClusterError(
            f"cluster kubernetes: no {', '.join(missing)}; give --cluster a TOML file such as: "
            'kind = "kubernetes", image = "registry/lensweep:1", volume_claim = "surveys", '
            'cores = 4, memory = "16Gi"'
        )
    if config.tls or Security().require_encryption:
        raise ClusterError(
            "cluster kubernetes: Dask's operator connects without TLS; keep others out by a "
            "NetworkPolicy (deploy/kubernetes), or encrypt between nodes"
        )
    from dask_kubernetes.operator import make_cluster_spec

    name = f"lensweep-{uuid.uuid4().hex[:10]}"
    spec: dict[str, Any] = make_cluster_spec(name=name, image=config.image)
    scheduler = spec["spec"]["scheduler"]["spec"]
    # The operator's own words are those of a script that Dask no longer has.
    scheduler["containers"][0]["args"] = ["dask", "scheduler", "--host", "0.0.0.0"]
    _harden(scheduler, config, {"cpu": "1", "memory": "4Gi"})
    spec["spec"]["worker"] = worker_spec(config, gpu=False)
    return spec


def worker_spec(config: ClusterConfig, gpu: bool) -> dict[str, Any]:
    """A group of the operator's worker pods.

    A pod has one worker process: the operator stops pods by their worker's name.
    """
    resources = {SCORE: 1} if gpu else config.cpu_resources
    declared = ",".join(f"{name}={number:g}" for name, number in resources.items())
    cores, memory = config.cores, config.memory
    size: dict[str, str] = {"cpu": str(cores), "memory": str(memory)}
    if gpu:
        size = {"cpu": str(config.gpu_cores or cores), "memory": config.gpu_memory or str(memory),
                "nvidia.com/gpu": "1"}  # fmt: skip
    environment = worker_environment(config.threads)
    pod: dict[str, Any] = {
        "containers": [
            {
                "name": "worker",
                "image": config.image,
                "args": ["dask", "worker", "--name", "$(DASK_WORKER_NAME)", "--nthreads", "1",
                         "--nworkers", "1", "--resources", declared,
                         "--dashboard-address", "127.0.0.1:0"],
                "env": [{"name": key, "value": value} for key, value in environment.items()],
            }
        ]
    }  # fmt: skip
    _harden(pod, config, size)
    return {"replicas": config.gpu_jobs if gpu else config.cpu_jobs, "spec": pod}


def _harden(pod: dict[str, Any], config: ClusterConfig, size: dict[str, str]) -> None:
    """Run as nobody, without a token, on a read-only file system but for the volume and /tmp."""
    pod["automountServiceAccountToken"] = False
    pod["securityContext"] = {
        "runAsNonRoot": True, "runAsUser": USER_ID, "runAsGroup": USER_ID, "fsGroup": USER_ID,
        "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    pod["volumes"] = [
        {"name": "survey", "persistentVolumeClaim": {"claimName": config.volume_claim}},
        {"name": "tmp", "emptyDir": {}},
    ]
    (container,) = pod["containers"]
    if container["env"] is None:
        del container["env"]
    container["resources"] = {"requests": size, "limits": size}
    container["securityContext"] = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    container["volumeMounts"] = [
        {"name": "survey", "mountPath": config.mount_path},
        {"name": "tmp", "mountPath": "/tmp"},
    ]
    container["workingDir"] = "/tmp"
