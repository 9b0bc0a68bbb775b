"""What the user states about mosaics whose headers are silent."""

from dataclasses import dataclass

from lensweep.ground.settings import setting


@dataclass(frozen=True)
class HeaderOverrides:
    """What the user states about mosaics whose headers do not.

    Parameters
    ----------
    band
        ``--band``: the filter, only for a header that names none.
    pixel_scale_arcsec
        ``--pixel-scale``: only for a header without sky coordinates; with them, a check.
    units
        ``--units``: ``electrons/s``, ``counts/s``, ``electrons`` or ``counts``, however astropy
        spells them. It wins over the header, because headers that contradict their own pixels
        are why it exists. Counts are taken with the scale of electrons: the stretch measures
        flux in units of the image's own noise, so a constant gain cancels; zero points then
        hold for counts.
    """

    band: str | None = setting(None, "Filter, for headers that do not say.")
    pixel_scale_arcsec: float | None = setting(
        None, "Arcsec per pixel, for headers that do not say.", "--pixel-scale"
    )
    units: str | None = setting(
        None, "electrons or counts, with or without /s, for headers that do not say."
    )
