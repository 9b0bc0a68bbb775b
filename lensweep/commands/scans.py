"""The commands of a scan's life: scan, status, submit, cancel, and score; example, certificates."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from lensweep.commands.options import Band, PixelScale, Run, Units
from lensweep.commands.submit import submit_command
from lensweep.ground.files import place
from lensweep.ground.outputs import check_folder
from lensweep.ground.terminal import say

commands = typer.Typer()

Mosaics = Annotated[
    list[str] | None,
    typer.Argument(
        help="FITS mosaics, addresses (https, s3), or what `find` wrote.", show_default=False
    ),
]
Out = Annotated[str | None, typer.Option(help="The run's folder, or s3://BUCKET/FOLDER.")]
EnsembleName = Annotated[str | None, typer.Option(help="Shipped ensemble, or a bundle's folder.")]


@commands.command("scan")
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
    rerank: Annotated[
        bool | None, typer.Option("--rerank", help="Replace a catalogue ranked in another way.")
    ] = None,
    band: Band = None,
    pixel_scale_arcsec: Annotated[
        float | None, typer.Option("--pixel-scale", help="Arcsec per pixel, likewise.")
    ] = None,
    units: Units = None,
    mirror: Annotated[
        str | None, typer.Option(help="Folder to fetch mosaics at addresses into, and keep them.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML file with the same keys; flags win.")
    ] = None,
    plan: Annotated[bool, typer.Option(help="Say what would be done, then stop.")] = False,
    truth: Annotated[
        Path | None, typer.Option(help="Table of planted lenses, to mark in what is shown.")
    ] = None,
) -> None:
    """Scan mosaics: cut, score, rank. Repeat the command to continue a stopped run."""
    from lensweep import scan
    from lensweep.commands.show import read_planted, show_outcome, show_plan
    from lensweep.scanner.archive.addresses import with_addresses
    from lensweep.scanner.run.config import make_config

    flags = {key: value for key, value in locals().items() if key in _scan_fields()}
    asked = make_config(flags | {"mosaics": tuple(mosaics or ())}, config)
    asked = dataclasses.replace(asked, mosaics=with_addresses(asked.mosaics))
    planted = None if truth is None else read_planted(truth)
    if plan:
        raise typer.Exit(show_plan(asked))
    try:
        outcome = scan(**_arguments(asked))
    except KeyboardInterrupt:
        say("stopped; what is done stays done: repeat the command to continue", err=True)
        raise
    show_outcome(outcome, planted)
    raise typer.Exit(outcome.exit_status)


@commands.command("status")
def status_command(run: Run) -> None:
    """Tell where a run stands, while it runs or after it died."""
    from lensweep.scanner.work.submitted import show_submitted

    show_submitted(place(run))


# Its options are those of `scan` and more: what it does not know, it hands on.
commands.command(
    "submit", context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
)(submit_command)


@commands.command("cancel")
def cancel_command(run: Run) -> None:
    """Cancel the job that a run was submitted as."""
    from lensweep.scanner.work.submitted import cancel_run

    say(cancel_run(place(run)))


@commands.command("score")
def score_command(
    images: Annotated[list[str], typer.Argument(help="FITS images.")],
    out: Annotated[Path, typer.Option(help="Table: .parquet, .csv, .ecsv, .fits or .vot.")],
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


@commands.command("example")
def example_command(
    folder: Annotated[Path, typer.Argument(help="Folder to write it into.")],
    seed: Annotated[int, typer.Option(help="Another seed is another sky.")] = 2018,
    size: Annotated[int, typer.Option(help="Pixels a side.")] = 3000,
) -> None:
    """Make the embedded example: a simulated mosaic with twelve planted lenses."""
    from lensweep.training.simulation.field import make_field

    path = folder / "hst_99999_01_acs_wfc_f814w_drz.fits"
    if path.is_file():
        say(f"{path} is there already")
        return
    check_folder(folder)
    make_field(path, seed, size)
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


def _scan_fields() -> set[str]:
    from lensweep.scanner.run.config import ScanConfig

    return {field.name for field in dataclasses.fields(ScanConfig)} - {"mosaics"}


def _arguments(config: Any) -> dict[str, Any]:
    return dataclasses.asdict(config)
