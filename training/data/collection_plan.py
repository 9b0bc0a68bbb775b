"""What a collection takes: windows of the labels, random ones away from them, and images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from distributed import Client
from numpy.typing import NDArray

from lensweep.catalogs.lens_lists import known_lenses
from lensweep.scanner.sky.cutouts import cut_windows
from lensweep.scanner.sky.grid import ScanGrid, grid_to_sky, on_grid, random_corners, sky_to_grid
from lensweep.scanner.sky.mosaics import Mosaic
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.scanner.sky.pixels import check_pixels
from lensweep.scanner.sky.sources import detect_sources
from lensweep.scanner.sky.windows import centred_windows
from lensweep.scanner.work.dispatch import spread
from lensweep.training.data.image_folder import Image, examine
from lensweep.training.data.places import away_from, group_overlapping, keep_apart
from lensweep.training.data.real_cutouts import MIDDLE_PX, Opened
from lensweep.training.data.requests import CollectConfig

MISSING_COLUMNS = ("source", "source_row", "name", "ra_deg", "dec_deg", "is_lens", "reason")
# Random windows that are looked at for each that is wanted: many overlap, or have no data.
_TRIES, _LEAST_TRIES = 4, 200
_BATCH = 512


def plan_collection(
    config: CollectConfig, opened: Opened, wanted: pd.DataFrame, known: pd.DataFrame,
    images: Sequence[Image], image_overrides: HeaderOverrides, client: Client,
) -> tuple[pd.DataFrame, pd.DataFrame]:  # fmt: skip
    """Decide which cutouts a collection has, and what it cannot have; see `collect`."""
    for mosaic, _ in opened.values():
        check_pixels(mosaic)
    surveys = client.gather([
        client.submit(survey, mosaic, grid, wanted, config, len(opened), pure=False)
        for mosaic, grid in opened.values()
    ])  # fmt: skip
    windows = pd.concat([_empty_plan(), *surveys], ignore_index=True)
    drawn = windows["source_row"] < 0
    placed, enough = windows[~drawn], windows["valid_fraction"] >= config.min_valid_fraction
    random, lacking = _choose_random(config, windows[~drawn & enough], windows[drawn & enough],
                                     known)  # fmt: skip
    plan = pd.concat([windows[~drawn & enough], random], ignore_index=True)
    plan["object_id"] = group_overlapping(*_centres(plan, opened))
    pictures, unread = _images(images, image_overrides, client)
    # Every image is taken for an object of its own.
    n_objects = plan["object_id"].nunique()
    pictures["object_id"] = np.arange(n_objects, n_objects + len(pictures))
    plan = pd.concat([plan, pictures], ignore_index=True)
    missing = [_missing_labels(wanted, placed, config), lacking, unread]
    return _tidy(plan), pd.concat(missing, ignore_index=True)[list(MISSING_COLUMNS)]


def survey(
    mosaic: Mosaic, grid: ScanGrid, wanted: pd.DataFrame, config: CollectConfig, n_mosaics: int
) -> pd.DataFrame:
    """The windows of one mosaic: of all labelled positions on it, and of random ones.

    Returns
    -------
    DataFrame
        ``kind``, ``is_lens``, ``source``, ``source_row`` (-1 for random ones), ``name``,
        ``mosaic``, ``x``, ``y``, ``x0``, ``y0``, ``ra_deg``, ``dec_deg``, ``valid_fraction``.
    """
    rng = np.random.default_rng([config.seed, int(mosaic.sha256[:12], 16)])
    first = wanted[(wanted["repeats"] < 0) & (wanted["weak"] == "")]
    first = first.drop(columns=["repeats", "weak", "grade"])
    x, y = sky_to_grid(grid, first["ra_deg"], first["dec_deg"])
    on = np.flatnonzero(on_grid(grid, x, y))
    tables = [_windows(mosaic, grid, x[on], y[on], first.iloc[on])]
    if config.random_positions:
        corners = random_corners(grid, _n_tries(config.random_positions, n_mosaics), rng)
        x, y = (corners + MIDDLE_PX).T
        tables.append(_windows(mosaic, grid, x, y, _unlabelled(grid, x, y, "random_position")))
    if config.random_sources:
        x, y = detect_sources(mosaic, grid)
        tried = rng.permutation(len(x))[: _n_tries(config.random_sources, n_mosaics)]
        x, y = x[tried], y[tried]
        tables.append(_windows(mosaic, grid, x, y, _unlabelled(grid, x, y, "random_source")))
    return pd.concat(tables, ignore_index=True)


def _n_tries(wanted: int, n_mosaics: int) -> int:
    return max(_LEAST_TRIES, _TRIES * wanted // n_mosaics)


def _windows(
    mosaic: Mosaic, grid: ScanGrid, x: NDArray[np.float64], y: NDArray[np.float64],
    rows: pd.DataFrame,
) -> pd.DataFrame:  # fmt: skip
    """Windows centred on grid positions, with the share of their pixels that has data."""
    corners, order = centred_windows(x, y)
    fraction = np.empty(len(corners), np.float32)
    for begin in range(0, len(corners), _BATCH):
        _, fraction[begin : begin + _BATCH] = cut_windows(
            mosaic, grid, corners[begin : begin + _BATCH]
        )
    return rows.iloc[order].assign(
        mosaic=mosaic.name, x=x[order], y=y[order], x0=corners[:, 0], y0=corners[:, 1],
        valid_fraction=fraction,
    )  # fmt: skip


def _unlabelled(
    grid: ScanGrid, x: NDArray[np.float64], y: NDArray[np.float64], kind: str
) -> pd.DataFrame:
    ra_deg, dec_deg = grid_to_sky(grid, x, y)
    return pd.DataFrame({
        "source": kind, "source_row": -1, "name": "", "ra_deg": ra_deg, "dec_deg": dec_deg,
        "is_lens": False, "kind": kind,
    }, index=np.arange(len(x)))  # fmt: skip


def lenses_to_avoid(config: CollectConfig, wanted: pd.DataFrame) -> pd.DataFrame:
    """Every lens that random windows keep away from: those of lists, and those of labels.

    Parameters
    ----------
    config : CollectConfig
    wanted : DataFrame
        Labels, with ``is_lens``, ``ra_deg``, ``dec_deg``.

    Returns
    -------
    DataFrame
        ``ra_deg``, ``dec_deg``.
    """
    known = known_lenses(config.known)
    return pd.DataFrame({
        "ra_deg": [*known["known_ra_deg"], *wanted.loc[wanted["is_lens"], "ra_deg"]],
        "dec_deg": [*known["known_dec_deg"], *wanted.loc[wanted["is_lens"], "dec_deg"]],
    })  # fmt: skip


def _choose_random(
    config: CollectConfig, labelled: pd.DataFrame, drawn: pd.DataFrame, known: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Random windows, away from lenses, that share no pixel with any other window."""
    far = away_from(drawn["ra_deg"].to_numpy(), drawn["dec_deg"].to_numpy(),
                    known["ra_deg"].to_numpy(), known["dec_deg"].to_numpy(),
                    config.exclusion_radius_arcsec)  # fmt: skip
    drawn = drawn[far].sample(frac=1.0, random_state=config.seed)
    taken, chosen, lacking = labelled, [], []
    # Sources first: there are fewer of them than places.
    wanted = {"random_source": config.random_sources, "random_position": config.random_positions}
    wanted = wanted if config.mosaics else {}
    for kind, n in wanted.items():
        tried = pd.concat([taken, drawn[drawn["kind"] == kind]], ignore_index=True)
        kept = keep_apart(tried["ra_deg"].to_numpy(), tried["dec_deg"].to_numpy(), len(taken))
        chosen.append(tried[kept].iloc[len(taken) :].head(n))
        taken = pd.concat([taken, chosen[-1]], ignore_index=True)
        if len(chosen[-1]) < n:
            lacking.append({
                "source": kind, "is_lens": False, "reason":
                f"{len(chosen[-1])} of {n} could be had: no more windows with data that share no "
                f"pixel and lie {config.exclusion_radius_arcsec:g} arcsec from every known lens",
            })  # fmt: skip
    lack = pd.DataFrame(lacking, columns=list(MISSING_COLUMNS))
    return pd.concat([drawn.iloc[:0], *chosen]), lack


