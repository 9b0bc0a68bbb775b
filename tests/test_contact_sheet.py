import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from lensweep.scanner.results.contact_sheet import (
    INVALID_RGB,
    KNOWN,
    MARKED,
    draw_contact_sheet,
    stretch_for_display,
)


def candidates(n, castles=None, lensflow=None):
    table = pd.DataFrame(
        {
            "rank": np.arange(1, n + 1),
            "candidate_id": [f"LSWP J1000{number:02d}.17+021301.4" for number in range(n)],
            "p_mean": np.linspace(0.99, 0.5, n, dtype=np.float32),
            "p_lens": np.linspace(0.1, 1e-5, n),
            "castles_name": pd.Series([None] * n, dtype=object),
            "lensflow_id": pd.array([None] * n, dtype="Int16"),
        }
    )
    for row, name in (castles or {}).items():
        table.loc[row, "castles_name"] = name
    for row, number in (lensflow or {}).items():
        table.loc[row, "lensflow_id"] = number
    return table


def noise(n):
    return np.random.default_rng(0).normal(0.0, 0.01, (n, 100, 100)).astype(np.float32)


def share_of(image, colour):
    """Number of pixels of one colour."""
    return int((np.abs(image[..., :3] - to_rgb(colour)).max(axis=-1) < 0.01).sum())


@pytest.mark.parametrize(
    ("n", "limit", "n_rows"),
    [
        (0, 48, 1),  # a page that says so
        (3, 48, 1),
        (8, 48, 1),
        (9, 48, 2),
        (20, 10, 2),  # cut by the limit
    ],
)
def test_page_grows_by_rows(tmp_path, n, limit, n_rows):
    path = tmp_path / "candidates.png"
    draw_contact_sheet(path, candidates(n), noise(n), limit=limit)
    height, width, _ = imread(path).shape
    assert 1500 <= width <= 1700
    assert height == pytest.approx(86 + 254 * n_rows, abs=2)
    assert [file.name for file in tmp_path.iterdir()] == ["candidates.png"]


@pytest.mark.parametrize(
    ("castles", "lensflow", "marks", "known", "marked"),
    [
        ({}, {}, None, False, False),
        ({1: "Q0142-100"}, {}, None, True, False),
        ({}, {0: 17}, None, True, False),
        ({}, {}, [None, "planted"], False, True),
        ({0: "B1422+231"}, {}, [None, "planted"], True, True),
    ],
)
def test_known_and_marked_stand_out(tmp_path, castles, lensflow, marks, known, marked):
    path = tmp_path / "candidates.png"
    draw_contact_sheet(path, candidates(2, castles, lensflow), noise(2), marks)
    image = imread(path)
    assert (share_of(image, KNOWN) > 300) == known
    assert (share_of(image, MARKED) > 300) == marked


def test_no_data_has_a_colour_of_its_own(tmp_path):
    flux = noise(2)
    flux[0, :, :50] = np.nan
    flux[1] = np.nan
    pictures = stretch_for_display(flux)
    assert pictures.shape == (2, 100, 100, 3)
    np.testing.assert_allclose(pictures[0, :, :50], np.broadcast_to(INVALID_RGB, (100, 50, 3)))
    np.testing.assert_allclose(pictures[1], np.broadcast_to(INVALID_RGB, (100, 100, 3)))
    assert np.ptp(pictures[0, :, 50:], axis=-1).max() == 0.0
    draw_contact_sheet(tmp_path / "candidates.png", candidates(2), flux)
    # One stamp and a half, but for their edges.
    assert share_of(imread(tmp_path / "candidates.png"), INVALID_RGB) > 1.3 * 180**2


@pytest.mark.parametrize("factor", [1.0, 2028.0])
def test_stretch_is_monotonic_and_free_of_units(factor):
    flux = noise(1)
    flux[0, 50, :] += np.linspace(0.0, 5.0, 100)
    pictures = stretch_for_display(flux * np.float32(factor))
    assert pictures.min() >= 0.0
    assert pictures.max() <= 1.0
    row = pictures[0, 50, :, 0]
    assert (np.diff(row[20:]) >= 0).all()
    assert row[-1] == 1.0
    # The sky is dark, its noise visible.
    assert 0.05 < np.median(pictures[..., 0]) < 0.4
    np.testing.assert_allclose(pictures, stretch_for_display(flux), atol=1e-4)


@pytest.mark.parametrize(
    ("n_cutouts", "marks", "message"),
    [
        (4, None, "4 cutouts for 5 candidates"),
        (5, ["planted"], "1 marks for 5 candidates"),
    ],
)
def test_too_few_pictures_are_refused(tmp_path, n_cutouts, marks, message):
    with pytest.raises(ValueError, match=message):
        draw_contact_sheet(tmp_path / "candidates.png", candidates(5), noise(n_cutouts), marks)
    assert list(tmp_path.iterdir()) == []


def test_rare_characters_are_drawn_as_they_are(tmp_path):
    run = tmp_path / "run_$1^2$"
    run.mkdir()
    path = run / "candidates.png"
    draw_contact_sheet(path, candidates(1, {0: "HE_0435$-1223"}), noise(1), ["$\\x"])
    assert path.is_file()
