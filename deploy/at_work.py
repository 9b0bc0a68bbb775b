"""What a command that computes for long has about it: a cluster, and progress that is kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distributed import Client

from lensweep.deploy.cluster import open_client
from lensweep.ground.kept_progress import keep_progress
from lensweep.ground.progress import Progress

# What begins with a dot is no part of a data set.
CLUSTER_FOLDER = ".cluster"


@contextmanager
def at_work(cluster: str, workers: int | None, folder: Path) -> Iterator[tuple[Client, Progress]]:
    """A client of a cluster, and progress that is shown and kept; both end with the block.

    Parameters
    ----------
    cluster, workers
        As of `lensweep.deploy.cluster.open_client`.
    folder : Path
        Of the work; the cluster keeps its certificates in a folder of its own in there.
    """
    certificates = folder / CLUSTER_FOLDER
    with (
        keep_progress(folder) as progress,
        open_client(cluster, workers, folder=certificates, tell=progress.note) as client,
    ):
        yield client, progress
