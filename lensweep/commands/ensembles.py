"""The commands that make ensembles and measure them: train, merge, evaluate, completeness."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from lensweep.commands.data_sets import (
    CLUSTER_FOLDER,
    DrawnHosts,
    ExposureTime,
    Known,
    PsfFile,
    PsfScale,
    Seed,
    ZeroPoint,
)
from lensweep.commands.options import Run, Workers
from lensweep.ground.terminal import say

# What takes long to import is imported where it is used: `--help` answers at once.

commands = typer.Typer()

Cluster = Annotated[
    str,
    typer.Option(help="local, cuda, slurm, kubernetes, a TOML file, or a scheduler's address."),
]


@commands.command("train")
def train_command(
    workdir: Annotated[Path, typer.Argument(help="Folder for the work and the bundle.")],
    preset: Annotated[str | None, typer.Option(help="Name of a shipped training config.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of your own.")] = None,
    weights: Annotated[
        str | None, typer.Option(help="The trunk's pretrained weights, if elsewhere.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Folder with labelled train, test, adapt sets of your own.")
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(help="grouped, or thesis: augment first, split after.")
    ] = None,
    init: Annotated[str | None, typer.Option(help="imagenet, random or file.")] = None,
    trainable: Annotated[
        str | None, typer.Option(help="head (the trunk stays frozen), last-N blocks, or all.")
    ] = None,
    cluster: Cluster = "local",
    workers: Workers = None,
) -> None:
    """Train an ensemble and measure it. Repeat the command to continue a stopped training."""
    from lensweep.deploy.accelerator import import_tensorflow
    from lensweep.deploy.cluster import open_client
    from lensweep.ground.progress import open_progress

    import_tensorflow()
    from lensweep.training.evaluation.report import RESULTS
    from lensweep.training.fit.config import choose_config
    from lensweep.training.train import check_training, train

    chosen = choose_config(
        preset, config, weights=weights, data=data, protocol=protocol, init=init,
        trainable=trainable,
    )  # fmt: skip
    check_training(chosen, workdir)
    with open_progress() as progress, open_client(cluster, workers, folder=workdir) as client:
        folder = train(chosen, workdir, client, progress)
    say((workdir / "evaluation" / RESULTS).read_text())
    say(f"wrote {folder}")


@commands.command("evaluate")
def evaluate_command(
    target: Annotated[str, typer.Argument(help="Ensemble, or the folder of lensweep train.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder of a labelled set; default WORKDIR's test set.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results; default WORKDIR/evaluation.")
    ] = None,
    cluster: Cluster = "local",
    workers: Workers = None,
) -> None:
    """Measure an ensemble on labelled cutouts: ROC, rates with intervals, by kind and size."""
    from lensweep.deploy.accelerator import import_tensorflow
    from lensweep.deploy.cluster import open_client
    from lensweep.ground.progress import open_progress

    import_tensorflow()
    from lensweep.training.evaluation.evaluate import evaluate, open_evaluation

    asked = open_evaluation(target, data, out)
    with open_progress() as progress, open_client(cluster, workers, folder=asked.out) as client:
        page = evaluate(asked, client, progress)
    say(page.read_text())
    say(f"wrote {page.parent}")


@commands.command("merge")
def merge_command(
    workdirs: Annotated[list[Path], typer.Argument(help="Finished folders of lensweep train.")],
    out: Annotated[Path, typer.Option(help="The new bundle's folder.")],
) -> None:
    """Make one ensemble of several trunks that were trained on the same cutouts."""
    from lensweep.ground.outputs import check_folder
    from lensweep.training.fit.merge_bundles import merge_bundles

    check_folder(out.absolute().parent)
    say(f"wrote {merge_bundles(workdirs, out, out.name)}")


@commands.command("completeness")
def completeness_command(
    run: Run,
    n: Annotated[int, typer.Option(help="Lenses to paint.")] = 1000,
    out: Annotated[Path | None, typer.Option(help="Folder; default RUN/completeness.")] = None,
    ensemble: Annotated[str | None, typer.Option(help="The run's bundle, if not shipped.")] = None,
    seed: Seed = 2018,
    drawn_hosts: DrawnHosts = 0.3,
    known: Known = None,
    psf: PsfFile = None,
    psf_scale: PsfScale = None,
    zero_point: ZeroPoint = None,
    exposure_time: ExposureTime = None,
    cluster: Cluster = "local",
    workers: Workers = None,
) -> None:
    """Paint lenses on a finished run's mosaics, and tell what share of them it finds."""
    from lensweep.deploy.cluster import open_client
    from lensweep.ground.errors import InputError
    from lensweep.ground.files import is_remote, place
    from lensweep.ground.progress import open_progress
    from lensweep.scanner.results.finished_run import read_facts
    from lensweep.scanner.run.lock import sole_writer
    from lensweep.scanner.run.paths import RunPaths
    from lensweep.training.evaluation.completeness import measure_completeness, open_completeness
    from lensweep.training.evaluation.completeness_report import show_completeness

    root = place(run)
    if out is None and is_remote(root):
        raise InputError(f"run {run}: is in an object store; name a folder with --out")
    folder = out or root / "completeness"
    read_facts(root)
    with (
        open_progress() as progress,
        nullcontext() if out else sole_writer(RunPaths.at(run), progress.note),
    ):
        measurement = open_completeness(
            root, ensemble, folder, n=n, seed=seed, drawn_hosts=drawn_hosts,
            known=tuple(known or ()), psf=None if psf is None else str(psf),
            psf_scale_arcsec=psf_scale, zero_point_ab=zero_point, exposure_time_s=exposure_time,
        )  # fmt: skip
        with open_client(cluster, workers, folder=folder / CLUSTER_FOLDER) as client:
            found = measure_completeness(measurement, client, progress)
    show_completeness(found, folder)
