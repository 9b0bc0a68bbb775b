"""What `scan` and `submit` take besides the fields of a scan's config."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from lensweep.scanner.run.config import ScanConfig, make_config

Mosaics = Annotated[
    list[str] | None,
    typer.Argument(
        help="FITS mosaics, addresses (https, s3), or what `find` wrote.", show_default=False
    ),
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="TOML file with the same keys; flags win.")
]


def asked_scan(given: dict[str, Any], mosaics: list[str] | None, config: Path | None) -> ScanConfig:
    """What a command line asks for: mosaics, options and a TOML file, tables of finds opened."""
    from lensweep.scanner.archive.addresses import with_addresses

    asked = make_config(given | {"mosaics": tuple(mosaics or ())}, config)
    return dataclasses.replace(asked, mosaics=with_addresses(asked.mosaics))
