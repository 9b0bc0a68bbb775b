"""What is damaged in a run's folder is found, and not marked as done any more.

Checked in full is what is small or read anyway: records, windows, the scores of every shard, and
cutouts before they are scored. Of cutouts that are scored already only the lengths are compared.
"""

from collections.abc import Mapping
from pathlib import Path

from lensweep.ground.files import file_lengths
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.records import DamagedError, read_record
from lensweep.scanner.run.shards import Sharded


def unmark_damaged(paths: RunPaths, plan: Sharded) -> list[int]:
    """Take the markers from shards whose files are not as long as they say, or gone.

    Returns
    -------
    list of int
        The shards, which are to be done again.
    """
    mosaic, found = plan.name, []
    if not paths.markers(mosaic).is_dir():
        return []
    cutouts, scores = (file_lengths(store(mosaic)) for store in (paths.cutouts, paths.scores))
    for shard in range(plan.n_shards):
        cut, score = paths.cut_marker(mosaic, shard), paths.score_marker(mosaic, shard)
        if not _holds(cut, cutouts):
            found.append(shard)
            cut.unlink(missing_ok=True)
            score.unlink(missing_ok=True)
        elif not _holds(score, scores):
            found.append(shard)
            score.unlink(missing_ok=True)
    return found


def _holds(marker: Path, lengths: Mapping[str, int]) -> bool:
    """Whether a marker, if there is one, is whole and its files are as long as it says."""
    if not marker.is_file():
        return True
    try:
        files = read_record(marker).get("files", {})
    except DamagedError:
        return False
    return all(lengths.get(name) == length for name, (length, _) in files.items())
