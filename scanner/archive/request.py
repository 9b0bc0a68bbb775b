"""What `find` and `fetch` are asked for: a piece of sky, and which of its images."""

from dataclasses import dataclass

from lensweep.ground.errors import InputError
from lensweep.ground.settings import setting

# The fields that say where; one of them does, RA and Dec together.
WHERE = ("ra_deg", "dec_deg", "name", "catalogue", "moc")


@dataclass(frozen=True)
class SkyRequest:
    """One piece of sky, and which of its images; every field is an option of the command line."""

    ra_deg: float | None = setting(None, "Degrees, with --dec.", "--ra")
    dec_deg: float | None = setting(None, "Degrees, with --ra.", "--dec")
    name: str | None = setting(None, "An object that CDS' Sesame knows.")
    catalogue: str | None = setting(
        None, "castles, lensflow, or a table of positions.", "--catalog"
    )
    moc: str | None = setting(None, "A coverage map (MOC, FITS).")
    radius: str = setting("5arcmin", "About each position, as 5arcmin or 0.1deg.")
    cameras: tuple[str, ...] = setting(
        (), "ACS/WFC (the default), WFC3/UVIS or WFPC2; repeatable.", "--camera"
    )
    everything: bool = setting(
        False, "Every product, not only the best of each piece of sky.", "--all"
    )
    cloud: bool = setting(
        False, "Addresses in the public cloud (s3), where it has them.", "--cloud"
    )

    def __post_init__(self) -> None:
        if (self.ra_deg is None) != (self.dec_deg is None):
            raise InputError("--ra and --dec go together, in degrees")
        stated = sum(getattr(self, field) is not None for field in WHERE if field != "dec_deg")
        if stated != 1:
            raise InputError(
                "say one piece of sky: --ra and --dec, --name, --catalog (castles, lensflow or a "
                f"table), or --moc; {stated} were given"
            )
