"""All that a page shows of a run, as plain values; pictures of its candidates come one by one."""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lensweep.scanner.inspection.flags import flags_of
from lensweep.scanner.inspection.overview import (
    completeness_of,
    histogram,
    ledger_of,
    plain,
    purity_curve,
    recall_of,
)
from lensweep.scanner.inspection.pictures import Picture, draw_picture
from lensweep.scanner.inspection.sky_map import draw_maps
from lensweep.scanner.inspection.wide_stamps import cut_stamps
from lensweep.scanner.results.finished_run import read_facts
from lensweep.scanner.results.footprint import run_footprint
from lensweep.scanner.run.paths import RunPaths

# What a card says of a candidate where the run's catalogue has it.
SHOWN = (
    "rank", "candidate_id", "ra_deg", "dec_deg", "p_lens", "p_mean", "p_std", "logit_mean",
    "false_per_deg2", "expected_purity", "expected_purity_low", "expected_purity_high", "mosaic",
    "valid_fraction", "n_windows",
)  # fmt: skip
# Positions need more digits than the rest.
_EXACT = ("ra_deg", "dec_deg")


@dataclass(frozen=True)
class Card:
    """One candidate of a page.

    Attributes
    ----------
    row : dict
        What is said of it; ``key`` is its name in grades.
    picture : Picture
    """

    row: dict[str, Any]
    picture: Picture


def read_finished(root: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """The candidates of a finished run by rank, and what its catalogue says of how it was made.

    Raises
    ------
    InputError
        If there is no run, or it is not finished; the message says what is missing.
    """
    facts = read_facts(root)
    with RunPaths(root).candidates.open("rb") as file:
        candidates = pd.read_parquet(file)
    return candidates.sort_values("rank", ignore_index=True), facts


def run_id(facts: dict[str, str]) -> str:
    """Twelve letters that tell a run from another: of what was asked, the ensemble included."""
    asked = json.dumps(json.loads(facts["run"])["asked"], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()[:12]


def describe_run(root: Path, candidates: pd.DataFrame, facts: dict[str, str]) -> dict[str, Any]:
    """What stands above the candidates, scores and known lenses included."""
    asked, matched = json.loads(facts["run"]), float(facts["match_radius_arcsec"])
    provenance = {key: text for key, text in facts.items() if key not in ("run", "versions")}
    provenance |= {"command": asked["command"], "centres": str(asked["asked"]["centres"])}
    provenance |= {f"version of {name}": text for name, text in asked["versions"].items()}
    return {
        "ledger": ledger_of(root),
        "histogram": histogram(candidates["logit_mean"].to_numpy(float)),
        "purity": purity_curve(candidates),
        "recall": recall_of(root, matched),
        "completeness": completeness_of(root),
        "provenance": provenance,
    }


def place_on_maps(
    root: Path, candidates: pd.DataFrame
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Maps of the run's fields, and of each candidate which map it is on, and where."""
    maps, which, place = draw_maps(
        run_footprint(root), candidates["ra_deg"].to_numpy(), candidates["dec_deg"].to_numpy()
    )
    placed = [
        {"map": int(number), "map_x": round(float(x), 4), "map_y": round(float(y), 4)}
        for number, (x, y) in zip(which, place, strict=True)
    ]
    return [asdict(one) for one in maps], placed


def cards(root: Path, candidates: pd.DataFrame) -> Iterator[tuple[int, Card]]:
    """Cards of candidates, mosaic by mosaic, each with its row in the table."""
    # Compressed mosaics are unpacked here, and nowhere in the run.
    with tempfile.TemporaryDirectory() as scratch:
        for stamp in cut_stamps(root, candidates, Path(scratch)):
            row = candidates.iloc[stamp.row]
            said = {name: _shown(row, name) for name in SHOWN if name in row.index}
            said |= {"key": row["candidate_id"], "stamp": stamp.source, "known": known_matches(row)}
            said["flags"] = flags_of(stamp.flux, float(row["valid_fraction"]))
            yield stamp.row, Card(said, draw_picture(stamp.flux))


def known_matches(row: "pd.Series[Any]") -> list[dict[str, Any]]:
    """Known lenses that a candidate is, nearest catalogue entry each: name, grade, separation."""
    found = []
    if not pd.isna(row["castles_name"]):
        found.append({"name": f"CASTLES {row['castles_name']}", "grade": None,
                      "separation_arcsec": plain(row["castles_separation_arcsec"])})  # fmt: skip
    if not pd.isna(row["lensflow_id"]):
        grade = row["lensflow_grade"]
        grade = grade if not pd.isna(grade) else row["lensflow_confidence"]
        found.append({"name": f"LensFlow {int(row['lensflow_id'])}", "grade": plain(grade),
                      "separation_arcsec": plain(row["lensflow_separation_arcsec"])})  # fmt: skip
    return found


def _shown(row: "pd.Series[Any]", name: str) -> Any:
    return round(float(row[name]), 7) if name in _EXACT else plain(row[name])
