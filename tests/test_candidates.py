import re

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord

from lensweep.catalogs.candidates import (
    DETECTION_COLUMNS,
    CandidateError,
    build_candidates,
    candidate_ids,
    merge_overlaps,
)
from lensweep.catalogs.crossmatch import MatchError
from lensweep.catalogs.known_lenses import castles
from lensweep.catalogs.schemas import CANDIDATES
from lensweep.catalogs.tables import TableError, write_parquet

ARCSEC = 1.0 / 3600.0


def detections(ra_deg, dec_deg, logit_mean, **columns):
    """Detections with every column; those not given are constant or counted."""
    n = len(ra_deg)
    values = {
        "ra_deg": np.asarray(ra_deg, float),
        "dec_deg": np.asarray(dec_deg, float),
        "p_mean": np.full(n, 0.5, np.float32),
        "p_std": np.full(n, 0.125, np.float32),
        "logit_mean": np.asarray(logit_mean, np.float32),
        "n_members": np.full(n, 7),
        "valid_fraction": np.ones(n, np.float32),
        "mosaic": ["m"] * n,
        "x_pix": np.arange(n) + 49.5,
        "y_pix": np.arange(n) + 49.5,
        "window": np.arange(n),
    }
    return pd.DataFrame(values | columns)


def test_the_best_of_a_group_is_kept():
    dec = 2.0 + np.array([0.0, 1.0, 10.0, 2.0]) * ARCSEC
    keep, group = merge_overlaps([150.0] * 4, dec, [0.1, 0.9, 0.5, 0.2], 1.5)
    assert keep.tolist() == [1, 2]
    assert group.tolist() == [0, 0, 1, 0]


def test_an_absorbed_detection_absorbs_nothing():
    # A chain at 0, 2, 4 arcsec: the middle one is gone, so the last one stays.
    dec = 2.0 + np.array([0.0, 2.0, 4.0]) * ARCSEC
    keep, group = merge_overlaps([150.0] * 3, dec, [3.0, 2.0, 1.0], 2.5)
    assert keep.tolist() == [0, 2]
    assert group.tolist() == [0, 0, 1]


def test_the_better_of_two_kept_absorbs_what_lies_between():
    dec = 2.0 + np.array([0.0, 1.9, 3.0]) * ARCSEC
    keep, group = merge_overlaps([150.0] * 3, dec, [3.0, 1.0, 2.0], 2.5)
    assert keep.tolist() == [0, 2]
    assert group.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("ra", "dec", "n_kept"),
    [
        ([360.0 - 0.5 * ARCSEC, 0.5 * ARCSEC], [0.0, 0.0], 1),  # across RA 0
        ([0.0, 180.0], [90.0 - 0.5 * ARCSEC] * 2, 1),  # across the pole
        ([10.0, 10.0 + 2.0 * ARCSEC], [60.0, 60.0], 1),  # 1 arcsec on the sky
        ([10.0, 10.0 + 2.0 * ARCSEC], [0.0, 0.0], 2),
    ],
)
def test_merging_is_on_the_sphere(ra, dec, n_kept):
    assert len(merge_overlaps(ra, dec, [1.0, 2.0], 1.5)[0]) == n_kept


def test_equal_scores_go_by_index():
    keep, group = merge_overlaps([150.0] * 3, [2.0] * 3, [1.0] * 3, 1.0)
    assert keep.tolist() == [0]
    assert group.tolist() == [0, 0, 0]


def test_merging_equals_the_direct_method():
    rng = np.random.default_rng(11)
    n = 400
    ra, dec = 149.5 + rng.uniform(0, 0.01, n), 2.0 + rng.uniform(0, 0.01, n)
    score = rng.integers(0, 40, n).astype(float)  # many ties
    score[:2] = [np.inf, -np.inf]  # saturated logits
    keep, group = merge_overlaps(ra, dec, score, 2.4)

    sky = SkyCoord(ra, dec, unit="deg")
    near = sky[:, None].separation(sky[None, :]).arcsec <= 2.4
    expected_keep, expected_group = [], np.full(n, -1)
    for i in sorted(range(n), key=lambda i: (-score[i], i)):
        if expected_group[i] < 0:
            expected_group[near[i] & (expected_group < 0)] = len(expected_keep)
            expected_keep.append(i)
    assert 20 < len(expected_keep) < n
    assert keep.tolist() == expected_keep
    assert group.tolist() == expected_group.tolist()


