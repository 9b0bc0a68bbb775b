"""The commands of a scan's life: scan, status, submit, cancel, and score; example, certificates."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from lensweep.commands.from_settings import takes
from lensweep.commands.options import Run
from lensweep.commands.scan_options import ConfigFile, Mosaics, asked_scan
from lensweep.commands.submit import submit_command
from lensweep.ground.errors import InputError
from lensweep.ground.files import place
from lensweep.ground.outputs import check_folder
from lensweep.ground.terminal import say
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.run.score_config import ScoreConfig

commands = typer.Typer()


@commands.command("scan")
@takes(ScanConfig, from_file=True)
def scan_command(
    given: dict[str, Any],
    mosaics: Mosaics = None,
    config: ConfigFile = None,
    plan: Annotated[bool, typer.Option("--plan", help="Say what would be done, then stop.")]
    = False,
    truth: Annotated[
        Path | None, typer.Option(help="Table of planted lenses, to mark in what is shown.")
    ] = None,
) -> None:  # fmt: skip
    """Scan mosaics: cut, score, rank. Repeat the command to continue a stopped run."""
    from lensweep import scan
    from lensweep.commands.show import read_planted, show_outcome, show_plan

    # A plan writes nothing.
    asked = asked_scan(({"out": "RUN"} if plan else {}) | given, mosaics, config)
    planted = None if truth is None else read_planted(truth)
    if plan:
        raise typer.Exit(show_plan(asked))
    try:
        outcome = scan(**dataclasses.asdict(asked))
    except KeyboardInterrupt:
        say("stopped; what is done stays done: repeat the command to continue", err=True)
        raise
    show_outcome(outcome, planted)
    raise typer.Exit(outcome.exit_status)


@commands.command("status")
def status_command(
    folder: Annotated[
        str,
        typer.Argument(
            help="A run's folder, or s3://BUCKET/FOLDER; or the folder that any other long command "
            "writes: simulate, inject, collect, mine, train, evaluate, survey, fetch, …"
        ),
    ],
) -> None:
    """Tell where a scan or another long command stands, while it runs or after it died."""
    from lensweep.scanner.work.submitted import show_folder

    show_folder(place(folder))


commands.command("submit")(submit_command)


@commands.command("cancel")
def cancel_command(run: Run) -> None:
    """Cancel the job that a run was submitted as."""
    from lensweep.scanner.work.submitted import cancel_run

    say(cancel_run(place(run)))


@commands.command("join")
def join_command(
    runs: Annotated[
        list[str],
        typer.Argument(help="Finished runs of parts, or the folder above those of an array."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The new run's folder.")],
    ensemble: Annotated[str | None, typer.Option(help="The runs' bundle, if not shipped.")] = None,
) -> None:
    """Join runs of parts of a survey into one, without cutting or scoring anything again."""
    from lensweep.commands.show import show_joined
    from lensweep.ground.progress import open_progress
    from lensweep.scanner.work.join import join_runs
    from lensweep.scanner.work.submitted import runs_in

    parts = [part for run in runs for part in runs_in(place(run))]
    with open_progress() as progress:
        joined = join_runs(parts, out, ensemble, progress)
    show_joined(joined)


@commands.command("score")
@takes(ScoreConfig, but=("images",))
def score_command(
    given: dict[str, Any],
    images: Annotated[
        list[str],
        typer.Argument(
            help="FITS files, patterns, folders; arrays (.npy, .zarr, FILE.h5::DATASET); folders "
            "of Cutana or AnomalyMatch.", show_default=False,
        ),
    ],
) -> None:  # fmt: skip
    """Score stamps: one cutout at the centre of each. Repeat the command to continue.

    Exit status 3 if some could not be scored.
    """
    from lensweep.commands.show import show_scores
    from lensweep.scanner.work.scoring import run_scores

    if "out" not in given:
        raise InputError("no output table: give --out TABLE")
    config = ScoreConfig(tuple(images), **given)
    scores = run_scores(config).to_pandas()
    show_scores(scores, Path(given["out"]))
    raise typer.Exit(3 if scores["message"].notna().any() else 0)


@commands.command("example")
def example_command(
    folder: Annotated[Path, typer.Argument(help="Folder to write it into.")],
    seed: Annotated[int, typer.Option(help="Another seed is another sky.")] = 2018,
    size: Annotated[int, typer.Option(help="Pixels a side, 1,200 or more.")] = 3000,
    band: Annotated[str, typer.Option(help="F814W, or F606W: the same sky in that.")] = "F814W",
) -> None:
    """Make the embedded example: a simulated mosaic with twelve planted lenses."""
    from lensweep.ground.settings import check_seed, one_of
    from lensweep.training.simulation.bands import BANDS
    from lensweep.training.simulation.field import make_field

    one_of("band", band, tuple(BANDS))
    check_seed(seed)
    path = folder / f"hst_99999_01_acs_wfc_{band.lower()}_drz.fits"
    if path.is_file():
        say(f"{path} is there already; name another folder for another sky")
        return
    check_folder(folder)
    make_field(path, seed, size, band=BANDS[band])
    say(f"wrote {path}")


@commands.command("certificates")
def certificates_command(
    folder: Annotated[Path, typer.Argument(help="Folder that all machines of a cluster see.")],
) -> None:
    """Make certificates for a Dask scheduler and its workers that encrypt."""
    from lensweep.deploy.tls import command_options, make_certificates

    check_folder(folder)
    make_certificates(folder)
    say(f"dask scheduler {command_options(folder)}\ndask worker {command_options(folder)}")
