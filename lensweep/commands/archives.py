"""The commands that reach the archives: find what they hold of a piece of sky, and fetch it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lensweep.commands.from_settings import takes
from lensweep.ground.errors import InputError
from lensweep.ground.outputs import check_folder
from lensweep.ground.settings import option_of
from lensweep.scanner.archive.request import SkyRequest

# What takes long to import is imported where it is used: `--help` answers at once.

commands = typer.Typer()


@commands.command("find")
@takes(SkyRequest)
def find_command(
    given: dict[str, Any],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Table to write: .ecsv, .csv or .parquet, for fetch."),
    ] = None,
) -> None:
    """Find F814W images of a piece of sky in MAST and the Hubble Legacy Archive.

    Exit status 3: one of the two did not answer.
    """
    from lensweep.commands.show_archives import coverage_beside, find_sky, show_found
    from lensweep.scanner.archive.products import table_format
    from lensweep.scanner.run.outputs import check_output

    asked = SkyRequest(**given)
    if out is not None:
        table_format(out)
        for path in (out, coverage_beside(out)):
            check_output(path, [one for one in (asked.catalogue, asked.moc) if one is not None])
    found = find_sky(asked)
    show_found(found, out)
    raise typer.Exit(3 if found.silent else 0)


@commands.command("fetch")
@takes(SkyRequest)
def fetch_command(
    given: dict[str, Any],
    table: Annotated[
        Path | None, typer.Argument(help="What `find` wrote.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the files.")] = None,
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
    from lensweep.scanner.archive.products import read_products

    if out is None:
        raise InputError("no folder: give --out MIRROR")
    if cutouts:
        if table is not None or {"cameras", "everything", "moc", "radius"} & given.keys():
            raise InputError("--cutouts goes with --catalog, --name, or --ra and --dec alone")
        asked = SkyRequest(**given)
        check_folder(out)
        raise typer.Exit(fetch_sky(asked, out, cite))
    if table is not None:
        if given:
            named = ", ".join(option_of(SkyRequest, name) for name in given)
            raise InputError(f"{table} says what to fetch; leave out {named}")
        products = read_products(table)
        check_folder(out)
        raise typer.Exit(show_fetched(products, table, out, cite))
    asked = SkyRequest(**given)
    check_folder(out)
    found = find_sky(asked)
    listed = out / "found.ecsv"
    show_found(found, listed)
    status = show_fetched(found.products, listed, out, cite)
    raise typer.Exit(status or (3 if found.silent else 0))
