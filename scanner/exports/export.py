"""A run's candidates in the files that astronomers open: which rows, which format, where to."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lensweep.catalogs.selection import select_rows
from lensweep.ground.errors import InputError
from lensweep.ground.files import is_remote, place
from lensweep.ground.outputs import check_folder
from lensweep.ground.settings import at_least
from lensweep.scanner.exports import table_files
from lensweep.scanner.exports.footprint_file import write_moc
from lensweep.scanner.exports.hats_folder import write_hats
from lensweep.scanner.exports.lens_models import write_coolest
from lensweep.scanner.exports.stamp_files import write_stamps
from lensweep.scanner.results.finished_run import read_facts
from lensweep.scanner.results.modelling import with_models
from lensweep.scanner.run.outputs import check_output
from lensweep.scanner.run.paths import RunPaths

# From a run, rows of its catalogue (none for the footprint) and a path to a file or folder there.
Writer = Callable[[Path, pa.Table, Path], None]


@dataclass(frozen=True)
class Kind:
    """One kind of export.

    Attributes
    ----------
    name : str
        Of its file or folder, in the run's folder `export`, unless another is asked for.
    write : Writer
    """

    name: str
    write: Writer


KINDS = {
    "votable": Kind("candidates.vot", table_files.write_votable),
    "fits": Kind("candidates.fits", table_files.write_fits),
    "csv": Kind("candidates.csv", table_files.write_csv),
    "ecsv": Kind("candidates.ecsv", table_files.write_ecsv),
    "ds9": Kind("candidates.reg", table_files.write_ds9),
    "moc": Kind("footprint.moc.fits", write_moc),
    "hats": Kind("hats", write_hats),
    "stamps": Kind("stamps", write_stamps),
    "latex": Kind("candidates.tex", table_files.write_latex),
    "coolest": Kind("coolest", write_coolest),
}


def export(
    root: Path, kind: str, top: int | None = None, where: str | None = None,
    out: Path | None = None,
) -> Path:  # fmt: skip
    """Write a finished run's candidates in another format.

    Parameters
    ----------
    root : Path
        The run's folder.
    kind : str
        One of `KINDS`.
    top : int, optional
        As many of the first candidates, of those that `where` chooses.
    where : str, optional
        An expression of `lensweep.catalogs.selection`.
    out : Path, optional
        File, or folder for kinds that are one; by default in the run's folder ``export``.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    InputError
        If the kind is not known, the run is not finished, nothing is chosen, or it cannot be
        written there: not over an image, or what a run is made of.
    catalogs.selection.SelectionError
        If `where` is no condition on the catalogue's columns.
    """
    if kind not in KINDS:
        raise InputError(f"export to {kind}: none of {', '.join(KINDS)}")
    if kind == "moc" and (top is not None or where is not None):
        raise InputError("export to moc: is the sky that was searched; leave --top and --where out")
    if out is not None:
        _check_ending(out, kind)
    if kind == "moc":
        # Where nothing was found, the searched sky is the result.
        read_facts(root)
        chosen = pa.table({})
    else:
        chosen = choose_candidates(root, top, where)
    path = out or _default(root, KINDS[kind].name)
    check_folder(path.parent)
    if out is not None and Path(KINDS[kind].name).suffix:
        check_output(path)
    try:
        KINDS[kind].write(root, chosen, path)
    except OSError as error:
        raise InputError(
            f"export {path}: cannot be written ({error.strerror or error}); name another with --out"
        ) from error
    return path


def choose_candidates(root: Path, top: int | None, where: str | None) -> pa.Table:
    """Rows of a run's catalogue, by rank, with the parameters of `lensweep model` if it has any.

    Raises
    ------
    InputError
        If the run is not finished, or nothing is chosen.
    """
    if top is not None:
        at_least("top", top, 1)
    read_facts(root)
    with RunPaths(root).candidates.open("rb") as file:
        table = with_models(root, pq.read_table(file).sort_by("rank"))
    if not len(table):
        raise InputError(f"run {root}: has no candidates, so that there is nothing to export")
    chosen = table if where is None else select_rows(table, where)
    if not len(chosen):
        raise InputError(f"where {where!r}: true of none of {len(table):,} candidates")
    return chosen.slice(0, top)


def _check_ending(path: Path, kind: str) -> None:
    """Refuse a name that says that it is of another kind."""
    own = Path(KINDS[kind].name).suffix
    others = {Path(one.name).suffix for one in KINDS.values()} | {".parquet", ".png"}
    if path.suffix.lower() in others - {own, ""}:
        raise InputError(
            f"export {path}: {kind} is {f'a file, *{own}' if own else 'a folder'}, and not "
            f"*{path.suffix}; name another with --out"
        )


def _default(root: Path, name: str) -> Path:
    if is_remote(root):
        raise InputError(f"run {root}: is in an object store; name a file or folder with --out")
    return RunPaths(place(root)).exports / name
