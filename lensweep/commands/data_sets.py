"""The commands that make data sets: simulate, inject, collect, mine."""

from pathlib import Path
from typing import Annotated

import typer

from lensweep.commands.options import Band, PixelScale, Units, Workers
from lensweep.ground.terminal import say

# What takes long to import is imported where it is used: `--help` answers at once.

commands = typer.Typer()

# Where a cluster keeps its certificates; what begins with a dot is no part of a data set.
CLUSTER_FOLDER = ".cluster"

Out = Annotated[
    Path, typer.Option("--out", "-o", help="Folder of the data set; repeat to continue.")
]
Seed = Annotated[int, typer.Option(help="Same seed, same cutouts.")]
Cluster = Annotated[str, typer.Option(help="local, or the address of a Dask scheduler.")]
PsfFile = Annotated[Path | None, typer.Option(help="FITS image of a PSF, in place of drawn ones.")]
PsfScale = Annotated[float | None, typer.Option(help="Its arcsec per pixel, if not in its header.")]
Known = Annotated[
    list[str] | None,
    typer.Option(help="More known lenses to keep away from: a table, or lenscat; repeatable."),
]
Exclusion = Annotated[
    float, typer.Option("--exclusion-radius", help="Arcsec between windows and known lenses.")
]
DrawnHosts = Annotated[
    float, typer.Option(help="Share painted with a drawn galaxy, on empty sky.")
]
ZeroPoint = Annotated[
    float | None, typer.Option(help="AB magnitude of 1 e-/s, without PHOTFLAM and PHOTPLAM.")
]
ExposureTime = Annotated[float | None, typer.Option(help="Seconds, without EXPTIME.")]
MinGrade = Annotated[
    str | None,
    typer.Option(help="Weaker lenses are no labels: A, B or C (catalogues B, your grades C)."),
]
MinValid = Annotated[float, typer.Option(help="Windows with less data are not used.")]


@commands.command("simulate")
def simulate_command(
    out: Out,
    n: Annotated[int, typer.Option(help="Cutouts to simulate.")],
    seed: Seed = 2018,
    lens_fraction: Annotated[float, typer.Option(help="Share of lenses.")] = 0.5,
    psf: PsfFile = None,
    psf_scale: PsfScale = None,
    cluster: Cluster = "local",
    workers: Workers = None,
) -> None:
    """Simulate labelled cutouts: lenses, and everything that is taken for one."""
    from lensweep.commands.show_data_sets import show_dataset
    from lensweep.deploy.cluster import open_client
    from lensweep.ground.kept_progress import keep_progress
    from lensweep.training.data.labelled_set import read_truth
    from lensweep.training.data.simulation_request import (
        SimulationConfig,
        open_simulation,
        run_simulation,
    )

    config = SimulationConfig(n, seed, lens_fraction, None if psf is None else str(psf), psf_scale)
    drawn = open_simulation(config, out)
    with (
        keep_progress(out) as progress,
        open_client(
            cluster, workers, folder=out / CLUSTER_FOLDER, tell=progress.note
        ) as client,
    ):
        run_simulation(config, drawn, out, client, progress)
    show_dataset(read_truth(out), None, out)


@commands.command("inject")
def inject_command(
    mosaics: Annotated[list[str], typer.Argument(help="FITS mosaics.")],
    out: Out,
    n: Annotated[int, typer.Option(help="Lenses to paint.")] = 1000,
    seed: Seed = 2018,
    drawn_hosts: DrawnHosts = 0.3,
    psf: PsfFile = None,
    psf_scale: PsfScale = None,
    known: Known = None,
    exclusion_radius: Exclusion = 10.0,
    min_valid_fraction: MinValid = 0.9,
    zero_point: ZeroPoint = None,
    exposure_time: ExposureTime = None,
    band: Band = None,
    pixel_scale: PixelScale = None,
    units: Units = None,
    cluster: Cluster = "local",
    workers: Workers = None,
) -> None:
    """Paint lenses on real mosaics: labelled cutouts with real sky, noise and galaxies."""
    from lensweep.commands.show_data_sets import show_dataset
    from lensweep.deploy.cluster import open_client
    from lensweep.ground.kept_progress import keep_progress
    from lensweep.scanner.sky.mosaics import HeaderOverrides
    from lensweep.training.data.injection import InjectionConfig, inject, open_injection

    config = InjectionConfig(
        tuple(mosaics), n, seed, drawn_hosts, exclusion_radius, tuple(known or ()),
        min_valid_fraction, None if psf is None else str(psf), psf_scale, zero_point,
        exposure_time,
    )  # fmt: skip
    injection = open_injection(config, HeaderOverrides(band, pixel_scale, units), out)
    with (
        keep_progress(out) as progress,
        open_client(
            cluster, workers, folder=out / CLUSTER_FOLDER, tell=progress.note
        ) as client,
    ):
        plan = inject(injection, client, progress)
    show_dataset(plan, None, out)


