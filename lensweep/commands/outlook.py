"""The command of the thesis' outlook: outlook."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lensweep.commands.from_settings import takes
from lensweep.ground.terminal import say, wide_console
from lensweep.training.outlook.settings import OutlookSettings

# What takes long to import is imported where it is used: `--help` answers at once.

commands = typer.Typer()


@commands.command("outlook")
@takes(OutlookSettings)
def outlook_command(
    given: dict[str, Any],
    data: Annotated[Path, typer.Argument(help="Folder of a labelled set.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the results; repeat to continue.")
    ],
    second_band: Annotated[
        Path | None, typer.Option(help="Set of the same scenes of simulate --band F606W.")
    ] = None,
) -> None:
    """Measure the ideas of the thesis' outlook, each beside a small network of its own kind."""
    from rich.table import Table

    from lensweep.deploy.accelerator import import_tensorflow
    from lensweep.ground.kept_progress import keep_progress
    from lensweep.ground.outputs import begun_folder

    settings = OutlookSettings(**given)
    # It warns of the first calls of every network.
    import_tensorflow().get_logger().setLevel("ERROR")
    from lensweep.training.outlook.experiments import run_outlook

    with begun_folder(out), keep_progress(out) as progress:
        results = run_outlook(settings, data, out, progress, second_band)
    table = Table(title="the outlook, tested on objects that were not trained on")
    for name in ("idea", "beside", "trained", "tested", "ROC AUC", "TPR at FPR 1 %", "parameters"):
        table.add_column(name, justify="left" if name in ("idea", "beside") else "right")
    for row in results.itertuples():
        table.add_row(
            row.name, row.beside, f"{row.trained:,}", f"{row.tested:,}",
            f"{row.roc_auc:.3f} ({row.roc_auc_low:.3f}-{row.roc_auc_high:.3f})",
            f"{row.tpr_at_fpr_1e2:.2f} ({row.tpr_low:.2f}-{row.tpr_high:.2f})",
            f"{row.parameters:,}",
        )  # fmt: skip
    wide_console().print(table)
    say(f"wrote {out}")
