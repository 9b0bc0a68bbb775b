"""What a scan asks of Kubernetes, checked before anything is asked."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lensweep.deploy.job_record import SubmissionError
from lensweep.deploy.node_options import NodeOptions
from lensweep.ground.settings import check_types, setting

PODS = "Kubernetes"

_CLAIM = re.compile(r"([a-z0-9][-a-z0-9.]*):(/[^:]+?)/?(:ro)?")
_MEMORY = re.compile(r"\d+(\.\d+)?(Ki|Mi|Gi|Ti|k|M|G|T)?")


@dataclass(frozen=True)
class KubernetesOptions(NodeOptions):
    """What a scan asks of Kubernetes.

    Every field is an option of `lensweep submit`, and a key of a TOML file for `--cluster`.
    """

    image: str | None = setting(None, "Image of all pods, with its tag or digest.", group=PODS)
    # Paths of a scan mean the same in a pod and where it is submitted.
    claims: tuple[str, ...] = setting(
        (), "Volume claim and where all pods mount it, NAME:/PATH or NAME:/PATH:ro; repeatable.",
        "--claim", group=PODS,
    )  # fmt: skip
    namespace: str | None = setting(
        None, "Namespace; by default that of the current context, or of the pod that submits.",
        group=PODS,
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_types(self)
        needed = ("image", "claims", "cores", "memory")
        if missing := [name for name in needed if not getattr(self, name)]:
            raise SubmissionError(
                f"cluster kubernetes: no {', '.join(missing)}; give them, such as --image "
                "registry/lensweep:0.1.0 --claim survey:/survey --cores 8 --memory 32Gi"
            )
        assert self.image is not None and self.memory is not None
        name = self.image.rsplit("/", 1)[-1]
        if "@" not in name and (":" not in name or name.endswith(":latest")):
            raise SubmissionError(
                f"image {self.image}: name a version; a pod that is replaced must not get another"
            )
        if not _MEMORY.fullmatch(self.memory):
            raise SubmissionError(
                f"memory = {self.memory}: write it as Kubernetes does, such as 64Gi"
            )
        for claim in self.claims:
            if not _CLAIM.fullmatch(claim):
                raise SubmissionError(f"claim {claim}: write NAME:/PATH, or NAME:/PATH:ro")
        if bool(self.gpu_nodes) > bool(self.nodes and self.gpus):
            raise SubmissionError(
                f"gpu_nodes = {self.gpu_nodes}, nodes = {self.nodes}, gpus = {self.gpus}: workers "
                "with GPUs only score; give nodes to cut, and the GPUs of a pod"
            )
        if self.gpus and self.nodes and not self.gpu_nodes:
            raise SubmissionError(f"gpus = {self.gpus}, gpu_nodes = 0: say how many pods have GPUs")

    @property
    def mounts(self) -> list[tuple[str, Path, bool]]:
        """Claim, path and whether it is read only, one per claim."""
        found = (_CLAIM.fullmatch(claim) for claim in self.claims)
        return [(match[1], Path(match[2]), bool(match[3])) for match in found if match]


def refuse_unmounted(paths: Iterable[Path], options: KubernetesOptions, write: Path) -> None:
    """Refuse what no pod would see.

    Parameters
    ----------
    paths : iterable of Path
        What the scan reads.
    options : KubernetesOptions
    write : Path
        What it writes.

    Raises
    ------
    SubmissionError
        If a path lies on none of the claims, or the run on one that is read only.
    """
    for path in (write, *paths):
        here = [read_only for _, mount, read_only in options.mounts if path.is_relative_to(mount)]
        if not here:
            raise SubmissionError(
                f"{path}: on none of the claims ({', '.join(options.claims)}), so no pod sees it"
            )
        if path == write and all(here):
            raise SubmissionError(f"{path}: its claim is mounted read only ({options.claims})")
