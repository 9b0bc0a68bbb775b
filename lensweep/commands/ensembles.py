"""The commands that make ensembles and measure them: train, vet, evaluate, survey and more."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lensweep.commands.from_settings import chosen, takes
from lensweep.commands.options import Cluster, Run, Workers
from lensweep.ground.terminal import say
from lensweep.training.data.requests import InjectionConfig
from lensweep.training.evaluation.survey_request import SurveyConfig
from lensweep.training.fit.config import TrainConfig, choose_config

if TYPE_CHECKING:
    from lensweep.training.evaluation.planted_run import Planting

# What takes long to import is imported where it is used: `--help` answers at once.

commands = typer.Typer()

PlantedOut = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Folder of the lenses; default RUN/completeness."),
]
RunEnsemble = Annotated[
    str | None, typer.Option("--ensemble", help="The run's bundle, if not shipped.")
]
# Planted lenses lie anywhere that has data.
ANYWHERE = ("exclusion_radius_arcsec", "min_valid_fraction")


@commands.command("train")
@takes(TrainConfig, from_file=True)
def train_command(
    given: dict[str, Any],
    workdir: Annotated[Path, typer.Argument(help="Folder for the work and the bundle.")],
    preset: Annotated[str | None, typer.Option(help="Name of a shipped training config.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of your own.")] = None,
    cluster: Cluster = "local",
    workers: Workers = None,
) -> None:
    """Train an ensemble and measure it. Repeat the command to continue a stopped training."""
    from lensweep.deploy.accelerator import import_tensorflow
    from lensweep.deploy.at_work import at_work

    import_tensorflow()
    from lensweep.training.evaluation.report import RESULTS
    from lensweep.training.train import check_training, train

    asked = choose_config(preset, config, **given)
    check_training(asked, workdir)
    with at_work(cluster, workers, workdir) as (client, progress):
        folder = train(asked, workdir, client, progress)
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
    from lensweep.deploy.at_work import at_work

    import_tensorflow()
    from lensweep.training.evaluation.evaluate import evaluate, open_evaluation

    asked = open_evaluation(target, data, out)
    with at_work(cluster, workers, asked.out) as (client, progress):
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
@takes(SurveyConfig)
def survey_command(
    given: dict[str, Any],
    out: Annotated[Path, typer.Argument(help="Folder; repeat, with more fields too, to continue.")],
    record: Annotated[
        bool, typer.Option("--record", help="Keep the scores in the bundle, for p_lens.")
    ] = False,
    cluster: Cluster = "local",
    workers: Workers = None,
) -> None:
    """Scan fields without lenses, and plant lenses in them: what a score is worth on a field."""
    from lensweep.deploy.at_work import at_work
    from lensweep.training.evaluation.survey import open_survey, run_survey
    from lensweep.training.evaluation.survey_report import report_survey

    config = chosen(SurveyConfig, given)
    bundle = open_survey(config, out)
    with at_work(cluster, workers, out) as (client, progress):
        survey = run_survey(config, bundle, out, client, progress)
    say(report_survey(survey, config, out, record))


@commands.command("completeness")
@takes(InjectionConfig, but=ANYWHERE)
def completeness_command(
    given: dict[str, Any],
    run: Run,
    out: PlantedOut = None,
    ensemble: RunEnsemble = None,
    cluster: Cluster = "local",
    workers: Workers = None,
) -> None:
    """Plant lenses in a finished run's mosaics, and tell what share of them it finds."""
    from lensweep.deploy.at_work import at_work
    from lensweep.training.evaluation.completeness import measure_completeness
    from lensweep.training.evaluation.completeness_report import show_completeness

    with (
        _planting(run, out, ensemble, given, writes=out is None) as planting,
        at_work(cluster, workers, planting.out) as (client, progress),
    ):
        found = measure_completeness(planting, client, progress)
    show_completeness(found, planting.out)


@commands.command("calibrate")
@takes(InjectionConfig, but=ANYWHERE)
def calibrate_command(
    given: dict[str, Any],
    run: Run,
    lens_density: Annotated[
        float | None, typer.Option(help="Visible lenses per square degree, if not the run's.")
    ] = None,
    out: PlantedOut = None,
    ensemble: RunEnsemble = None,
    cluster: Cluster = "local",
    workers: Workers = None,
) -> None:
    """Calibrate p_lens on a finished run's own mosaics: planted lenses, and its own candidates."""
    from lensweep import read_candidates
    from lensweep.commands.show import show_expectation
    from lensweep.deploy.at_work import at_work
    from lensweep.ground.settings import within
    from lensweep.scanner.results.finished_run import read_facts
    from lensweep.training.evaluation.calibrate import calibrate_run

    if lens_density is not None:
        within("lens_density", lens_density, 1e-6, 1e6)
    with (
        _planting(run, out, ensemble, given, writes=True) as planting,
        at_work(cluster, workers, planting.out) as (client, progress),
    ):
        calibrate_run(planting, client, progress, lens_density)
    show_expectation(read_candidates(planting.root), read_facts(planting.root))


@contextmanager
def _planting(
    run: str, out: Path | None, ensemble: str | None, given: dict[str, Any], writes: bool
) -> "Iterator[Planting]":
    """Lenses to plant in a finished run, whose folder is held if the command writes to it."""
    from lensweep.ground.errors import InputError
    from lensweep.ground.files import is_remote, place
    from lensweep.scanner.results.finished_run import read_facts
    from lensweep.scanner.run.lock import sole_writer
    from lensweep.scanner.run.paths import RunPaths
    from lensweep.training.evaluation.planted_run import open_planting

    root = place(run)
    if out is None and is_remote(root):
        raise InputError(f"run {run}: is in an object store; name a folder with --out")
    read_facts(root)
    with sole_writer(RunPaths.at(run)) if writes else nullcontext():
        yield open_planting(root, ensemble, out or RunPaths(root).completeness, **given)
