"""The commands that make ensembles and measure them: train, vet, evaluate, survey and more."""

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

Lenses = Annotated[int, typer.Option("--n", help="Lenses to plant, one at a time.")]
PlantedOut = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Folder of the lenses; default RUN/completeness."),
]
RunEnsemble = Annotated[
    str | None, typer.Option("--ensemble", help="The run's bundle, if not shipped.")
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
    init: Annotated[
        str | None, typer.Option(help="imagenet, random, file, or bundle: an ensemble's trunk.")
    ] = None,
    trainable: Annotated[
        str | None, typer.Option(help="head (the trunk stays frozen), last-N blocks, or all.")
    ] = None,
    cluster: Cluster = "local",
    workers: Workers = None,
) -> None:
    """Train an ensemble and measure it. Repeat the command to continue a stopped training."""
    from lensweep.deploy.accelerator import import_tensorflow
    from lensweep.deploy.cluster import open_client
    from lensweep.ground.kept_progress import keep_progress

    import_tensorflow()
    from lensweep.training.evaluation.report import RESULTS
    from lensweep.training.fit.config import choose_config
    from lensweep.training.train import check_training, train

    chosen = choose_config(
        preset, config, weights=weights, data=data, protocol=protocol, init=init,
        trainable=trainable,
    )  # fmt: skip
    check_training(chosen, workdir)
    with (
        keep_progress(workdir) as progress,
        open_client(cluster, workers, folder=workdir, tell=progress.note) as client,
    ):
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
        Path | None,
        typer.Option("--out", "-o", help="Folder for the results; default WORKDIR/evaluation."),
    ] = None,
    cluster: Cluster = "local",
    workers: Workers = None,
) -> None:
    """Measure an ensemble on labelled cutouts: ROC, rates with intervals, by kind and size."""
    from lensweep.deploy.accelerator import import_tensorflow
    from lensweep.deploy.cluster import open_client
    from lensweep.ground.kept_progress import keep_progress

    import_tensorflow()
    from lensweep.training.evaluation.evaluate import evaluate, open_evaluation

    asked = open_evaluation(target, data, out)
    with (
        keep_progress(asked.out) as progress,
        open_client(cluster, workers, folder=asked.out, tell=progress.note) as client,
    ):
        page = evaluate(asked, client, progress)
    say(page.read_text())
    say(f"wrote {page.parent}")


@commands.command("vet")
def vet_command(
    bundle: Annotated[Path, typer.Argument(help="The ensemble's folder.")],
    data: Annotated[
        list[Path], typer.Option(help="Labelled cutouts that it was not trained on; repeatable.")
    ],
    record: Annotated[
        bool, typer.Option("--record", help="Keep what is found in the bundle, for scans.")
    ] = False,
) -> None:
    """Measure whether an ensemble's shortcuts hold: its screen, and this machine's precision."""
    from lensweep.training.evaluation.vetting import vet

    for line in vet(bundle, data, record):
        say(line)


@commands.command("merge")
def merge_command(
    workdirs: Annotated[list[Path], typer.Argument(help="Finished folders of lensweep train.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The new bundle's folder.")],
) -> None:
    """Make one ensemble of several trunks that were trained on the same cutouts."""
    from lensweep.ground.outputs import check_folder
    from lensweep.training.fit.merge_bundles import merge_bundles

    check_folder(out.absolute().parent)
    say(f"wrote {merge_bundles(workdirs, out, out.name)}")


@commands.command("survey")
def survey_command(
    out: Annotated[Path, typer.Argument(help="Folder; repeat, with more fields too, to continue.")],
    ensemble: Annotated[str, typer.Option(help="Shipped ensemble, or a bundle's folder.")]
    = "xception-7fold",
    fields: Annotated[int, typer.Option(help="Simulated fields without lenses.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the first field; the next have the next.")] = 300001,
    size: Annotated[int, typer.Option(help="Pixels a side of each.")] = 3000,
    lenses: Annotated[int, typer.Option(help="Planted in each, one at a time.")] = 12,
    centres: Annotated[
        list[str] | None,
        typer.Option(
            "--centres", "--centers", help="grid, sources; repeatable; both by default."
        ),
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Keep the scores in the bundle, for p_lens.")
    ] = False,
    cluster: Cluster = "local",
    workers: Workers = None,
) -> None:
    """Scan fields without lenses, and plant lenses in them: what a score is worth on a field."""
    from lensweep.deploy.cluster import open_client
    from lensweep.ground.kept_progress import keep_progress
    from lensweep.training.evaluation.survey import CENTRES, SurveyConfig, run_survey
    from lensweep.training.evaluation.survey_report import report_survey

    config = SurveyConfig(ensemble, fields, seed, size, lenses, tuple(centres or CENTRES))
    with (
        keep_progress(out) as progress,
        open_client(
            cluster, workers, folder=out / CLUSTER_FOLDER, tell=progress.note
        ) as client,
    ):
        survey = run_survey(config, out, client, progress)
    say(report_survey(survey, config, out, record))


