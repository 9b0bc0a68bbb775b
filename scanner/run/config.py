"""What one scan is asked to do, checked once."""

import dataclasses
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any

from lensweep.catalogs.hats_folders import is_hats
from lensweep.ground.errors import InputError
from lensweep.ground.files import is_file, is_remote
from lensweep.ground.settings import check_types, one_of, read_toml, setting, within
from lensweep.scanner.run import shared_options as shared
from lensweep.scanner.run.shared_options import CLUSTER, INPUT, OUTPUT, check_shared
from lensweep.scanner.sky.names import mosaic_name, printable
from lensweep.scanner.sky.scale import CUTOUT_SIZE

# What a field decides, in its metadata. Most decide pixels and scores, of which a run's folder
# holds one kind only; those of other metadata do not.
DECIDES = "decides"
RANKING = {DECIDES: "ranking"}  # which of the scored windows are candidates, and in what order
NOTHING = {DECIDES: "nothing"}  # where and how the work is done
WINDOWS, RANKED = "Windows", "Ranking"


@dataclass(frozen=True)
class ScanConfig:
    """One scan; every field is an option of `lensweep scan`, and a key of a TOML file."""

    # FITS files, or their addresses (http, https, s3).
    mosaics: tuple[str, ...]
    out: str = setting(
        MISSING, "The run's folder, or s3://BUCKET/FOLDER.", "--out", "-o", group=OUTPUT, **NOTHING
    )
    ensemble: str = shared.ensemble(WINDOWS, **NOTHING)
    centres: str = setting(
        "grid", "grid, sources (detected ones), or a table of positions.", "--centres",
        "--centers", group=WINDOWS,
    )  # fmt: skip
    stride: int = setting(50, "Pixels between the windows of a grid.", group=WINDOWS)
    min_valid_fraction: float = setting(
        0.5, "Windows with less valid area are masked.", group=WINDOWS
    )
    min_logit: float | None = setting(
        None, "Least score of a candidate: the members' mean log-odds, 0 for even odds; by default "
        "where three tenths of simulated non-lenses pass.", group=RANKED, **RANKING,
    )  # fmt: skip
    lens_density: float = shared.lens_density(RANKED, **RANKING)
    merge_radius_arcsec: float = setting(
        2.5, "Arcsec; detections that are closer are one candidate.", "--merge-radius",
        group=RANKED, **RANKING,
    )  # fmt: skip
    match_radius_arcsec: float = setting(
        3.0, "Arcsec; for known lenses.", "--match-radius", group=RANKED, **RANKING
    )
    screen: str = setting(
        "auto", "Pass over windows without prospects: on, off, or auto (if the ensemble's screen "
        "is on by default).", group=WINDOWS,
    )  # fmt: skip
    precision: str = shared.precision(WINDOWS)
    cluster: str = shared.cluster(**NOTHING)
    workers: int | None = setting(
        None, "Processes of a local cluster; by default one per core.", group=CLUSTER, **NOTHING
    )
    tls: bool = shared.tls(**NOTHING)
    shard_timeout_s: float = shared.shard_timeout(**NOTHING)
    storage_wait_s: float = shared.storage_wait(**NOTHING)
    band: str | None = shared.band()
    pixel_scale_arcsec: float | None = setting(
        None, "Arcsec per pixel, for headers that do not say.", "--pixel-scale", group=INPUT
    )
    units: str | None = setting(
        None, "electrons or counts, with or without /s, for headers that do not say.", group=INPUT
    )
    # Without it mosaics at addresses are read by section where that takes less, and else fetched
    # into the run's folder for as long as it takes.
    mirror: str | None = setting(
        None, "Folder to fetch mosaics at addresses into, and keep them.", group=INPUT, **NOTHING
    )
    # 512 are 20 MB of pixels: small enough to lose, large enough that a task's overhead does not
    # count.
    windows_per_shard: int = setting(
        512, "Windows of a shard: what one task does and one file holds.", group=CLUSTER
    )
    rerank: bool = setting(
        False, "Replace the catalogue of a finished run that was ranked in another way.",
        group=RANKED, **NOTHING,
    )  # fmt: skip

    def __post_init__(self) -> None:
        if not self.mosaics:
            raise InputError("no mosaics: name at least one FITS file")
        check_types(self)
        within("stride", self.stride, 1, CUTOUT_SIZE)
        within("min_valid_fraction", self.min_valid_fraction, 0.0, 1.0)
        within("merge_radius_arcsec", self.merge_radius_arcsec, 0.01, 60.0)
        within("match_radius_arcsec", self.match_radius_arcsec, 0.01, 60.0)
        within("windows_per_shard", self.windows_per_shard, 1, 65536)
        one_of("screen", self.screen, ("auto", "on", "off"))
        check_shared(self)
        self._check_paths()
        if self.lists_targets and not is_file(self.centres) and not is_hats(self.centres):
            raise InputError(
                f"centres = {self.centres}: neither grid, sources, nor a file that is there"
            )
        self._refuse_name_twice()

    @property
    def lists_targets(self) -> bool:
        """Whether windows are placed on the rows of a table."""
        return self.centres not in ("grid", "sources")

    def absolute(self) -> "ScanConfig":
        """The same scan with paths that mean the same wherever a worker runs."""
        centres = _absolute(self.centres) if self.lists_targets else self.centres
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
