"""The commands that reach the archives: find what they hold of a piece of sky, and fetch it."""

from pathlib import Path
from typing import Annotated

import typer

# What takes long to import is imported where it is used: `--help` answers at once.

commands = typer.Typer()

Ra = Annotated[float | None, typer.Option(help="Degrees, with --dec.", show_default=False)]
Dec = Annotated[float | None, typer.Option(help="Degrees, with --ra.", show_default=False)]
Name = Annotated[str | None, typer.Option(help="An object that CDS' Sesame knows.")]
Catalogue = Annotated[
    str | None, typer.Option("--catalog", help="castles, lensflow, or a table of positions.")
]
Moc = Annotated[Path | None, typer.Option(help="A coverage map (MOC, FITS).")]
Radius = Annotated[str, typer.Option(help="About each position, as 5arcmin or 0.1deg.")]
Cameras = Annotated[
    list[str] | None,
    typer.Option("--camera", help="ACS/WFC (the default), WFC3/UVIS or WFPC2; repeatable."),
]
Cloud = Annotated[
    bool, typer.Option("--cloud", help="Addresses in the public cloud (s3), where it has them.")
]
Everything = Annotated[
    bool, typer.Option("--all", help="Every product, not only the best of each piece of sky.")
]


@commands.command("find")
def find_command(
    ra: Ra = None,
    dec: Dec = None,
    name: Name = None,
    catalogue: Catalogue = None,
    moc: Moc = None,
    radius: Radius = "5arcmin",
    camera: Cameras = None,
    everything: Everything = False,
    cloud: Cloud = False,
    out: Annotated[
        Path | None, typer.Option(help="Table to write: .ecsv, .csv or .parquet, for fetch.")
    ] = None,
) -> None:
    """Find F814W images of a piece of sky in MAST and the Hubble Legacy Archive.

    Exit status 3: one of the two did not answer.
    """
    from lensweep.commands.show_archives import find_sky, show_found
    from lensweep.scanner.archive.products import table_format

    if out is not None:
        table_format(out)
    found = find_sky(ra, dec, name, catalogue, moc, radius, camera, everything, cloud)
    show_found(found, out)
    raise typer.Exit(3 if found.silent else 0)


@commands.command("fetch")
def fetch_command(
    table: Annotated[
        Path | None, typer.Argument(help="What `find` wrote.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the files.")] = None,
    ra: Ra = None,
    dec: Dec = None,
    name: Name = None,
    catalogue: Catalogue = None,
    moc: Moc = None,
    radius: Radius = "5arcmin",
    camera: Cameras = None,
    everything: Everything = False,
    cloud: Cloud = False,
    cutouts: Annotated[
        bool,
        typer.Option("--cutouts", help="Not images, but a cutout at each position of --catalog."),
    ] = False,
    cite: Annotated[
        bool, typer.Option("--cite", help="Print what a paper has to say of the data.")
    ] = False,
) -> None:
    """Fetch the images that `find` found, or finds; repeat the command to continue.

    Exit status 3: some could not be fetched.
    """
    from lensweep.commands.show_archives import fetch_sky, find_sky, show_fetched, show_found
    from lensweep.ground.errors import InputError
    from lensweep.scanner.archive.products import read_products

    if out is None:
        raise InputError("no folder: give --out MIRROR")
    if cutouts:
        if table is not None or camera or everything or moc is not None:
            raise InputError("--cutouts goes with --catalog, --name, or --ra and --dec alone")
        raise typer.Exit(fetch_sky(ra, dec, name, catalogue, out, cite))
    if table is not None:
        if any(option is not None for option in (ra, dec, name, catalogue, moc)):
            raise InputError(f"{table} says what to fetch; leave out the options about the sky")
        raise typer.Exit(show_fetched(read_products(table), table, out, cite))
    found = find_sky(ra, dec, name, catalogue, moc, radius, camera, everything, cloud)
    out.mkdir(parents=True, exist_ok=True)
    listed = out / "found.ecsv"
    show_found(found, listed)
    status = show_fetched(found.products, listed, out, cite)
    raise typer.Exit(status or (3 if found.silent else 0))
