"""The command that learns from the grades of a run's candidates: learn."""

from pathlib import Path
from typing import Annotated

import typer

from lensweep.commands.options import Run
from lensweep.ground.files import place
from lensweep.ground.terminal import say

# What takes long to import is imported where it is used: `--help` answers at once.

commands = typer.Typer()


@commands.command("learn")
def learn_command(
    run: Run,
    labels: Annotated[
        list[Path],
        typer.Option(
            help="Grades of `lensweep inspect`, or a table of ra_deg, dec_deg and label or grade; "
            "repeatable: graders vote."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The new bundle's folder; default in RUN/learned."),
    ] = None,
    ensemble: Annotated[str | None, typer.Option(help="The run's bundle, if not shipped.")] = None,
    min_grade: Annotated[
        str | None, typer.Option(help="Leave out lenses of weaker grades: A, B or C (C).")
    ] = None,
    top: Annotated[int, typer.Option(help="First candidates to rank again.")] = 500,
    seed: Annotated[int, typer.Option(help="Same seed, same heads.")] = 2018,
) -> None:
    """Fit the heads to grades of a run's candidates, if that helps, and rank the run again."""
    from lensweep.ground.kept_progress import keep_progress
    from lensweep.scanner.run.paths import RunPaths
    from lensweep.training.learning.learn import learn

    root = place(run)
    with keep_progress(RunPaths(root).learned) as progress:
        learned = learn(root, labels, out, progress, ensemble, min_grade, top, seed)
    held_out = learned.held_out
    say("\n".join(learned.said))
    say(
        f"held-out grades: log loss {held_out.log_loss_before:.4f} -> {held_out.log_loss:.4f}, "
        f"ROC AUC {held_out.roc_auc_before:.4f} -> {held_out.roc_auc:.4f}\n"
        f"wrote {learned.bundle.folder}\nwrote {learned.ranking}"
    )
