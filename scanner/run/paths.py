"""Every file name of a run's folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from lensweep.ground.files import is_remote, place

if TYPE_CHECKING:
    from zarr.storage import FsspecStore

_DONE = "done"


@dataclass(frozen=True)
class RunPaths:
    """The files of one run.

    Attributes
    ----------
    root : Path
        The run's folder.
    """

    root: Path

    @classmethod
    def at(cls, where: str | Path) -> "RunPaths":
        """Those of a folder, or of a place in an object store such as `s3://bucket/run`."""
        return cls(place(where).absolute())

    def is_made_of(self, path: Path) -> bool:
        """Whether a file is one that the run's commands read again, and no mere result."""
        kept = (
            self.run, self.run_copy, self.lock, self.ledger, self.candidates, self.centres,
            self.targets, self.calibration, self.models, self.completeness, self.grades,
            *self.blind_keys, self.learned, self.scratch, self.plans, self.all_cutouts,
            self.all_scores, self.root / _DONE, self.attempts, self.job, self.certificates,
            self.failures,
        )  # fmt: skip
        return any(one == path or one in path.parents for one in kept)

    @property
    def run(self) -> Path:
        """What was asked, versions, and the bundle's hash."""
        return self.root / "run.json"

    @property
    def run_copy(self) -> Path:
        """The same again, for a disk that loses one of them."""
        return self.root / "run-copy.json"

    @property
    def lock(self) -> Path:
        """Who writes into the folder; there while somebody does."""
        return self.root / "lock.json"

    @property
    def ledger(self) -> Path:
        """What became of every window."""
        return self.root / "ledger.parquet"

    @property
    def candidates(self) -> Path:
        """The ranked catalogue."""
        return self.root / "candidates.parquet"

    @property
    def centres(self) -> Path:
        """The table of positions that was given, as it was read; there if one was."""
        return self.root / "centres.parquet"

    @property
    def targets(self) -> Path:
        """What became of every row of that table."""
        return self.root / "targets.parquet"

    @property
    def contact_sheet(self) -> Path:
        """Pictures of the first candidates."""
        return self.root / "candidates.png"

    @property
    def sheet(self) -> Path:
        """Pictures of as many candidates as were asked for, of 10 arcsec."""
        return self.root / "sheet.png"

    @property
    def calibration(self) -> Path:
        """What scores are worth on the run's own mosaics, if `lensweep calibrate` was asked."""
        return self.root / "calibration.parquet"

    @property
    def selection(self) -> Path:
        """The run's selection functions."""
        return self.completeness / "selection.json"

    @property
    def coverage(self) -> Path:
        """Map of the valid pixels of the windows that were looked at."""
        return self.root / "coverage.fits"

    @property
    def recall(self) -> Path:
        """What became of the known lenses in the footprint."""
        return self.root / "recall.parquet"

    @property
    def crossmatch(self) -> Path:
        """Known lenses near candidates."""
        return self.root / "crossmatch.parquet"

    @property
    def models(self) -> Path:
        """Parameters of the candidates, as if they were lenses, if `lensweep model` was asked."""
        return self.root / "models.parquet"

    @property
    def completeness(self) -> Path:
        """What was made of lenses planted in the run's mosaics, where somebody asked."""
        return self.root / "completeness"

    @property
    def inspection(self) -> Path:
        """Pages to look at candidates and grade them, and the grades."""
        return self.root / "inspect"

    @property
    def page(self) -> Path:
        """The page of the first candidates."""
        return self.inspection / "index.html"

    @property
    def grades(self) -> Path:
        """A file of grades for each grader, as the page's server keeps them."""
        return self.inspection / "grades"

    def blind_page(self, seed: int) -> Path:
        """A page without scores, shuffled by a seed."""
        return self.inspection / f"blind-{seed}.html"

    def blind_key(self, seed: int) -> Path:
        """What the rows of that page are."""
        return self.inspection / f"blind-{seed}.parquet"

    @property
    def blind_keys(self) -> list[Path]:
        """Those of all blind pages."""
        return sorted(self.inspection.glob("blind-*.parquet"))

    @property
    def exports(self) -> Path:
        """The candidates in other formats."""
        return self.root / "export"

    @property
    def learned(self) -> Path:
        """What was learned from grades of this run's candidates."""
        return self.root / "learned"

    def features(self, ensemble_sha256: str) -> Path:
        """What an ensemble's trunks make of the first candidates."""
        return self.learned / f"features-{ensemble_sha256[:12]}.npz"

    def reranked(self, label: str) -> Path:
        """A catalogue that is ranked in another way."""
        return self.root / f"candidates-{label}.parquet"

    @property
    def scratch(self) -> Path:
        """Unpacked mosaics; emptied at the end of a run."""
        return self.root / "scratch"

    @property
    def plans(self) -> Path:
        """One plan per mosaic."""
        return self.root / "plan"

    def plan(self, mosaic: str) -> Path:
        """A mosaic's plan; written after its windows."""
        return self.plans / f"{_own(mosaic)}.json"

    def windows(self, mosaic: str) -> Path:
        """A mosaic's windows."""
        return self.plans / f"{_own(mosaic)}.npz"

    @property
    def all_cutouts(self) -> Path:
        """Zarr group of all mosaics' cutouts."""
        return self.root / "cutouts.zarr"

    @property
    def all_scores(self) -> Path:
        """Zarr group of all mosaics' scores."""
        return self.root / "scores.zarr"

    def cutouts(self, mosaic: str) -> Path:
        """Zarr group of a mosaic's cutouts."""
        return self.all_cutouts / _own(mosaic)

    def scores(self, mosaic: str) -> Path:
        """Zarr group of a mosaic's scores."""
        return self.all_scores / _own(mosaic)

    def markers(self, mosaic: str) -> Path:
        """What says which shards of a mosaic are done."""
        return self.root / _DONE / _own(mosaic)

    def cut_marker(self, mosaic: str, shard: int) -> Path:
        """Says that a shard's cutouts are written."""
        return self.markers(mosaic) / f"{shard:06d}.cut.json"

    def score_marker(self, mosaic: str, shard: int) -> Path:
        """Says that a shard's scores are written."""
        return self.markers(mosaic) / f"{shard:06d}.score.json"

    def score_markers(self, mosaic: str) -> list[Path]:
        """The markers of a mosaic's shards that are scored, in their order."""
        return sorted(self.markers(mosaic).glob("*.score.json"))

    def cut_markers(self, mosaic: str) -> list[Path]:
        """The markers of a mosaic's shards that are cut, in their order."""
        return sorted(self.markers(mosaic).glob("*.cut.json"))

    @property
    def attempts(self) -> Path:
        """Records of shards that are being worked on."""
        return self.root / "attempts"

    def attempt(self, mosaic: str, shard: int, stage: str, number: int) -> Path:
        """Says that a worker is at a shard; there after it is gone if it died."""
        return self.attempts / _own(mosaic) / f"{shard:06d}.{stage}.{number}.json"

    @property
    def job(self) -> Path:
        """What was handed to a cluster for this run: scripts, logs, the job's id."""
        return self.root / "job"

    @property
    def certificates(self) -> Path:
        """What the processes of a cluster of this run know each other by."""
        return self.root / "tls"

    @property
    def failures(self) -> Path:
        """What says why mosaics and shards failed."""
        return self.root / "failed"

    def failure(self, mosaic: str, shard: int) -> Path:
        """Says why a shard has neither."""
        return self.failures / _own(mosaic) / f"{shard:06d}.json"

    def shard_failures(self, mosaic: str) -> list[Path]:
        """What says why shards of a mosaic failed, in their order."""
        return sorted((self.failures / _own(mosaic)).glob("*.json"))

    def mosaic_failure(self, mosaic: str) -> Path:
        """Says why a mosaic has no plan."""
        return self.failures / f"{_own(mosaic)}.json"


def _own(mosaic: str) -> str:
    """A mosaic's name, which has to stay within the folder that it is put into."""
    if mosaic in ("", ".", "..") or "/" in mosaic:
        raise ValueError(f"mosaic name {mosaic!r}: would lead out of its folder")
    return mosaic


def zarr_location(path: Path) -> Union[Path, "FsspecStore"]:
    """A path as Zarr takes it: itself, or where it lies in an object store."""
    if not is_remote(path):
        return path
    from zarr.storage import FsspecStore

    remote: Any = path
    return FsspecStore.from_url(str(path), storage_options=dict(remote.storage_options))
