"""The commands that make data sets: simulate, inject, collect, mine."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from lensweep.commands.from_settings import chosen, takes
from lensweep.commands.options import Cluster, Workers
from lensweep.ground.terminal import say
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.training.data.requests import (
    CollectConfig,
    InjectionConfig,
    MiningConfig,
    SimulationConfig,
)

# What takes long to import is imported where it is used: `--help` answers at once.

commands = typer.Typer()

Mosaics = Annotated[list[str] | None, typer.Argument(help="FITS mosaics.", show_default=False)]
Out = Annotated[
    Path, typer.Option("--out", "-o", help="Folder of the data set; repeat to continue.")
]


@commands.command("simulate")
@takes(SimulationConfig)
def simulate_command(
    given: dict[str, Any], out: Out, cluster: Cluster = "local", workers: Workers = None
) -> None:
    """Simulate labelled cutouts: lenses, and everything that is taken for one."""
    from lensweep.commands.show_data_sets import show_dataset
    from lensweep.deploy.at_work import at_work
    from lensweep.training.data.labelled_set import read_truth
    from lensweep.training.data.simulated_set import open_simulation, run_simulation

    config = chosen(SimulationConfig, given)
    drawn = open_simulation(config, out)
    with at_work(cluster, workers, out) as (client, progress):
        run_simulation(config, drawn, out, client, progress)
    show_dataset(read_truth(out), None, out)


@commands.command("inject")
@takes(InjectionConfig, HeaderOverrides)
def inject_command(
    given: dict[str, Any],
    out: Out,
    mosaics: Mosaics = None,
    cluster: Cluster = "local",
    workers: Workers = None,
) -> None:
    """Paint lenses on real mosaics: labelled cutouts with real sky, noise and galaxies."""
    from lensweep.commands.show_data_sets import show_dataset
    from lensweep.deploy.at_work import at_work
    from lensweep.training.data.injection import inject, open_injection

    config = chosen(InjectionConfig, given, mosaics=tuple(mosaics or ()))
    injection = open_injection(config, chosen(HeaderOverrides, given), out)
    with at_work(cluster, workers, out) as (client, progress):
        plan = inject(injection, client, progress)
    show_dataset(plan, None, out)


@commands.command("collect")
@takes(CollectConfig, HeaderOverrides)
def collect_command(
    given: dict[str, Any],
    out: Out,
    mosaics: Mosaics = None,
    image_scale: Annotated[float | None, typer.Option(help="Arcsec per pixel of images.")] = None,
    cluster: Cluster = "local",
    workers: Workers = None,
) -> None:
    """Collect labelled cutouts: known lenses, random positions and sources, tables, images."""
    from lensweep.commands.show_data_sets import show_dataset
    from lensweep.deploy.at_work import at_work
    from lensweep.training.data.collect import collect, open_collection
    from lensweep.training.data.label_table import describe_labels, read_labels

    config = chosen(CollectConfig, given, mosaics=tuple(mosaics or ()))
    for path in config.labels:
        say(describe_labels(read_labels(Path(path))))
    overrides = chosen(HeaderOverrides, given)
    of_images = dataclasses.replace(overrides, pixel_scale_arcsec=image_scale)
    collection = open_collection(config, overrides, of_images, out)
    with at_work(cluster, workers, out) as (client, progress):
        plan, missing = collect(collection, client, progress)
    show_dataset(plan, missing, out)


@commands.command("mine")
@takes(MiningConfig)
def mine_command(
    given: dict[str, Any], out: Out, cluster: Cluster = "local", workers: Workers = None
) -> None:
    """Collect hard negatives: what an ensemble takes for lenses where there are none."""
    from lensweep.commands.show_data_sets import show_dataset
    from lensweep.deploy.at_work import at_work
    from lensweep.training.data.mining import mine, open_mining

    config = chosen(MiningConfig, given)
    bundle = open_mining(config, out)
    with at_work(cluster, workers, out) as (client, progress):
        plan = mine(config, bundle, out, client, progress)
    show_dataset(plan, None, out)
