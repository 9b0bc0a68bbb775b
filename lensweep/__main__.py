"""lensweep: find strong gravitational lenses in Hubble I-band (F814W) mosaics.

The command line, and the same verbs for notebooks: `scan`, `score`, `read_candidates`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lensweep.commands.data_sets import commands as data_set_commands
from lensweep.commands.ensembles import commands as train_commands
from lensweep.commands.lenses import commands as lens_commands
from lensweep.commands.options import Band, PixelScale, Run, Units
from lensweep.commands.submit import submit_command
from lensweep.ground.files import is_remote, place

if TYPE_CHECKING:
    import pandas as pd

    from lensweep.scanner.work.scan import Outcome

# What takes long to import is imported where it is used: `--help` and `status` answer at once.

app = typer.Typer(
    help="Find strong gravitational lenses in Hubble I-band (F814W) mosaics.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Mosaics = Annotated[list[str] | None, typer.Argument(help="FITS mosaics.", show_default=False)]
Out = Annotated[str | None, typer.Option(help="The run's folder, or s3://BUCKET/FOLDER.")]
EnsembleName = Annotated[str | None, typer.Option(help="Shipped ensemble, or a bundle's folder.")]


def scan(mosaics: str | Path | Sequence[str | Path], out: str | Path, **options: Any) -> "Outcome":
    """Scan mosaics from pixels to a ranked catalogue; continues a run that was stopped.

    In a script, call it under ``if __name__ == "__main__":``, since worker processes import it.

    Parameters
    ----------
    mosaics : str, Path or sequence of them
        FITS files.
    out : str or Path
        The run's folder.
    **options
        Fields of `lensweep.scanner.run.config.ScanConfig`.

    Returns
    -------
    scanner.run.Outcome

    Raises
    ------
    scanner.errors.InputError
        If nothing can be scanned as asked; the message says why.
    """
    from lensweep.deploy.cluster import open_client
    from lensweep.ground.progress import open_progress
    from lensweep.scanner.run.config import ScanConfig
    from lensweep.scanner.run.opening import open_run
    from lensweep.scanner.work.scan import run_scan

    several = [mosaics] if isinstance(mosaics, str | Path) else mosaics
    config = ScanConfig(tuple(str(path) for path in several), str(out), **options)
    bundle, paths = open_run(config)
    shared = None if is_remote(paths.root) else paths.root
    with (
        open_progress() as progress,
        open_client(config.cluster, config.workers, tls=config.tls, folder=shared) as client,
    ):
        return run_scan(config, bundle, paths, client, progress)


def score(
    images: Sequence[str | Path],
    ensemble: str = "xception-7fold",
    band: str | None = None,
    pixel_scale_arcsec: float | None = None,
    units: str | None = None,
) -> "pd.DataFrame":
    """Score one cutout at the centre of each image.

    Parameters
    ----------
    images : sequence of str or Path
        FITS files.
    ensemble : str
    band, pixel_scale_arcsec, units : optional
        For images whose headers do not say.

    Returns
    -------
    DataFrame
        A row per image, in the order given; columns of `lensweep.catalogs.schemas.SCORES`.
    """
    from lensweep.scanner.sky.mosaics import HeaderOverrides
    from lensweep.scanner.work.stamps import score_stamps

    overrides = HeaderOverrides(band, pixel_scale_arcsec, units)
    return score_stamps([str(image) for image in images], ensemble, overrides).to_pandas()


def read_candidates(run: str | Path) -> "pd.DataFrame":
    """Read the ranked candidates of a run.

    Parameters
    ----------
    run : str or Path
        The run's folder, or its `candidates.parquet`.

    Returns
    -------
    DataFrame
        Sorted by rank; columns of `lensweep.catalogs.schemas.CANDIDATES`.

    Raises
    ------
    scanner.errors.InputError
        If there is no catalogue.
    """
    import pandas as pd

    from lensweep.ground.errors import InputError
    from lensweep.scanner.run.paths import RunPaths

    path = place(run)
    path = RunPaths(path).candidates if path.is_dir() else path
    if not path.is_file():
        raise InputError(f"{path}: no such catalogue; a scan writes it at its end")
    with path.open("rb") as file:
        return pd.read_parquet(file)


@app.command("scan")
def scan_command(
    mosaics: Mosaics = None,
    out: Out = None,
    ensemble: EnsembleName = None,
    centres: Annotated[
        str | None, typer.Option(help="grid, sources, or a table of positions (grid).")
    ] = None,
    stride: Annotated[int | None, typer.Option(help="Pixels between grid windows (50).")] = None,
    min_valid_fraction: Annotated[
        float | None, typer.Option(help="Windows with less data are masked (0.5).")
    ] = None,
    min_logit: Annotated[
        float | None,
        typer.Option(help="Least mean logit of a detection (30 % of non-lenses pass)."),
    ] = None,
    prior: Annotated[
        float | None, typer.Option(help="Lenses per window, for p_lens (grid: 1.9e-5, else 7e-5).")
    ] = None,
    merge_radius_arcsec: Annotated[
        float | None,
        typer.Option("--merge-radius", help="Arcsec; detections closer are one (2.5)."),
    ] = None,
    match_radius_arcsec: Annotated[
        float | None, typer.Option("--match-radius", help="Arcsec; for known lenses (3).")
    ] = None,
    screen: Annotated[
        str | None, typer.Option(help="on, off, auto: pass over windows without prospects (auto).")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="auto, or full: never compute in less than float32 (auto).")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(help="local, cuda, slurm, kubernetes, a TOML file, or a scheduler's address."),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes of a local cluster.")] = None,
    tls: Annotated[
        bool | None, typer.Option("--tls", help="Encrypt between the cluster's processes.")
    ] = None,
    shard_timeout_s: Annotated[
        float | None, typer.Option("--shard-timeout", help="Seconds until a worker hangs (1800).")
    ] = None,
    storage_wait_s: Annotated[
        float | None, typer.Option("--storage-wait", help="Seconds to wait for a full disk (600).")
    ] = None,
    band: Band = None,
    pixel_scale_arcsec: Annotated[
        float | None, typer.Option("--pixel-scale", help="Arcsec per pixel, likewise.")
    ] = None,
    units: Units = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML file with the same keys; flags win.")
    ] = None,
    plan: Annotated[bool, typer.Option(help="Say what would be done, then stop.")] = False,
    truth: Annotated[
        Path | None, typer.Option(help="Table of planted lenses, to mark in what is shown.")
    ] = None,
) -> None:
    """Scan mosaics: cut, score, rank. Repeat the command to continue a stopped run."""
    from lensweep.commands.show import show_outcome, show_plan
    from lensweep.scanner.run.config import make_config

    flags = {key: value for key, value in locals().items() if key in _scan_fields()}
    asked = make_config(flags | {"mosaics": tuple(mosaics or ())}, config)
    if plan:
        raise typer.Exit(show_plan(asked))
    try:
        outcome = scan(**_arguments(asked))
    except KeyboardInterrupt:
        typer.echo("stopped; what is done stays done: repeat the command to continue", err=True)
        raise
    show_outcome(outcome, truth)
    raise typer.Exit(outcome.exit_status)


@app.command("status")
def status_command(run: Run) -> None:
    """Tell where a run stands, while it runs or after it died."""
    from lensweep.scanner.work.submitted import show_submitted

    show_submitted(place(run))


# Its options are those of `scan` and more: what it does not know, it hands on.
app.command(
    "submit", context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
)(submit_command)


@app.command("cancel")
def cancel_command(run: Run) -> None:
    """Cancel the job that a run was submitted as."""
    from lensweep.scanner.work.submitted import cancel_run

    typer.echo(cancel_run(place(run)))


@app.command("score")
def score_command(
    images: Annotated[list[str], typer.Argument(help="FITS images.")],
    out: Annotated[Path, typer.Option(help="Parquet file to write.")],
    ensemble: Annotated[str, typer.Option(help="Shipped ensemble, or a bundle's folder.")]
    = "xception-7fold",
    band: Band = None,
    pixel_scale: PixelScale = None,
    units: Units = None,
) -> None:
    """Score one cutout at the centre of each image; exit status 3 if some could not be."""
    from lensweep.commands.show import show_scores
    from lensweep.scanner.sky.mosaics import HeaderOverrides
    from lensweep.scanner.work.stamps import write_scores

    scores = write_scores(images, ensemble, HeaderOverrides(band, pixel_scale, units), out)
    scores = scores.to_pandas()
    show_scores(scores, out)
    raise typer.Exit(3 if scores["message"].notna().any() else 0)


@app.command("example")
def example_command(
    folder: Annotated[Path, typer.Argument(help="Folder to write it into.")],
    seed: Annotated[int, typer.Option(help="Another seed is another sky.")] = 2018,
    size: Annotated[int, typer.Option(help="Pixels a side.")] = 3000,
) -> None:
    """Make the embedded example: a simulated mosaic with twelve planted lenses."""
    from lensweep.training.simulation.field import make_field

    path = folder / "hst_99999_01_acs_wfc_f814w_drz.fits"
    if path.is_file():
        typer.echo(f"{path} is there already")
        return
    folder.mkdir(parents=True, exist_ok=True)
    make_field(path, seed, size)
    typer.echo(f"wrote {path}")


@app.command("certificates")
def certificates_command(
    folder: Annotated[Path, typer.Argument(help="Folder that all machines of a cluster see.")],
) -> None:
    """Make certificates for a Dask scheduler and its workers that encrypt."""
    from lensweep.deploy.tls import command_options, make_certificates

    make_certificates(folder)
    typer.echo(f"dask scheduler {command_options(folder)}\ndask worker {command_options(folder)}")


for more in (data_set_commands, train_commands, lens_commands):
    app.add_typer(more)


def _scan_fields() -> set[str]:
    import dataclasses

    from lensweep.scanner.run.config import ScanConfig

    return {field.name for field in dataclasses.fields(ScanConfig)} - {"mosaics"}


def _arguments(config: Any) -> dict[str, Any]:
    import dataclasses

    return dataclasses.asdict(config)


def main() -> None:
    """Run the command line: what the user can mend is one message and status 2, or 75 for later."""
    try:
        app()
    except ValueError as error:
        if not _user_can_mend(error):
            raise
        typer.echo(f"lensweep: {error}", err=True)
        sys.exit(75 if _may_pass(error) else 2)


def _user_can_mend(error: ValueError) -> bool:
    from lensweep.catalogs.tables import TableError
    from lensweep.deploy.cluster import ClusterError
    from lensweep.deploy.job_record import SubmissionError
    from lensweep.ground.errors import InputError
    from lensweep.ground.files import StoreError

    return isinstance(
        error, InputError | TableError | ClusterError | SubmissionError | StoreError
    )


def _may_pass(error: ValueError) -> bool:
    from lensweep.deploy.cluster import NoSchedulerError
    from lensweep.ground.errors import TryAgainError

    return isinstance(error, TryAgainError | NoSchedulerError)


if __name__ == "__main__":
    main()
