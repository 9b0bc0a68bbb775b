"""What a candidate's score is worth, as columns of the catalogue.

A run's own calibration (`lensweep calibrate`) goes before that of its ensemble. Where there is
neither, the columns are null: a probability that was made up is worse than none.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lensweep.catalogs.schemas import CANDIDATES, FIELD_SCORES, PROVENANCE_PREFIX, with_provenance
from lensweep.catalogs.tables import write_parquet
from lensweep.ground.errors import InputError
from lensweep.scanner.network.bundle_store import FIELDS, Bundle
from lensweep.scanner.network.ensemble import FieldFacts
from lensweep.scanner.results.calibration import (
    LEAST_FALSE,
    LEAST_LENSES,
    Calibration,
    expect,
)
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.run.paths import RunPaths

WORTH = (
    "p_lens", "false_per_deg2", "expected_purity", "expected_purity_low", "expected_purity_high",
    "extrapolated",
)  # fmt: skip
# What decides, besides the ensemble, how lenses and others score; a scan that asks for another
# value is not what was measured.
SETTINGS = ("stride", "screen", "min_valid_fraction", "merge_radius_arcsec")
_FACTS = f"{PROVENANCE_PREFIX}fields"


@dataclass(frozen=True)
class FieldScores:
    """Scores of planted lenses and of false candidates, and where they are from.

    Attributes
    ----------
    table : DataFrame
        Columns of `lensweep.catalogs.schemas.FIELD_SCORES`.
    facts : FieldFacts
    """

    table: pd.DataFrame
    facts: FieldFacts

    def calibration(self, centres: str) -> Calibration:
        """Of windows on a grid, or on sources and listed positions.

        Raises
        ------
        InputError
            If there is too little to tell anything from.
        """
        way = _way(centres)
        rows = self.table[self.table["centres"] == way]
        lens = rows["is_lens"].to_numpy(bool)
        score, weight = (rows[name].to_numpy(np.float64) for name in ("logit_mean", "weight"))
        found = int((np.isfinite(score) & (weight > 0.0))[lens].sum())
        false = int((~lens).sum())
        if found < LEAST_LENSES or false < LEAST_FALSE:
            raise InputError(
                f"calibration of centres = {way}: {found} planted lenses among the candidates and "
                f"{false} false candidates, but it takes {LEAST_LENSES} and {LEAST_FALSE}; plant "
                "more lenses, or scan more fields"
            )
        return Calibration(score[lens], weight[lens], score[~lens], self.facts.area_deg2)


def find_field_scores(bundle: Bundle, paths: RunPaths, centres: str) -> FieldScores | None:
    """Those of a run's own mosaics, else of its ensemble, else none; of windows placed alike."""
    if paths.calibration.is_file():
        return read_field_scores(paths.calibration)
    if bundle.description.fields is None:
        return None
    table = pd.read_parquet(Path(bundle.folder) / FIELDS)
    known = (table["centres"] == _way(centres)).any()
    return FieldScores(table, bundle.description.fields) if known else None


def _way(centres: str) -> str:
    """Listed positions are taken for sources."""
    return "grid" if centres == "grid" else "sources"


def write_field_scores(scores: FieldScores, path: Path) -> None:
    """Keep a run's own, with the facts in the file's metadata."""
    facts = {_FACTS.removeprefix(PROVENANCE_PREFIX): json.dumps(dataclasses.asdict(scores.facts))}
    write_parquet(with_provenance(as_field_scores(scores.table), facts), path)


def read_field_scores(path: Path) -> FieldScores:
    """Read what `write_field_scores` wrote."""
    with path.open("rb") as file:
        table = pq.read_table(file)
    facts = json.loads((table.schema.metadata or {})[_FACTS.encode()])
    return FieldScores(table.to_pandas(), FieldFacts(**facts))


def as_field_scores(table: pd.DataFrame) -> pa.Table:
    """In the columns of `FIELD_SCORES`."""
    rows = table.reindex(columns=FIELD_SCORES.names)
    return pa.Table.from_pandas(rows, schema=FIELD_SCORES, preserve_index=False)


def with_worth(
    candidates: pd.DataFrame, scores: FieldScores | None, centres: str, lens_density: float
) -> pd.DataFrame:
    """Candidates, in the order of their ranks, with the columns `WORTH`.

    Parameters
    ----------
    candidates : DataFrame
        ``logit_mean``; best first.
    scores : FieldScores or None
    centres : str
        As of `ScanConfig`.
    lens_density : float
        Per square degree.
    """
    if scores is None:
        return candidates.assign(**dict.fromkeys(WORTH))
    calibration = scores.calibration(centres)
    score = candidates["logit_mean"].to_numpy(np.float64)
    expected = expect(calibration, score, lens_density)
    ranks = np.arange(1, len(score) + 1)
    return candidates.assign(
        p_lens=calibration.probability(score, lens_density),
        false_per_deg2=calibration.false.above(score),
        expected_purity=expected.lenses / ranks,
        expected_purity_low=expected.low / ranks,
        expected_purity_high=expected.high / ranks,
        extrapolated=calibration.extrapolated(score),
    )


def as_candidates(candidates: pd.DataFrame, schema: pa.Schema = CANDIDATES) -> pa.Table:
    """Candidates as a table of their schema."""
    columns = [pa.array(candidates[f.name], type=f.type, from_pandas=True) for f in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def describe_fields(scores: FieldScores | None) -> dict[str, str]:
    """What a catalogue says of its `p_lens`."""
    made_from = "none: p_lens and what follows from it are null"
    if scores is not None:
        made_from = json.dumps(dataclasses.asdict(scores.facts))
    return {"calibration": made_from}


def asked_of(facts: dict[str, str]) -> dict[str, Any]:
    """What a run was asked, by the names of `ScanConfig`, from the facts of its catalogue."""
    asked: dict[str, Any] = json.loads(facts["run"])["asked"]
    return asked


def departures(facts: dict[str, str], asked: dict[str, Any]) -> list[str]:
    """In what a run was not scanned as the fields were that its calibration is from.

    Parameters
    ----------
    facts : dict
        Of the run's catalogue.
    asked : dict
        Of the run, by the names of `ScanConfig`.
    """
    calibration = facts.get("calibration", "")
    if not calibration.startswith("{"):
        return []
    measured = json.loads(calibration)["made_from"].get("scan", {})
    asked = asked | {"merge_radius_arcsec": float(facts["merge_radius_arcsec"])}
    names = [name for name in SETTINGS if asked["centres"] == "grid" or name != "stride"]
    return [
        f"{name} = {asked[name]}, but {measured[name]} in the fields"
        for name in names if name in measured and asked[name] != measured[name]
    ]  # fmt: skip


def settings_of(config: ScanConfig) -> dict[str, Any]:
    """What a calibration remembers of how its fields were scanned."""
    return {name: getattr(config, name) for name in SETTINGS}
