"""The options of `lensweep submit`; those of the scan itself are `lensweep scan`'s."""

import dataclasses
from typing import Annotated, Any

import typer

from lensweep.ground.terminal import say

SLURM, PODS = "SLURM", "Kubernetes"


def submit_command(
    context: typer.Context,
    cluster: Annotated[str, typer.Option(help="slurm or kubernetes.")],
    cores: Annotated[int | None, typer.Option(help="Of a node that works.")] = None,
    memory: Annotated[str | None, typer.Option(help="Of a node that works: 64G, 64Gi.")] = None,
    gpus: Annotated[int, typer.Option(help="Of a node that works with GPUs.")] = 0,
    nodes: Annotated[
        int, typer.Option(help="Nodes that work for the driver; 0: it works alone.")
    ] = 0,
    gpu_nodes: Annotated[int, typer.Option(help="Further nodes, that score on GPUs.")] = 0,
    array: Annotated[
        int, typer.Option(help="Deal the mosaics out to so many runs.", rich_help_panel=SLURM)
    ] = 1,
    partition: Annotated[str | None, typer.Option(rich_help_panel=SLURM)] = None,
    gpu_partition: Annotated[str | None, typer.Option(rich_help_panel=SLURM)] = None,
    account: Annotated[str | None, typer.Option(rich_help_panel=SLURM)] = None,
    time: Annotated[
        str | None,
        typer.Option(help="Limit, such as 1-00:00:00; then it queues again.",
                     rich_help_panel=SLURM),
    ] = None,
    sbatch: Annotated[
        list[str] | None,
        typer.Option(help="One more option, such as --qos=long; repeatable.",
                     rich_help_panel=SLURM),
    ] = None,
    setup: Annotated[
        list[str] | None,
        typer.Option(help="A shell line to begin with; repeatable.", rich_help_panel=SLURM),
    ] = None,
    image: Annotated[str | None, typer.Option(rich_help_panel=PODS)] = None,
    namespace: Annotated[str | None, typer.Option(rich_help_panel=PODS)] = None,
    claim: Annotated[
        list[str] | None,
        typer.Option(help="Volume claim and where it is mounted, NAME:/PATH or NAME:/PATH:ro; "
                     "repeatable.", rich_help_panel=PODS),
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Print what would be submitted, and stop.")]
    = False,
) -> None:  # fmt: skip
    """Hand a scan to SLURM or Kubernetes, and return. Takes all options of `lensweep scan` too.

    The job restarts by itself where it was. See `lensweep status RUN`, `lensweep cancel RUN`.
    """
    from lensweep.scanner.work.submission import describe_submission, submit_scan

    given = {key: value for key, value in locals().items() if key != "context"}
    options = _options(given)
    config = _scan_config(context)
    if dry_run:
        say(describe_submission(config, options))
        return
    job = submit_scan(config, options)
    say(f"submitted to {job.cluster}: job {job.driver}\nlog: {job.log}")


def _options(given: dict[str, Any]) -> Any:
    """The options of the cluster that was named; refuse those of the other."""
    from lensweep.deploy.kubernetes.options import KubernetesOptions
    from lensweep.deploy.slurm.options import SlurmOptions
    from lensweep.ground.errors import InputError

    slurm = {"partition": given["partition"], "gpu_partition": given["gpu_partition"],
             "account": given["account"], "time": given["time"],
             "directives": tuple(given["sbatch"] or ()), "setup": tuple(given["setup"] or ())}
    pods = {"image": given["image"], "namespace": given["namespace"],
            "claims": tuple(given["claim"] or ())}  # fmt: skip
    kinds: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
        "slurm": (SlurmOptions, slurm | {"tasks": given["array"]}, pods),
        "kubernetes": (KubernetesOptions, pods, slurm),
    }
    cluster = given["cluster"]
    if cluster not in kinds:
        raise InputError(f"cluster {cluster}: a scan is submitted to {' or '.join(kinds)}")
    kind, own, others = kinds[cluster]
    strange = sorted(key for key, value in others.items() if value)
    if cluster != "slurm" and given["array"] > 1:
        strange.append("array")
    if strange:
        raise InputError(f"cluster {cluster}: takes no {', '.join(strange)}")
    shared = {key: given[key] for key in ("cores", "memory", "gpus", "nodes", "gpu_nodes")}
    return kind(**shared, **own)


def _scan_config(context: typer.Context) -> Any:
    """What `lensweep scan` would make of the arguments that are left."""
    from lensweep.scanner.archive.addresses import with_addresses
    from lensweep.scanner.run.config import make_config

    assert context.parent is not None
    scan = context.parent.command.get_command(context.parent, "scan")  # type: ignore[attr-defined]
    asked = scan.make_context("submit", list(context.args), parent=context.parent).params
    toml = asked.pop("config")
    for only_of_scan in ("plan", "truth"):
        asked.pop(only_of_scan)
    config = make_config(asked | {"mosaics": tuple(asked["mosaics"] or ())}, toml)
    return dataclasses.replace(config, mosaics=with_addresses(config.mosaics))
