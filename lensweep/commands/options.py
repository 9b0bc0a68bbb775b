"""Arguments and options that several commands share."""

from typing import Annotated

import typer

Run = Annotated[str, typer.Argument(help="The run's folder, or s3://BUCKET/FOLDER.")]
Band = Annotated[str | None, typer.Option(help="Filter, for headers that do not say.")]
PixelScale = Annotated[float | None, typer.Option(help="Arcsec per pixel, likewise.")]
Units = Annotated[str | None, typer.Option(help="electrons, or counts, with or without /s.")]
Workers = Annotated[int | None, typer.Option(help="Processes of a local cluster.")]
