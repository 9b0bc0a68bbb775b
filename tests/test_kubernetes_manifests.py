"""Manifests against the published schemas of three Kubernetes versions, and Dask's operator's."""

import copy
import dataclasses
from importlib.metadata import files
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from deploy.job_record import SubmissionError
from deploy.kubernetes_options import KubernetesOptions, refuse_unmounted
from deploy.manifests import TEMPLATES, as_yaml, dask_cluster, driver_job

VERSIONS = ("1.35", "1.36", "1.37")
CPU = KubernetesOptions(
    image="registry.example.org/lensweep:0.1.0-cpu", cores=8, memory="32Gi",
    claims=("survey:/survey", "archive:/archive:ro"),
)  # fmt: skip
# Every shape of submission.
OPTIONS = {
    "one pod": CPU,
    "one pod with GPUs": dataclasses.replace(CPU, gpus=2),
    "workers": dataclasses.replace(CPU, nodes=4),
    "workers, some with GPUs": dataclasses.replace(CPU, nodes=4, gpus=2, gpu_nodes=3),
}
JOB = Path("/survey/run/job")


def submitted(options):
    return [driver_job("lensweep-x", JOB, options, None), *dask_cluster("lensweep-x", "u", options)]


def shipped(name):
    return list(yaml.safe_load_all((TEMPLATES / f"{name}.yaml").read_text()))


# What is applied by hand, and what `submit` makes.
OBJECTS = [
    *(one for name in ("storage", "access", "login") for one in shipped(name)),
    *submitted(OPTIONS["one pod with GPUs"]),
    *submitted(OPTIONS["workers, some with GPUs"]),
]


def pods(objects):
    """Every pod specification in the objects."""
    for one in objects:
        if one["kind"] == "Pod":
            yield one["spec"]
        elif one["kind"] == "Job":
            yield one["spec"]["template"]["spec"]
        elif one["kind"] == "DaskCluster":
            yield from (one["spec"][role]["spec"] for role in ("scheduler", "worker"))
        elif one["kind"] == "DaskWorkerGroup":
            yield one["spec"]["worker"]["spec"]


