"""What the command line shows of merged grades."""

import math

from rich.console import Console
from rich.table import Table

from lensweep.ground.terminal import wide_console
from lensweep.scanner.inspection.agreement import Agreement
from lensweep.scanner.inspection.merged_grades import Merged

_SHARES = (("found", "of_lenses"), ("called", "of_duds"), ("same", "of_repeats"))


def show_merged(merged: Merged) -> None:
    """Print what graders say together, how far they agree, and how good each is."""
    console, agreement = wide_console(), merged.agreement
    _print_counts(console, agreement)
    _print_graders(console, agreement)
    if len(agreement.pairs):
        _print_pairs(console, agreement)
        kappa = _number(agreement.fleiss)
        console.print(f"Fleiss' kappa {kappa} of {agreement.n_all:,} candidates that all graded")
    console.print("wrote " + ", ".join(str(p) for p in (merged.grades, merged.joined) if p))


def _print_counts(console: Console, agreement: Agreement) -> None:
    table = agreement.candidates
    counts = (f"{int((table['grade'] == grade).sum()):,} {grade}" for grade in "ABCX")
    apart = int((table["disagreement"] > 1).sum())
    console.print(
        f"{len(table):,} candidates graded; nearest to the mean: {', '.join(counts)}; graders are "
        f"two steps apart or more on {apart:,}"
    )


def _print_graders(console: Console, agreement: Agreement) -> None:
    table = Table(title="graders; on planted stamps, with Wilson 95 % intervals")
    heads = ("grader", "graded", "planted lenses called B or A", "galaxies called B or A",
             "shown twice, graded the same")  # fmt: skip
    for head in heads:
        table.add_column(head, justify="left" if head == "grader" else "right")
    for row in agreement.graders.to_dict("records"):
        shares = (
            f"{row[name]} of {row[of]} ({row[f'{name}_low']:.2f}-{row[f'{name}_high']:.2f})"
            if row[of]
            else "none shown"
            for name, of in _SHARES
        )
        table.add_row(str(row["grader"]), f"{row['n']:,}", *shares)
    console.print(table)


def _print_pairs(console: Console, agreement: Agreement) -> None:
    table = Table(title="Cohen's kappa")
    for head in ("", "", "both graded", "kappa", "with linear weights"):
        table.add_column(head, justify="right" if head else "left")
    for row in agreement.pairs.itertuples():
        table.add_row(str(row.one), str(row.other), f"{row.n:,}", _number(row.kappa),
                      _number(row.linear))  # fmt: skip
    console.print(table)


def _number(kappa: float) -> str:
    return "not defined" if math.isnan(kappa) else f"{kappa:.2f}"
