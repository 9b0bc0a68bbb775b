"""Which products of one piece of sky to take: the deepest first, then the newest calibration.

Depth is the exposure time of a typical point. A single visit's and an HLSP's is what the archive
states. Mosaics and skycells state the sum over all exposures that touch them; spread over their
footprint, each exposure covers one field of the camera, so a typical point has

    sum x field / footprint, and not more than the sum.
"""

import dataclasses
import math
from collections.abc import Sequence

from mocpy import MOC

from lensweep.catalogs.coverage import area_deg2, joined
from lensweep.scanner.archive.names import HAP_MVM, HAP_SVM, HLA, HLSP
from lensweep.scanner.archive.products import Product

# Square degrees: ACS/WFC 202 x 202 arcsec, WFC3/UVIS 162 x 162, WFPC2 4.8 square arcmin
# (instrument handbooks).
FIELD_DEG2 = {"ACS/WFC": 0.00315, "WFC3/UVIS": 0.00203, "WFPC2": 0.00133, "WFPC2/PC": 0.0001}
# Depths that differ by less are one depth: exposure times of one programme vary by seconds.
_SAME_DEPTH = 1.1
# How new the calibration behind a collection is: HAP is made anew whenever it improves, HLA was
# last made in 2017, and HLSP whenever their teams did it.
_NEWNESS = {HAP_SVM: 3, HAP_MVM: 3, HLSP: 2, HLA: 1}
# A product is taken for what it adds: less than this share of it, or of what is asked, is a sliver.
_LEAST_SHARE = 0.05


def depth_s(product: Product, footprint: MOC) -> float:
    """Exposure time of a typical point of a product, seconds; NaN if the archive states none."""
    summed = product.collection == HAP_MVM or (
        product.collection == HLA and product.level == "mosaic"
    )
    field = FIELD_DEG2.get(product.camera)
    if not summed or field is None:
        return product.exposure_s
    return product.exposure_s * min(1.0, field / area_deg2(footprint))


def choose(
    products: Sequence[Product], footprints: dict[str, MOC], asked: MOC, everything: bool
) -> list[Product]:
    """Rank products, and leave out those whose sky better ones have.

    Parameters
    ----------
    products : sequence of Product
    footprints : dict of str to MOC
        By the product's name.
    asked : MOC
    everything : bool
        Leave none out.

    Returns
    -------
    list of Product
        The best first; `rank` is one more than the number of better ones that hold most of a
        product's part of what was asked.
    """
    wanted = {one.name: footprints[one.name].intersection(asked) for one in products}
    ordered = sorted(products, key=lambda one: _worth(one, area_deg2(wanted[one.name])))
    taken = joined([])
    chosen = []
    for place, product in enumerate(ordered):
        part = wanted[product.name]
        adds = area_deg2(part.difference(taken))
        taken = taken.union(part)
        if everything or adds > _LEAST_SHARE * area_deg2(part):
            better = [wanted[other.name] for other in ordered[:place]]
            rank = 1 + sum(_holds_most(other, part) for other in better)
            chosen.append(dataclasses.replace(product, rank=rank))
    return chosen


def _worth(product: Product, area: float) -> tuple[object, ...]:
    """What sorts the best first; among equals what has more of the sky, so that few are taken."""
    depth = product.depth_s
    steps = round(math.log(depth) / math.log(_SAME_DEPTH)) if depth > 0.0 else -(10**6)
    corrected = product.name.lower().split(".")[0].endswith("_drc")
    return (
        -steps, -_NEWNESS.get(product.collection, 0), not corrected, -round(area, 4),
        _descending(product.calibration), product.name,
    )  # fmt: skip


def _descending(text: str) -> tuple[int, ...]:
    return tuple(-ord(letter) for letter in text)


def _holds_most(other: MOC, part: MOC) -> bool:
    return area_deg2(other.intersection(part)) > 0.5 * area_deg2(part)
