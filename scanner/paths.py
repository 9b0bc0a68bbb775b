"""Every file name of a run's folder."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunPaths:
    """The files of one run.

    Attributes
    ----------
    root : Path
        The run's folder.
    """

    root: Path

    @property
    def run(self) -> Path:
        """What was asked, versions, and the bundle's hash."""
        return self.root / "run.json"

    @property
    def ledger(self) -> Path:
        """What became of every window."""
        return self.root / "ledger.parquet"

    @property
    def candidates(self) -> Path:
        """The ranked catalogue."""
        return self.root / "candidates.parquet"

    @property
    def contact_sheet(self) -> Path:
        """Pictures of the first candidates."""
        return self.root / "candidates.png"

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
        return self.plans / f"{mosaic}.json"

    def windows(self, mosaic: str) -> Path:
        """A mosaic's windows."""
        return self.plans / f"{mosaic}.npz"

    def cutouts(self, mosaic: str) -> Path:
        """Zarr group of a mosaic's cutouts."""
        return self.root / "cutouts.zarr" / mosaic

    def scores(self, mosaic: str) -> Path:
        """Zarr group of a mosaic's scores."""
        return self.root / "scores.zarr" / mosaic

    def cut_marker(self, mosaic: str, shard: int) -> Path:
        """Says that a shard's cutouts are written."""
        return self.root / "done" / mosaic / f"{shard:06d}.cut.json"

    def score_marker(self, mosaic: str, shard: int) -> Path:
        """Says that a shard's scores are written."""
        return self.root / "done" / mosaic / f"{shard:06d}.score.json"

    def failure(self, mosaic: str, shard: int) -> Path:
        """Says why a shard has neither."""
        return self.root / "failed" / mosaic / f"{shard:06d}.json"

    def mosaic_failure(self, mosaic: str) -> Path:
        """Says why a mosaic has no plan."""
        return self.root / "failed" / f"{mosaic}.json"