@commands.command("completeness")
def completeness_command(
    run: Run,
    n: Lenses = 1000,
    out: PlantedOut = None,
    ensemble: RunEnsemble = None,
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
    """Plant lenses in a finished run's mosaics, and tell what share of them it finds."""
    from lensweep.deploy.cluster import open_client
    from lensweep.ground.kept_progress import keep_progress
    from lensweep.scanner.run.lock import sole_writer
    from lensweep.scanner.run.paths import RunPaths
    from lensweep.training.evaluation.completeness import measure_completeness
    from lensweep.training.evaluation.completeness_report import show_completeness
    from lensweep.training.evaluation.planted_run import open_planting

    root, folder = _planted_folder(run, out)
    with (
        keep_progress(folder) as progress,
        nullcontext() if out else sole_writer(RunPaths.at(run), progress.note),
    ):
        planting = open_planting(
            root, ensemble, folder, n=n, seed=seed, drawn_hosts=drawn_hosts,
            known=tuple(known or ()), psf=None if psf is None else str(psf),
            psf_scale_arcsec=psf_scale, zero_point_ab=zero_point, exposure_time_s=exposure_time,
        )  # fmt: skip
        with open_client(
            cluster, workers, folder=folder / CLUSTER_FOLDER, tell=progress.note
        ) as client:
            found = measure_completeness(planting, client, progress)
    show_completeness(found, folder)


@commands.command("calibrate")
def calibrate_command(
    run: Run,
    n: Lenses = 1000,
    lens_density: Annotated[
        float | None, typer.Option(help="Visible lenses per square degree, if not the run's.")
    ] = None,
    out: PlantedOut = None,
    ensemble: RunEnsemble = None,
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
    """Calibrate p_lens on a finished run's own mosaics: planted lenses, and its own candidates."""
    from lensweep import read_candidates
    from lensweep.commands.show import show_expectation
    from lensweep.deploy.cluster import open_client
    from lensweep.ground.kept_progress import keep_progress
    from lensweep.ground.settings import within
    from lensweep.scanner.results.finished_run import read_facts
    from lensweep.scanner.run.lock import sole_writer
    from lensweep.scanner.run.paths import RunPaths
    from lensweep.training.evaluation.calibrate import calibrate_run
    from lensweep.training.evaluation.planted_run import open_planting

    if lens_density is not None:
        within("lens_density", lens_density, 1e-6, 1e6)
    root, folder = _planted_folder(run, out)
    with keep_progress(folder) as progress, sole_writer(RunPaths.at(run), progress.note):
        planting = open_planting(
            root, ensemble, folder, n=n, seed=seed, drawn_hosts=drawn_hosts,
            known=tuple(known or ()), psf=None if psf is None else str(psf),
            psf_scale_arcsec=psf_scale, zero_point_ab=zero_point, exposure_time_s=exposure_time,
        )  # fmt: skip
        with open_client(
            cluster, workers, folder=folder / CLUSTER_FOLDER, tell=progress.note
        ) as client:
            calibrate_run(planting, client, progress, lens_density)
    show_expectation(read_candidates(root), read_facts(root))


def _planted_folder(run: str, out: Path | None) -> tuple[Path, Path]:
    """A finished run's folder, and that of the lenses planted in it."""
    from lensweep.ground.errors import InputError
    from lensweep.ground.files import is_remote, place
    from lensweep.scanner.results.finished_run import read_facts
    from lensweep.scanner.run.paths import RunPaths

    root = place(run)
    if out is None and is_remote(root):
        raise InputError(f"run {run}: is in an object store; name a folder with --out")
    read_facts(root)
    return root, out or RunPaths(root).completeness