def test_merging_nothing():
    keep, group = merge_overlaps([], [], [], 1.0)
    assert keep.shape == group.shape == (0,)
    assert keep.dtype == group.dtype == np.int64


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([1.0], [1.0], [np.nan], 1.0), CandidateError, "row 0 .* score nan"),
        (([1.0], [1.0], [1.0, 2.0], 1.0), CandidateError, r"1 positions, scores \(2,\)"),
        (([1.0], [1.0], [1.0], 0.0), MatchError, "radius 0.0 arcsec"),
        (([np.nan], [1.0], [1.0], 1.0), TableError, "detections: row 0"),
    ],
)
def test_unusable_detections_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        merge_overlaps(*arguments)


@pytest.mark.parametrize(
    ("ra", "dec", "name"),
    [
        (0.0, 0.0, "LSWP J000000.00+000000.0"),
        (150.119166666666667, 2.201666666666667, "LSWP J100028.60+021206.0"),  # exactly 28.60s, 06"
        (15.0 * (10 + 59.999 / 3600), 1.0, "LSWP J100059.99+010000.0"),  # not 60.00 s
        (0.0, 1 + 59.999 / 3600, "LSWP J000000.00+010059.9"),  # not 60.0 arcsec
        (0.0, 59.99999 / 60, "LSWP J000000.00+005959.9"),  # not 1 degree
        (359.9999999, 0.0, "LSWP J235959.99+000000.0"),
        (np.nextafter(360.0, 0.0), 0.0, "LSWP J235959.99+000000.0"),  # the last float below 24h
        (360.0, 0.0, "LSWP J000000.00+000000.0"),  # wrapped
        (-1e-17, 0.0, "LSWP J000000.00+000000.0"),  # whose modulus is 360.0
        (-1.0, 0.0, "LSWP J235600.00+000000.0"),
        (10.0, -0.5, "LSWP J004000.00-003000.0"),  # the sign of -0 degrees
        (10.0, -0.000001, "LSWP J004000.00-000000.0"),
        (10.0, -12.999999, "LSWP J004000.00-125959.9"),  # truncated towards zero
        (10.0, 90.0, "LSWP J004000.00+900000.0"),
        (10.0, -90.0, "LSWP J004000.00-900000.0"),
    ],
)
def test_candidate_ids_are_truncated(ra, dec, name):
    assert candidate_ids([ra], [dec]) == [name]


