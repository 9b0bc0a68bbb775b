"""The command that sets all published finders beside each other: compare."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lensweep.commands.from_settings import takes
from lensweep.commands.options import Cluster, Workers
from lensweep.ground.terminal import say
from lensweep.training.comparison.settings import ComparisonSettings

commands = typer.Typer()


@commands.command("compare")
@takes(ComparisonSettings)
def compare_command(
    given: dict[str, Any],
    data: Annotated[Path, typer.Argument(help="Folder of a labelled set.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the comparison; repeat to continue.")
    ],
    cluster: Cluster = "local",
    workers: Workers = None,
) -> None:
    """Train and test the published finders on the same folds. Repeat the command to continue."""
    from lensweep.deploy.accelerator import import_tensorflow
    from lensweep.deploy.at_work import CLUSTER_FOLDER
    from lensweep.deploy.cluster import open_client
    from lensweep.ground.kept_progress import keep_progress
    from lensweep.ground.outputs import begun_folder

    settings = ComparisonSettings(**given)
    # It warns of the first calls of every network.
    import_tensorflow().get_logger().setLevel("ERROR")
    from lensweep.training.comparison.compare import compare

    with begun_folder(out), keep_progress(out) as progress:
        page = compare(
            settings, data, out,
            lambda: open_client(cluster, workers, folder=out / CLUSTER_FOLDER), progress,
        )  # fmt: skip
    say(page.read_text())
    say(f"wrote {page}")
