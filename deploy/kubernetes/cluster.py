"""Pods that work for a scan where it was typed, made by Dask's operator.

They are those that `lensweep submit` has for its driver.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from distributed import Client
from distributed.security import Security

from lensweep.deploy.config import RECONNECT_S, ClusterError
from lensweep.deploy.kubernetes.manifests import dask_cluster
from lensweep.deploy.kubernetes.options import KubernetesOptions


@contextmanager
def open_pods(options: KubernetesOptions) -> Iterator[Client]:
    """A scheduler and workers in pods, deleted when the block ends.

    Raises
    ------
    ClusterError
        If dask-kubernetes is not installed, or no pod is to work.
    """
    try:
        from dask_kubernetes.operator import KubeCluster
    except ImportError as error:
        raise ClusterError(
            "cluster kubernetes: dask-kubernetes is not installed; "
            "`pip install 'lensweep[kubernetes]'`"
        ) from error
    if not options.nodes:
        raise ClusterError(
            "cluster kubernetes: nodes = 0, but pods have to work for a scan that runs here; say "
            "nodes = 4 or the like in the file that --cluster names"
        )
    if Security().require_encryption:
        raise ClusterError(
            "cluster kubernetes: Dask is configured to require encryption, but its operator "
            "connects without TLS; keep others out by a NetworkPolicy (deploy/kubernetes), or "
            "encrypt between nodes"
        )
    # Without a policy: the operator's pods have to be reached from wherever this is.
    cluster_of_pods, *gpu_groups = dask_cluster(f"lensweep-{secrets.token_hex(4)}", None, options)
    with KubeCluster(
        namespace=options.namespace, custom_cluster_spec=cluster_of_pods, quiet=True,
        shutdown_on_close=True,
    ) as cluster:  # fmt: skip
        for group in gpu_groups:
            cluster.add_worker_group("gpu", custom_spec=group["spec"]["worker"])
        with Client(cluster, timeout=RECONNECT_S) as client:
            yield client
