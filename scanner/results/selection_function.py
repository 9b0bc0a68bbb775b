"""A run's selection function: the chance that it finds a lens, by what the lens is.

A logistic function of a quadratic polynomial in the logarithm of the Einstein radius, the
magnitude of the source without its lens, and that of the lensing galaxy.
"""

import dataclasses
import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from lensweep.ground.errors import InputError

FORMAT = "lensweep-selection"
VERSION = 2
AXES = ("theta_e_arcsec", "source_magnitude", "host_magnitude")


@dataclass(frozen=True)
class SelectionFunction:
    """The share of lensed galaxies that a run finds; call it with what they are.

    Attributes
    ----------
    false_per_deg2 : float
        The depth: candidates so good that a square degree without lenses gives so many.
    domain : dict of str to (float, float)
        Of each of `AXES`: beyond it nothing was planted, and the function refuses.
    means, scales : tuple of float
        Of the axes, the first in its natural logarithm: what they are standardised with.
    likeness : tuple of tuple of float
        Inverse covariance of the standardised axes.
    reach : float
        Mahalanobis distance within which 999 in 1,000 of the planted lenses lie. Beyond it are
        lenses like which none was planted, as the widest about the faintest galaxies, and the
        function refuses.
    coefficients : tuple of float
        Of 1, the three standardised axes, and their products of two in the order of
        `itertools.combinations_with_replacement`.
    n_lenses : int
        That it was fitted to, those too faint to be seen included.
    """

    false_per_deg2: float
    domain: dict[str, tuple[float, float]]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    likeness: tuple[tuple[float, ...], ...]
    reach: float
    coefficients: tuple[float, ...]
    n_lenses: int

    def __call__(
        self, theta_e: ArrayLike, source_mag: ArrayLike, host_mag: ArrayLike
    ) -> NDArray[np.float64]:
        """Share found.

        Parameters
        ----------
        theta_e : array_like
            Einstein radius, arcsec.
        source_mag : array_like
            AB magnitude in F814W of the source without its lens.
        host_mag : array_like
            Of the lensing galaxy.

        Raises
        ------
        InputError
            If any lies beyond the domain, or beyond reach.
        """
        values = [np.asarray(one, np.float64) for one in (theta_e, source_mag, host_mag)]
        for name, value in zip(AXES, values, strict=True):
            low, high = self.domain[name]
            beyond = ~((value >= low) & (value <= high))
            if beyond.any():
                raise InputError(
                    f"selection function: {name} = {value[beyond].flat[0]:g}, but lenses were "
                    f"planted from {low:g} to {high:g}; nothing is known beyond"
                )
        theta, source, host = np.broadcast_arrays(*values)
        terms = features(theta, source, host, self.means, self.scales)
        away = distance(terms[..., 1:4], np.array(self.likeness)) > self.reach
        if away.any():
            told = ", ".join(
                f"{name} = {value[away].flat[0]:g}"
                for name, value in zip(AXES, (theta, source, host), strict=True)
            )
            raise InputError(
                f"selection function: {told}: each was planted, but no lens like all three "
                "together; nothing is known of such"
            )
        return np.asarray(expit(terms @ np.array(self.coefficients)))


def features(
    theta_e: NDArray[np.float64], source_mag: NDArray[np.float64], host_mag: NDArray[np.float64],
    means: tuple[float, ...], scales: tuple[float, ...],
) -> NDArray[np.float64]:  # fmt: skip
    """The terms of the polynomial, shape (..., 10)."""
    axes = np.stack([np.log(theta_e), source_mag, host_mag], axis=-1)
    axes = (axes - np.array(means)) / np.array(scales)
    pairs = itertools.combinations_with_replacement(range(3), 2)
    products = [axes[..., one] * axes[..., other] for one, other in pairs]
    return np.concatenate([np.ones_like(axes[..., :1]), axes, np.stack(products, axis=-1)], axis=-1)


def likeness_of(
    standardised: NDArray[np.float64],
) -> tuple[tuple[tuple[float, ...], ...], float]:
    """Of lenses, shape (n, 3), the inverse covariance, and the distance of all but 1 in 1,000."""
    likeness = np.asarray(np.linalg.inv(np.cov(standardised, rowvar=False)), np.float64)
    reach = np.quantile(distance(standardised, likeness), 0.999)
    return tuple(tuple(row) for row in likeness.tolist()), float(reach)


def distance(
    standardised: NDArray[np.float64], likeness: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mahalanobis distance from the mean, shape (...), of standardised axes, shape (..., 3)."""
    squares = np.einsum("...i,ij,...j", standardised, likeness, standardised)
    return np.asarray(np.sqrt(squares))


def write_selections(functions: list[SelectionFunction], path: Path) -> None:
    """Write the selection functions of a run, one for each depth, as JSON."""
    values = {"format": FORMAT, "version": VERSION,
              "functions": [dataclasses.asdict(one) for one in functions]}  # fmt: skip
    path.write_text(json.dumps(values, indent=1) + "\n")


def read_selection(path: Path, false_per_deg2: float) -> SelectionFunction:
    """Read the selection function of one depth.

    Raises
    ------
    InputError
        If the file is not there, is something else, or has no such depth.
    """
    if not path.is_file():
        raise InputError(
            f"{path}: no selection function there; `lensweep completeness RUN` measures it"
        )
    try:
        values = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path}: no selection function, or a damaged one ({error})") from error
    if (values.get("format"), values.get("version")) != (FORMAT, VERSION):
        raise InputError(f"{path}: format {values.get('format')} {values.get('version')}, but "
                         f"this lensweep reads {FORMAT} {VERSION}")  # fmt: skip
    known = {one["false_per_deg2"]: one for one in values["functions"]}
    if false_per_deg2 not in known:
        depths = ", ".join(f"{depth:g}" for depth in known)
        raise InputError(f"{path}: no depth of {false_per_deg2:g} false candidates per deg², only "
                         f"{depths}")  # fmt: skip
    one = known[false_per_deg2]
    domain = {name: (low, high) for name, (low, high) in one["domain"].items()}
    means, scales, coefficients = (tuple(one[name]) for name in ("means", "scales", "coefficients"))
    likeness = tuple(tuple(row) for row in one["likeness"])
    return SelectionFunction(
        one["false_per_deg2"], domain, means, scales, likeness, one["reach"], coefficients,
        one["n_lenses"],
    )  # fmt: skip
