"""Arguments and options that several commands share."""

from typing import Annotated

import typer


def _known(cluster: str) -> str:
    """Refuse what names no cluster before anything is begun."""
    from lensweep.deploy.config import read_cluster

    read_cluster(cluster)
    return cluster


Run = Annotated[str, typer.Argument(help="The run's folder, or s3://BUCKET/FOLDER.")]
Workers = Annotated[int | None, typer.Option(help="Processes of a local cluster.")]
Cluster = Annotated[
    str,
    typer.Option(
        help="local, cuda, slurm, kubernetes, a TOML file, or a scheduler's address.",
        callback=_known,
    ),
]
