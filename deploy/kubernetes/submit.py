"""Hand a scan to Kubernetes: a Job that conducts it, and a Dask cluster that the Job owns."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lensweep.deploy.job_record import Job, JobState, SubmissionError
from lensweep.deploy.kubernetes.manifests import as_yaml, dask_cluster, driver_job, driver_log
from lensweep.deploy.kubernetes.options import KubernetesOptions, refuse_unmounted

_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_DASK = ("kubernetes.dask.org", "v1")
_PLURALS = {"DaskCluster": "daskclusters", "DaskWorkerGroup": "daskworkergroups"}


def kubernetes_manifests(
    folder: Path, options: KubernetesOptions, workers: int | None, mounted: tuple[Path, ...]
) -> str:
    """What `submit_kubernetes` would apply, as YAML; the Job's uid is not known yet.

    Raises
    ------
    SubmissionError
        If a pod would not see a file.
    """
    refuse_unmounted(mounted, options, folder)
    name = "lensweep-dry-run"
    uid = "00000000-0000-0000-0000-000000000000"
    return as_yaml([driver_job(name, folder, options, workers), *dask_cluster(name, uid, options)])


def submit_kubernetes(
    folder: Path, options: KubernetesOptions, workers: int | None, mounted: tuple[Path, ...]
) -> Job:
    """Create the Job and what works for it, and return at once.

    Parameters
    ----------
    folder : Path
        The run's job folder, on one of the claims.
    options : KubernetesOptions
    workers : int or None
        Processes of a driver that works alone; None is one per core.
    mounted : tuple of Path
        What the scan reads.

    Raises
    ------
    SubmissionError
        If a pod would not see a file, or Kubernetes is not here or refuses; then nothing is left
        with it.
    """
    refuse_unmounted(mounted, options, folder)
    name = f"lensweep-{secrets.token_hex(4)}"
    with _api() as (client, here):
        namespace = options.namespace or here
        batch = client.BatchV1Api()
        made = batch.create_namespaced_job(namespace, driver_job(name, folder, options, workers))
        try:
            workers_for_it = dask_cluster(name, made.metadata.uid, options)
            for one in workers_for_it:
                _create(client, namespace, one)
        except client.ApiException:
            batch.delete_namespaced_job(name, namespace, propagation_policy="Background")
            raise
    names = tuple(one["metadata"]["name"] for one in workers_for_it if one["kind"] in _PLURALS)
    return Job("kubernetes", name, names, namespace, str(driver_log(name, folder)))


def kubernetes_state(job: Job) -> JobState:
    """Ask Kubernetes where a Job stands.

    Raises
    ------
    SubmissionError
        If Kubernetes cannot be asked here.
    """
    with _api() as (client, _):
        try:
            status = client.BatchV1Api().read_namespaced_job_status(job.driver, job.place).status
        except client.ApiException as error:
            if error.status != 404:
                raise
            return JobState(False, "no longer known to Kubernetes")
    ended = [c for c in status.conditions or () if c.type in ("Complete", "Failed")
             and c.status == "True"]  # fmt: skip
    if ended:
        reason = f" ({ended[0].reason})" if ended[0].reason else ""
        return JobState(False, f"{ended[0].type}{reason}")
    failed = f", {status.failed} attempts failed" if status.failed else ""
    return JobState(True, ("Running" if status.ready else "Pending") + failed)


def cancel_kubernetes(job: Job) -> None:
    """Delete a Job; its pods and its Dask cluster go with it.

    Raises
    ------
    SubmissionError
        If Kubernetes cannot be asked here, or refuses.
    """
    with _api() as (client, _):
        try:
            client.BatchV1Api().delete_namespaced_job(
                job.driver, job.place, propagation_policy="Background"
            )
        except client.ApiException as error:
            if error.status != 404:
                raise


def _create(client: Any, namespace: str, body: dict[str, Any]) -> None:
    if body["kind"] == "NetworkPolicy":
        client.NetworkingV1Api().create_namespaced_network_policy(namespace, body)
        return
    client.CustomObjectsApi().create_namespaced_custom_object(
        *_DASK, namespace, _PLURALS[body["kind"]], body
    )


@contextmanager
def _api() -> Iterator[tuple[Any, str]]:
    """The Kubernetes client, set up, and the namespace one is in; its errors as one message."""
    try:
        from kubernetes import client, config
    except ImportError as error:
        raise SubmissionError(
            "cluster kubernetes: its client is not installed; `pip install 'lensweep[kubernetes]'`"
        ) from error
    from urllib3.exceptions import HTTPError

    try:
        yield client, _connect(config)
    except config.ConfigException as error:
        raise SubmissionError(f"cluster kubernetes: no access from here ({error})") from error
    except client.ApiException as error:
        raise SubmissionError(
            f"cluster kubernetes: {error.status} {error.reason}: {error.body}"
        ) from error
    except HTTPError as error:
        raise SubmissionError(f"cluster kubernetes: does not answer ({error})") from error


def _connect(config: Any) -> str:
    """Set the client up as the user's configuration says, or a pod's; the namespace one is in."""
    # Read now: the client itself reads the variable once, when it is imported.
    location = os.environ.get("KUBECONFIG", "~/.kube/config")
    if any(Path(path).expanduser().is_file() for path in location.split(os.pathsep)):
        config.load_kube_config(config_file=location)
        _, active = config.list_kube_config_contexts(config_file=location)
        return str(active["context"].get("namespace", "default"))
    config.load_incluster_config()
    return _POD_NAMESPACE.read_text().strip()
