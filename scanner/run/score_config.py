"""What is asked of scores for stamps, checked once."""

from dataclasses import dataclass

from lensweep.ground.errors import InputError
from lensweep.ground.settings import check_types, one_of, setting, within
from lensweep.scanner.run.config import DEFAULT_LENS_DENSITY, OUTPUT
from lensweep.scanner.sky.scale import CUTOUT_SIZE, PIXEL_SCALE_ARCSEC

INPUT, SCORES, CLUSTER = "Input", "Scores", "Cluster"
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
    ensemble: str = setting(
        "xception-7fold", "A shipped ensemble, or a bundle's folder.", group=SCORES
    )
    lens_density: float = setting(
        DEFAULT_LENS_DENSITY, "Visible lenses per square degree, for p_lens.", group=SCORES
    )
    prior: float | None = setting(
        None, "Share of the stamps that are lenses, for p_lens; in the place of --lens-density.",
        group=SCORES,
    )  # fmt: skip
    band: str | None = setting(None, "Filter, for headers that do not say.", group=INPUT)
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
    precision: str = setting(
        "auto", "auto: what a worker is faster in, where the ensemble was shown to keep its ranks; "
        "full: float32.", group=SCORES,
    )  # fmt: skip
    cluster: str = setting(
        "local", "local, cuda, slurm, kubernetes, a TOML file, or the address or file of a Dask "
        "scheduler.", group=CLUSTER,
    )  # fmt: skip
    workers: int | None = setting(
        None, "Processes of a local cluster; by default one per core, and none beside the "
        "command's own for a single shard of stamps.", group=CLUSTER,
    )  # fmt: skip
    tls: bool = setting(
        False, "Encrypt what the cluster's processes say to each other.", group=CLUSTER
    )
    shard_timeout_s: float = setting(
        1800.0, "Seconds after which a worker that is still at one shard is started again.",
        "--shard-timeout", group=CLUSTER,
    )  # fmt: skip
    storage_wait_s: float = setting(
        600.0, "Seconds to wait for a full disk.", "--storage-wait", group=OUTPUT
    )
    stamps_per_shard: int = setting(
        512, "Stamps that one task does and one file holds.", group=CLUSTER
    )

    def __post_init__(self) -> None:
        if not self.images:
            raise InputError("no images: name at least one FITS file, or an array of stamps")
        check_types(self)
        within("lens_density", self.lens_density, 1e-6, 1e6)
        within("stamps_per_shard", self.stamps_per_shard, 1, 65536)
        within("shard_timeout_s", self.shard_timeout_s, 1.0, 1e6)
        within("storage_wait_s", self.storage_wait_s, 0.0, 1e6)
        one_of("precision", self.precision, ("auto", "full"))
        if self.workers is not None:
            within("workers", self.workers, 1, 4096)
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

    @property
    def lenses_per_deg2(self) -> float:
        """The density that `p_lens` is at: a prior is of stamps cut anywhere on the sky."""
        return self.lens_density if self.prior is None else self.prior * STAMPS_PER_DEG2
