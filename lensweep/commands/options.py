"""Arguments and options that several commands share."""

from typing import Annotated

import typer

Run = Annotated[str, typer.Argument(help="The run's folder, or s3://BUCKET/FOLDER.")]
Workers = Annotated[int | None, typer.Option(help="Processes of a local cluster.")]