def ours(objects):
    """Those of Kubernetes itself, and what Dask's operator makes pods of."""
    yield from (one for one in objects if "dask.org" not in one["apiVersion"])
    yield from (
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": pod}
        for pod in pods(objects)
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_them(version):
    for one in ours(OBJECTS):
        assert kubernetes_validate.validate(one, version, strict=True) == version


def test_the_validation_is_strict():
    job = driver_job("lensweep-x", JOB, CPU, None)
    job["spec"]["backofLimit"] = 3
    with pytest.raises(kubernetes_validate.ValidationError, match="backofLimit"):
        kubernetes_validate.validate(job, VERSIONS[-1], strict=True)


def operator_schema(plural):
    """The operator's own schema of one of its kinds, refusing what it does not name."""
    shipped_files = files("dask-kubernetes") or ()
    (crd,) = (file for file in shipped_files if file.match(f"crds/{plural}.yaml"))
    definition = yaml.load(Path(crd.locate()).read_text(), yaml.CSafeLoader)
    (version,) = definition["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    schema["properties"] |= {key: {"type": "string"} for key in ("apiVersion", "kind")}
    schema["properties"]["metadata"] = {"type": "object"}
    return closed(schema)


def closed(schema):
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items()}
    keeps = schema.get("x-kubernetes-preserve-unknown-fields")
    if isinstance(schema.get("properties"), dict) and "type" in schema and not keeps:
        made["additionalProperties"] = False
    return made


@pytest.mark.parametrize("kind", ["DaskCluster", "DaskWorkerGroup"])
def test_dasks_operator_takes_them(kind):
    validator = jsonschema.Draft202012Validator(operator_schema(kind.lower()))
    (made,) = (one for one in OBJECTS if one["kind"] == kind)
    assert [error.message for error in validator.iter_errors(made)] == []
    made = copy.deepcopy(made)
    made["spec"]["worker"]["replica"] = 1
    assert ["'replica'" in error.message for error in validator.iter_errors(made)] == [True]


@pytest.mark.parametrize("pod", list(pods(OBJECTS)))
def test_pods_may_do_little(pod):
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert any(volume == {"name": "tmp", "emptyDir": volume.get("emptyDir")}
               for volume in pod["volumes"])  # fmt: skip
    for container in [*pod["containers"], *pod.get("initContainers", ())]:
        may = container["securityContext"]
        assert may["readOnlyRootFilesystem"] is True
        assert may["allowPrivilegeEscalation"] is False
        assert may["capabilities"] == {"drop": ["ALL"]}
        assert {"cpu", "memory"} <= set(container["resources"]["limits"])
        assert ":latest" not in container["image"]


def test_only_who_submits_has_a_token():
    with_token = [pod for pod in pods(OBJECTS) if pod["automountServiceAccountToken"]]
    assert [pod["serviceAccountName"] for pod in with_token] == ["lensweep-submit"]


def test_access_is_what_submit_needs():
    (role,) = (one for one in shipped("access") if one["kind"] == "Role")
    granted = {
        (resource, verb)
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert ("jobs", "create") in granted
    assert ("daskclusters", "create") in granted
    assert not {resource for resource, _ in granted} & {"secrets", "pods", "*"}
    assert "*" not in {verb for _, verb in granted}


def test_what_works_goes_with_the_job():
    job, *others = submitted(OPTIONS["workers, some with GPUs"])
    assert [one["kind"] for one in others] == ["NetworkPolicy", "DaskCluster", "DaskWorkerGroup"]
    for one in others:
        (owner,) = one["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"]) == ("Job", "lensweep-x", "u")
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert others[0]["spec"]["podSelector"]["matchLabels"] == labels
    assert all(one["metadata"]["labels"] == labels for one in others)


@pytest.mark.parametrize(
    ("name", "cluster", "workers"),
    [
        # alone, on its cores
        ("one pod", "local", ["8"]),
        # alone, on its GPUs
        ("one pod with GPUs", "cuda", ["8"]),
        # with workers
        ("workers", "tcp://lensweep-x-scheduler:8786", []),
    ],
)
def test_the_driver_scans(name, cluster, workers):
    (driver,) = next(pods(submitted(OPTIONS[name])))["containers"]
    scan = driver["args"]
    assert scan[:4] == ["lensweep", "scan", "--config", "/survey/run/job/scan.toml"]
    assert scan[scan.index("--cluster") + 1] == cluster
    assert scan[scan.index("--workers") + 1 :] == workers if workers else "--workers" not in scan


def test_gpus_are_asked_for_where_they_are_used():
    def limits(name):
        return [pod["containers"][0]["resources"]["limits"].get("nvidia.com/gpu")
                for pod in pods(submitted(OPTIONS[name]))]  # fmt: skip

    assert limits("one pod with GPUs") == ["2"]
    assert limits("workers") == [None, None, None]
    assert limits("workers, some with GPUs") == [None, None, None, "2"]


def test_text_for_kubectl_is_the_same():
    made = submitted(OPTIONS["workers"])
    assert list(yaml.safe_load_all(as_yaml(made))) == made


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": None}, "no image; give them"),
        ({"claims": ()}, "no claims"),
        ({"image": "lensweep"}, "image lensweep: name a version"),
        ({"image": "registry:5000/lensweep"}, "name a version"),
        ({"image": "lensweep:latest"}, "name a version"),
        ({"memory": "32 GB"}, "memory = 32 GB: write it as Kubernetes does"),
        ({"claims": ("survey",)}, "claim survey: write NAME:/PATH"),
        ({"gpu_nodes": 2, "gpus": 1}, "workers with GPUs only score"),
        ({"nodes": 2, "gpus": 1}, "say how many pods have GPUs"),
    ],
)
def test_unfit_options_are_refused(changes, message):
    with pytest.raises(SubmissionError, match=message):
        dataclasses.replace(CPU, **changes)


@pytest.mark.parametrize(
    ("read", "write", "message"),
    [
        ("/home/a.fits", "/survey/run", "/home/a.fits: on none of the claims"),
        ("/surveys/a.fits", "/survey/run", "/surveys/a.fits: on none"),
        ("/archive/a.fits", "/archive/run", "/archive/run: its claim is mounted read only"),
    ],
)
def test_paths_that_no_pod_sees_are_refused(read, write, message):
    refuse_unmounted([Path("/archive/a.fits")], CPU, Path("/survey/run"))
    with pytest.raises(SubmissionError, match=message):
        refuse_unmounted([Path(read)], CPU, Path(write))