@commands.command("collect")
def collect_command(
    out: Out,
    mosaics: Annotated[list[str] | None, typer.Argument(help="FITS mosaics.")] = None,
    catalogue: Annotated[
        list[str] | None,
        typer.Option(help="Lenses: castles, lensflow92, faure2008, lenscat or a file; repeatable."),
    ] = None,
    labels: Annotated[
        list[Path] | None,
        typer.Option(
            help="Table of ra_deg, dec_deg and label (lens, nonlens), or grades (A, B, C are "
            "lenses, X is none); repeatable: graders vote."
        ),
    ] = None,
    min_grade: MinGrade = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of FITS, NPY or PNG in lens/ and nonlens/.")
    ] = None,
    image_scale: Annotated[float | None, typer.Option(help="Arcsec per pixel of images.")] = None,
    random_positions: Annotated[int, typer.Option(help="Non-lenses at random.")] = 100,
    random_sources: Annotated[int, typer.Option(help="Non-lenses at detected sources.")] = 100,
    known: Known = None,
    exclusion_radius: Exclusion = 10.0,
    min_valid_fraction: MinValid = 0.9,
    seed: Seed = 2018,
    band: Band = None,
    pixel_scale: PixelScale = None,
    units: Units = None,
    cluster: Cluster = "local",
    workers: Workers = None,
) -> None:
    """Collect labelled cutouts: known lenses, random positions and sources, tables, images."""
    from lensweep.commands.show_data_sets import show_dataset
    from lensweep.deploy.cluster import open_client
    from lensweep.ground.kept_progress import keep_progress
    from lensweep.scanner.sky.mosaics import HeaderOverrides
    from lensweep.training.data.collect import collect, open_collection
    from lensweep.training.data.collection_plan import CollectConfig
    from lensweep.training.data.label_table import describe_labels, read_labels

    config = CollectConfig(
        tuple(mosaics or ()), tuple(catalogue or ("castles",)), tuple(map(str, labels or ())),
        None if images is None else str(images), random_positions, random_sources,
        exclusion_radius, tuple(known or ()), min_valid_fraction, seed, min_grade,
    )  # fmt: skip
    for path in labels or ():
        say(describe_labels(read_labels(path)))
    overrides = HeaderOverrides(band, pixel_scale, units)
    image_overrides = HeaderOverrides(band, image_scale, units)
    collection = open_collection(config, overrides, image_overrides, out)
    with (
        keep_progress(out) as progress,
        open_client(
            cluster, workers, folder=out / CLUSTER_FOLDER, tell=progress.note
        ) as client,
    ):
        plan, missing = collect(collection, client, progress)
    show_dataset(plan, missing, out)


@commands.command("mine")
def mine_command(
    out: Out,
    ensemble: Annotated[str, typer.Option(help="Shipped ensemble, or a bundle's folder.")]
    = "xception-7fold",
    n: Annotated[int, typer.Option(help="Windows to keep.")] = 1000,
    fields: Annotated[int, typer.Option(help="Simulated fields without lenses.")] = 10,
    size: Annotated[int, typer.Option(help="Pixels a side of each.")] = 3000,
    seed: Annotated[int, typer.Option(help="Of the first field; the next have the next.")] = 1,
    cluster: Cluster = "local",
    workers: Workers = None,
) -> None:
    """Collect hard negatives: what an ensemble takes for lenses where there are none."""
    from lensweep.commands.show_data_sets import show_dataset
    from lensweep.deploy.cluster import open_client
    from lensweep.ground.kept_progress import keep_progress
    from lensweep.training.data.mining import MiningConfig, mine, open_mining

    config = MiningConfig(ensemble, n, seed, fields, size)
    bundle = open_mining(config, out)
    with (
        keep_progress(out) as progress,
        open_client(
            cluster, workers, folder=out / CLUSTER_FOLDER, tell=progress.note
        ) as client,
    ):
        plan = mine(config, bundle, out, client, progress)
    show_dataset(plan, None, out)
