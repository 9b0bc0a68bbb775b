"""Hand a scan to a cluster: `lensweep submit`."""

import dataclasses
from typing import Annotated, Any

import typer

from lensweep.commands.from_settings import takes
from lensweep.commands.scan_options import ConfigFile, Mosaics, asked_scan
from lensweep.deploy.kubernetes.options import KubernetesOptions
from lensweep.deploy.slurm.options import SlurmOptions
from lensweep.ground.errors import InputError
from lensweep.ground.settings import option_of
from lensweep.ground.terminal import say
from lensweep.scanner.run.config import ScanConfig

KINDS: dict[str, type[SlurmOptions] | type[KubernetesOptions]] = {
    "slurm": SlurmOptions, "kubernetes": KubernetesOptions,
}  # fmt: skip


@takes(SlurmOptions, KubernetesOptions, ScanConfig, but=("cluster",), from_file=True)
def submit_command(
    given: dict[str, Any],
    cluster: Annotated[str, typer.Option(help="slurm or kubernetes.")],
    mosaics: Mosaics = None,
    config: ConfigFile = None,
    dry_run: Annotated[bool, typer.Option(help="Print what would be submitted, and stop.")]
    = False,
) -> None:  # fmt: skip
    """Hand a scan to SLURM or Kubernetes, and return.

    The job restarts by itself where it was. See `lensweep status RUN`, `lensweep cancel RUN`.
    """
    from lensweep.scanner.work.submission import describe_submission, submit_scan

    options = cluster_options(cluster, given)
    scan = asked_scan(given, mosaics, config)
    if dry_run:
        say(describe_submission(scan, options))
        return
    job = submit_scan(scan, options)
    say(f"submitted to {job.cluster}: job {job.driver}\nlog: {job.log}")


def cluster_options(cluster: str, given: dict[str, Any]) -> SlurmOptions | KubernetesOptions:
    """Take the options of the cluster that was named out of what was given.

    Raises
    ------
    InputError
        If it is neither, or an option of the other was given.
    """
    if cluster not in KINDS:
        raise InputError(f"cluster {cluster}: a scan is submitted to {' or '.join(KINDS)}")
    names = {one: {field.name for field in dataclasses.fields(kind)} for one, kind in KINDS.items()}
    asked = {name: given.pop(name) for name in set().union(*names.values()) & given.keys()}
    if strange := sorted(asked.keys() - names[cluster]):
        (other,) = KINDS.keys() - {cluster}
        options = ", ".join(option_of(KINDS[other], name) for name in strange)
        raise InputError(f"cluster {cluster}: takes no {options}")
    return KINDS[cluster](**asked)