def test_candidate_ids_of_decimal_positions_are_the_sexagesimal_text():
    # 59 s and tenths written in degrees must come back as written, not one step short.
    steps = np.arange(0, 8_640_000, 977)
    names = candidate_ids(steps / 24_000, np.zeros(len(steps)))
    seconds = [steps // 100 // 3600, steps // 100 // 60 % 60, steps // 100 % 60, steps % 100]
    text = [
        f"LSWP J{h:02d}{m:02d}{s:02d}.{c:02d}+000000.0" for h, m, s, c in zip(*seconds, strict=True)
    ]
    assert names == text


def test_shared_ids_get_letters_in_order():
    step = 0.1 * ARCSEC
    names = candidate_ids([10.0, 20.0, 10.0, 10.0], [0.0, 0.0, 0.2 * step, 0.4 * step])
    assert names == [
        "LSWP J004000.00+000000.0a",
        "LSWP J012000.00+000000.0",
        "LSWP J004000.00+000000.0b",
        "LSWP J004000.00+000000.0c",
    ]
    assert candidate_ids([1.0] * 26, [0.0] * 26)[-1].endswith("z")
    with pytest.raises(CandidateError, match="27 candidates would be called"):
        candidate_ids([1.0] * 27, [0.0] * 27)


def test_build_candidates_ranks_merges_names_and_matches():
    lens = castles().iloc[0]
    ra = [150.0, lens["ra_deg"], 150.0, lens["ra_deg"]]
    dec = [2.0, lens["dec_deg"] + ARCSEC, 2.0 + ARCSEC, lens["dec_deg"]]
    table = build_candidates(
        detections(ra, dec, [1.0, 5.0, 2.0, 4.0], mosaic=["a", "a", "b", "b"]), 2.4, 3.0, None
    )
    assert table.schema.equals(CANDIDATES, check_metadata=True)
    table.validate(full=True)
    rows = table.to_pandas()
    assert rows["rank"].tolist() == [1, 2]
    assert rows["window"].tolist() == [1, 2]  # the best window of each group
    assert rows["x_pix"].tolist() == [50.5, 51.5]
    assert rows["mosaic"].tolist() == ["a", "b"]  # groups reach across mosaics
    assert rows["n_windows"].tolist() == [2, 2]
    assert rows["logit_mean"].tolist() == [5.0, 2.0]
    assert rows["candidate_id"][1] == "LSWP J100000.00+020001.0"
    assert table["castles_name"].to_pylist() == [lens["name"], None]
    separations = table["castles_separation_arcsec"].to_pylist()
    assert separations == [pytest.approx(1.0, abs=1e-6), None]
    assert table["lensflow_id"].to_pylist() == [None, None]


def test_ties_go_by_mosaic_and_then_by_window():
    ra = [10.0, 20.0, 30.0, 40.0]
    table = build_candidates(
        detections(ra, [0.0] * 4, [1.0] * 4, mosaic=["b", "a", "b", "a"], window=[3, 9, 2, 4]),
        2.4, 3.0, None,
    )  # fmt: skip
    assert table["ra_deg"].to_pylist() == [40.0, 20.0, 30.0, 10.0]


def test_the_result_does_not_depend_on_the_order_of_the_input():
    rng = np.random.default_rng(3)
    n = 200
    frame = detections(
        150 + rng.uniform(0, 0.005, n), 2 + rng.uniform(0, 0.005, n), rng.integers(0, 9, n)
    )
    shuffled = frame.sample(frac=1.0, random_state=5)
    expected = build_candidates(frame, 2.4, 3.0, None)
    assert 1 < expected.num_rows < n
    assert build_candidates(shuffled, 2.4, 3.0, None).equals(expected)
    assert sum(expected["n_windows"].to_pylist()) == n


def test_limit_cuts_the_list_and_changes_nothing_else():
    # 0.02 arcsec apart: both have the same name, so the first has a letter even when alone.
    frame = detections([10.0, 10.0, 20.0], [0.0, 0.02 * ARCSEC, 0.0], [3.0, 2.0, 1.0])
    everything = build_candidates(frame, 0.01, 3.0, None)
    assert everything.num_rows == 3
    assert build_candidates(frame, 0.01, 3.0, 1).equals(everything.slice(0, 1))
    assert build_candidates(frame, 0.01, 3.0, 99).equals(everything)


def test_ra_is_stored_below_360():
    table = build_candidates(detections([360.0, -1.0], [0.0, 0.0], [2.0, 1.0]), 1.0, 1.0, None)
    assert table["ra_deg"].to_pylist() == [0.0, 359.0]


def test_no_detections_give_an_empty_table():
    table = build_candidates(detections([], [], []), 2.4, 3.0, None)
    assert table.num_rows == 0
    assert table.schema.equals(CANDIDATES, check_metadata=True)


def test_the_table_survives_parquet(tmp_path):
    table = build_candidates(detections([10.0, 20.0], [0.0, 0.0], [2.0, 1.0]), 1.0, 1.0, None)
    write_parquet(table, tmp_path / "candidates.parquet")
    written = pq.read_table(tmp_path / "candidates.parquet")
    assert written.equals(table)
    assert [one.metadata for one in written.schema] == [one.metadata for one in table.schema]
    # More is added, for tools that read VOParquet.
    assert (table.schema.metadata or {}).items() <= written.schema.metadata.items()


@pytest.mark.parametrize("name", DETECTION_COLUMNS)
def test_a_missing_column_is_named(name):
    frame = detections([10.0], [0.0], [1.0]).drop(columns=name)
    with pytest.raises(CandidateError, match=re.escape(f"lack the columns {name};")):
        build_candidates(frame, 1.0, 1.0, None)


@pytest.mark.parametrize("name", ["p_mean", "logit_mean", "mosaic"])
def test_a_missing_value_is_named(name):
    frame = detections([10.0, 20.0], [0.0, 0.0], [1.0, 2.0])
    frame.loc[1, name] = None
    with pytest.raises(CandidateError, match=f"column {name} has no value in row 1"):
        build_candidates(frame, 1.0, 1.0, None)


@pytest.mark.parametrize(
    ("radii_and_limit", "error", "message"),
    [
        ((0.0, 1.0, None), MatchError, "radius 0.0"),
        ((1.0, -1.0, None), MatchError, "radius -1.0"),
        ((1.0, 1.0, 0), CandidateError, "limit 0"),
    ],
)
def test_unusable_settings_are_refused_even_without_detections(radii_and_limit, error, message):
    with pytest.raises(error, match=message):
        build_candidates(detections([], [], []), *radii_and_limit)
