"""What one scan is asked to do, checked once."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lensweep.ground.errors import InputError
from lensweep.ground.files import is_remote
from lensweep.ground.settings import check_types, one_of, read_toml, within
from lensweep.scanner.sky.names import mosaic_name, printable
from lensweep.scanner.sky.windows import CUTOUT_SIZE

# What a field decides, in its metadata. Most decide pixels and scores, of which a run's folder
# holds one kind only; those of other metadata do not.
DECIDES = "decides"
RANKING = {DECIDES: "ranking"}  # which of the scored windows are candidates, and in what order
NOTHING = {DECIDES: "nothing"}  # where and how the work is done


@dataclass(frozen=True)
class ScanConfig:
    """One scan; a TOML file has the same keys.

    Attributes
    ----------
    mosaics : tuple of str
        FITS files, or their addresses (http, https, s3).
    out : str
        The run's folder.
    mirror : str or None
        Folder that files at addresses are fetched into first. Without it they are read by section
        where that takes less, and else fetched into the run's folder for as long as it takes.
    ensemble : str
        Name of a shipped ensemble, or a bundle's folder.
    centres : str
        `grid`, `sources`, or a table of positions (CSV, FITS, VOTable, Parquet).
    stride : int
        Pixels between the windows of a grid.
    min_valid_fraction : float
        Windows with less valid area are masked.
    min_logit : float or None
        Mean logit below which a window is not a detection; by default where three tenths of the
        simulated non-lenses pass.
    prior : float or None
        Lenses per window; by default 1.9e-5 for a grid (10 lenses per square degree, each in the
        four windows of stride 50 that hold it) and 7e-5 for sources (20 secure lenses among the
        285,423 sources brighter than I = 25 in COSMOS: Faure et al. 2008, Jackson 2008).
    merge_radius_arcsec, match_radius_arcsec : float
        For overlapping detections, and for known lenses.
    screen : str
        `off`: every window is scored. `on`: blank ones, and those that the ensemble's screen finds
        hopeless, are not. `auto`: likewise, but by a screen that is on by default only.
    precision : str
        `full`: float32. `auto`: what a worker is faster in, where the ensemble's own check has
        shown that the ranks stay.
    cluster : str
        `local`, `cuda`, `slurm`, `kubernetes`, a TOML file of
        `lensweep.deploy.config.ClusterConfig`, or the address or file of a Dask scheduler.
    workers : int or None
        Processes of a local cluster; by default one per core.
    tls : bool
        Encrypt what the cluster's processes say to each other.
    shard_timeout_s : float
        A worker that is at one shard for longer hangs, and is started again. The default is forty
        times what 512 windows take on one core.
    storage_wait_s : float
        How long a full disk is waited for.
    band, pixel_scale_arcsec, units : optional
        For mosaics whose headers do not say.
    windows_per_shard : int
        What one task does and one file holds. 512 are 20 MB of pixels: small enough to lose, large
        enough that a task's overhead does not count.
    rerank : bool
        Replace the catalogue of a finished run that was ranked in another way.
    """

    mosaics: tuple[str, ...]
    out: str = field(metadata=NOTHING)
    ensemble: str = field(default="xception-7fold", metadata=NOTHING)
    centres: str = "grid"
    stride: int = 50
    min_valid_fraction: float = 0.5
    min_logit: float | None = field(default=None, metadata=RANKING)
    prior: float | None = field(default=None, metadata=RANKING)
    merge_radius_arcsec: float = field(default=2.5, metadata=RANKING)
    match_radius_arcsec: float = field(default=3.0, metadata=RANKING)
    screen: str = "auto"
    precision: str = "auto"
    cluster: str = field(default="local", metadata=NOTHING)
    workers: int | None = field(default=None, metadata=NOTHING)
    tls: bool = field(default=False, metadata=NOTHING)
    shard_timeout_s: float = field(default=1800.0, metadata=NOTHING)
    storage_wait_s: float = field(default=600.0, metadata=NOTHING)
    band: str | None = None
    pixel_scale_arcsec: float | None = None
    units: str | None = None
    mirror: str | None = field(default=None, metadata=NOTHING)
    windows_per_shard: int = 512
    rerank: bool = field(default=False, metadata=NOTHING)

    def __post_init__(self) -> None:
        if not self.mosaics:
            raise InputError("no mosaics: name at least one FITS file")
        check_types(self)
        within("stride", self.stride, 1, CUTOUT_SIZE)
        within("min_valid_fraction", self.min_valid_fraction, 0.0, 1.0)
        within("merge_radius_arcsec", self.merge_radius_arcsec, 0.01, 60.0)
        within("match_radius_arcsec", self.match_radius_arcsec, 0.01, 60.0)
        within("windows_per_shard", self.windows_per_shard, 1, 65536)
        within("shard_timeout_s", self.shard_timeout_s, 1.0, 1e6)
        within("storage_wait_s", self.storage_wait_s, 0.0, 1e6)
        if self.prior is not None and not 0.0 < self.prior < 1.0:
            raise InputError(f"prior = {self.prior}: must lie between 0 and 1")
        if self.workers is not None:
            within("workers", self.workers, 1, 4096)
        one_of("screen", self.screen, ("auto", "on", "off"))
        one_of("precision", self.precision, ("auto", "full"))
        self._check_paths()
        if self.centres not in ("grid", "sources") and not is_file(self.centres):
            raise InputError(
                f"centres = {self.centres}: neither grid, sources, nor a file that is there"
            )
        self._refuse_name_twice()

    @property
    def lenses_per_window(self) -> float:
        """The prior in force."""
        if self.prior is not None:
            return self.prior
        return 1.9e-5 if self.centres == "grid" else 7e-5

    def absolute(self) -> "ScanConfig":
        """The same scan with paths that mean the same wherever a worker runs."""
        centres = self.centres
        if centres not in ("grid", "sources"):
            centres = str(Path(centres).absolute())
        mosaics = tuple(_absolute(path) for path in self.mosaics)
        mirror = None if self.mirror is None else str(Path(self.mirror).absolute())
        return dataclasses.replace(self, mosaics=mosaics, centres=centres, mirror=mirror)

    def _check_paths(self) -> None:
        for name in ("out", "ensemble", "centres"):
            path = getattr(self, name)
            if printable(path) != path:
                raise InputError(
                    f"{name} = {printable(path)}: has bytes that are no UTF-8 text; rename it"
                )
        for path in (self.out, self.ensemble, self.centres, *self.mosaics):
            if "\0" in path:
                raise InputError(f"{path!r}: no path holds a zero byte")

    def _refuse_name_twice(self) -> None:
        seen: dict[str, str] = {}
        for path in self.mosaics:
            name = mosaic_name(path)
            if name in seen:
                raise InputError(
                    f"mosaics {printable(seen[name])} and {printable(path)}: one name, {name}, for "
                    "two; rename one, or scan them into two folders"
                )
            seen[name] = path


def _absolute(path: str) -> str:
    return path if is_remote(path) else str(Path(path).absolute())


def fields_that_decide(what: str) -> tuple[str, ...]:
    """Names of the fields of a config that decide `scores`, `ranking` or `nothing`."""
    fields = dataclasses.fields(ScanConfig)
    return tuple(one.name for one in fields if one.metadata.get(DECIDES, "scores") == what)


def option_of(name: str) -> str:
    """The option of the command line that sets a field."""
    return "--" + name.removesuffix("_arcsec").removesuffix("_s").replace("_", "-")


def is_file(path: str) -> bool:
    """Whether there is such a file; a path that no file can have is none."""
    try:
        return Path(path).is_file()
    except OSError:  # of a name that is too long
        return False


def make_config(values: dict[str, Any], toml: Path | None) -> ScanConfig:
    """Join flags with a TOML file; flags that were given win.

    Parameters
    ----------
    values : dict
        Fields of ScanConfig; None means not given.
    toml : Path or None

    Raises
    ------
    InputError
        If the file cannot be read, or anything in it or in the flags is unfit.
    """
    merged = read_toml(toml, ScanConfig, "config") if toml else {}
    merged |= {key: value for key, value in values.items() if value is not None and value != ()}
    if "out" not in merged:
        raise InputError("no output folder: give --out RUN")
    return ScanConfig(**({"mosaics": ()} | merged))
