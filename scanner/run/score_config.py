"""What is asked of scores for stamps, checked once."""

from dataclasses import dataclass

from lensweep.ground.errors import InputError
from lensweep.ground.settings import check_types, setting, within
from lensweep.scanner.run import shared_options as shared
from lensweep.scanner.run.shared_options import (
    CLUSTER,
    DEFAULT_LENS_DENSITY,
    INPUT,
    OUTPUT,
    check_shared,
)
from lensweep.scanner.sky.scale import CUTOUT_SIZE, PIXEL_SCALE_ARCSEC

SCORES = "Scores"
# A stamp is so much of the sky.
STAMPS_PER_DEG2 = (3600.0 / (CUTOUT_SIZE * PIXEL_SCALE_ARCSEC)) ** 2


@dataclass(frozen=True)
class ScoreConfig:
    """Scores for stamps; every field is an option of `lensweep score`."""

    images: tuple[str, ...]
    out: str | None = setting(
        None, "Table: .parquet, .csv, .ecsv, .fits or .vot. Repeat the command to continue one "
        "that was stopped.", "--out", "-o", group=OUTPUT,
    )  # fmt: skip
    ensemble: str = shared.ensemble(SCORES)
    lens_density: float = shared.lens_density(SCORES)
    prior: float | None = setting(
        None, "Share of the stamps that are lenses, for p_lens; in the place of --lens-density.",
        group=SCORES,
    )  # fmt: skip
    band: str | None = shared.band()
    pixel_scale_arcsec: float | None = setting(
        None, "Arcsec per pixel, for arrays and for headers that do not say.", "--pixel-scale",
        group=INPUT,
    )  # fmt: skip
    units: str | None = setting(
        None, "electrons or counts, with or without /s, for arrays and for headers that do not "
        "say.", group=INPUT,
    )  # fmt: skip
    dataset: str | None = setting(
        None, "Path of the array within an HDF5 file or a Zarr group; FILE.h5::PATH says it too.",
        group=INPUT,
    )  # fmt: skip
    channel: int | None = setting(
        None, "Channel of the ensemble's band, from 0, in arrays that have several.", group=INPUT
    )
    precision: str = shared.precision(SCORES)
    cluster: str = shared.cluster()
    workers: int | None = setting(
        None, "Processes of a local cluster; by default one per core, and none beside the "
        "command's own for a single shard of stamps.", group=CLUSTER,
    )  # fmt: skip
    tls: bool = shared.tls()
    shard_timeout_s: float = shared.shard_timeout()
    storage_wait_s: float = shared.storage_wait()
    stamps_per_shard: int = setting(
        512, "Stamps that one task does and one file holds.", group=CLUSTER
    )

    def __post_init__(self) -> None:
        if not self.images:
            raise InputError("no images: name at least one FITS file, or an array of stamps")
        check_types(self)
        check_shared(self)
        within("stamps_per_shard", self.stamps_per_shard, 1, 65536)
        if self.pixel_scale_arcsec is not None:
            within("pixel_scale_arcsec", self.pixel_scale_arcsec, 1e-4, 100.0)
        if self.prior is not None:
            within("prior", self.prior, 1e-12, 0.999)
            if self.lens_density != DEFAULT_LENS_DENSITY:
                raise InputError(
                    f"prior = {self.prior:g} and lens_density = {self.lens_density:g}: they say "
                    "the same in two ways; give one"
                )

    # As the stages of a scan ask for them: no stamp is passed over.
    screen = "look"
    min_valid_fraction = 0.0

    def lenses_per_deg2(self, others_per_deg2: float = STAMPS_PER_DEG2) -> float:
        """The density that `p_lens` is at; a prior's is of lenses among so many other stamps.

        p = d f / (d f + n), of which n are those others.
        """
        if self.prior is None:
            return self.lens_density
        return self.prior / (1.0 - self.prior) * others_per_deg2