def _missing_labels(
    wanted: pd.DataFrame, placed: pd.DataFrame, config: CollectConfig
) -> pd.DataFrame:
    best = placed.groupby(["source", "source_row"])["valid_fraction"].max()
    reasons = []
    for row in wanted.itertuples():
        fraction = best.get((row.source, row.source_row))
        if row.weak:
            reasons.append(row.weak)
        elif row.repeats >= 0:
            same = wanted.iloc[row.repeats]
            reasons.append(f"the same object as {same['source']} row {same['source_row']}")
        elif fraction is None:
            reasons.append("outside every mosaic")
        elif fraction < config.min_valid_fraction:
            reasons.append(
                f"at most {fraction:.0%} of its window has data, not "
                f"{config.min_valid_fraction:.0%}"
            )
        else:
            reasons.append("")
    missing = wanted.assign(reason=pd.Series(reasons, index=wanted.index, dtype="str"))
    return missing[missing["reason"] != ""][list(MISSING_COLUMNS)]


def _images(
    images: Sequence[Image], overrides: HeaderOverrides, client: Client
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of the images that can be read, and of those that cannot."""
    paths = [image.path for image in images]
    batches = [tuple(paths[start : start + _BATCH]) for start in range(0, len(paths), _BATCH)]
    examined = dict(spread(client, examine, batches, overrides=overrides))
    reasons = [reason for batch in batches for reason in examined[batch]]
    is_lens = np.array([image.is_lens for image in images], np.bool_)
    table = pd.DataFrame({
        "source": "images", "source_row": np.arange(len(images)),
        "name": [Path(path).stem for path in paths], "is_lens": is_lens, "image": paths,
        "kind": np.where(is_lens, "image_lens", "image_nonlens"), "reason": reasons,
        "x0": 0, "y0": 0, "x": MIDDLE_PX, "y": MIDDLE_PX, "ra_deg": np.nan, "dec_deg": np.nan,
    }, index=np.arange(len(images)))  # fmt: skip
    readable = table["reason"] == ""
    return table[readable].drop(columns="reason"), table[~readable][list(MISSING_COLUMNS)]


def _centres(plan: pd.DataFrame, opened: Opened) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres of the rows' windows, ICRS degrees."""
    centres = np.empty((2, len(plan)))
    for name, members in plan.groupby("mosaic", sort=False).indices.items():
        corners = plan[["x0", "y0"]].to_numpy(np.float64)[members]
        centres[:, members] = grid_to_sky(opened[str(name)][1], *(corners + MIDDLE_PX).T)
    return centres[0], centres[1]


def _empty_plan() -> pd.DataFrame:
    """No rows, with the types of those of `survey`."""
    text = dict.fromkeys(("kind", "source", "name", "mosaic"), "str")
    numbers = dict.fromkeys(("x", "y", "ra_deg", "dec_deg"), "float64")
    types = text | numbers | {"is_lens": "bool", "source_row": "int64", "x0": "int32",
                              "y0": "int32", "valid_fraction": "float32"}  # fmt: skip
    return pd.DataFrame(columns=list(types)).astype(types)


def _tidy(plan: pd.DataFrame) -> pd.DataFrame:
    """The plan's columns, in an order in which neighbours are read together."""
    plan = plan.sort_values(["mosaic", "y0", "x0"], kind="stable", ignore_index=True)
    plan["x_px"], plan["y_px"] = plan["x"] - plan["x0"], plan["y"] - plan["y0"]
    if "image" not in plan:
        plan["image"] = None
    plan["image"] = plan["image"].astype("str")
    columns = ["kind", "is_lens", "object_id", "source", "source_row", "name", "mosaic", "x0",
               "y0", "ra_deg", "dec_deg", "x_px", "y_px", "image"]  # fmt: skip
    types = {"x0": "int32", "y0": "int32", "object_id": "int64", "is_lens": "bool"}
    return plan[columns].astype(types)
