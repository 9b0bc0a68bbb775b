"""The plan of a set of stamps: what they are, and how they are read; kept in a run's folder."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from lensweep.ground.files import make_folder
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.records import read_record, write_record
from lensweep.scanner.run.shards import Sharded
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.scanner.sky.stamp_arrays import StampSet


@dataclass(frozen=True)
class StampPlan(Sharded):
    """What is to be done with one set of stamps: each is a window.

    Attributes
    ----------
    label : str
        What its stores are called.
    stamps : StampSet
    n_windows, windows_per_shard : int
    overrides : HeaderOverrides
    band : str
        Of the ensemble.
    ensemble : str
        For messages.
    flux_scale : float
        Values of an array times this are e-/s.
    """

    label: str
    stamps: StampSet
    n_windows: int
    windows_per_shard: int
    overrides: HeaderOverrides
    band: str
    ensemble: str
    flux_scale: float = 1.0

    @property
    def name(self) -> str:
        """What its stores are called."""
        return self.label


def write_stamp_plan(paths: RunPaths, plan: StampPlan) -> None:
    """Keep a plan in the run's folder."""
    make_folder(paths.plans)
    write_record(paths.plan(plan.name), dataclasses.asdict(plan))


def read_stamp_plan(root: Path, name: str) -> StampPlan:
    """Read a plan back.

    Raises
    ------
    DamagedError
        If it is not what was written.
    """
    values = read_record(RunPaths(root).plan(name))
    stamps = values["stamps"]
    stamps |= {key: tuple(stamps[key]) for key in ("paths", "shape")}
    return StampPlan(
        **values | {
            "stamps": StampSet(**stamps), "overrides": HeaderOverrides(**values["overrides"])
        }
    )  # fmt: skip
