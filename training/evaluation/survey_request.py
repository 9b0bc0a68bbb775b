"""Which simulated fields a survey scans: what `lensweep survey` is asked for."""

from dataclasses import dataclass

from lensweep.ground.errors import InputError
from lensweep.ground.settings import at_least, check_seed, check_types, setting

CENTRES = ("grid", "sources")
MIN_SIZE_PX = 600


@dataclass(frozen=True)
class SurveyConfig:
    """Which fields.

    Attributes
    ----------
    ensemble : str
        A shipped ensemble, or a bundle's folder.
    fields : int
    seed : int
        Of the first field; the next has the next.
    size_px : int
        Side of a field.
    lenses_per_field : int
        Planted one at a time, after the field was scanned without them.
    centres : tuple of str
        How windows are placed, of `CENTRES`: a field is scanned once for each.
    """

    ensemble: str = setting("xception-7fold", "A shipped ensemble, or a bundle's folder.")
    fields: int = setting(100, "Simulated fields without lenses.")
    seed: int = setting(300001, "Of the first field; the next have the next.")
    size_px: int = setting(3000, "Pixels a side of each.", "--size")
    lenses_per_field: int = setting(12, "Planted in each, one at a time.", "--lenses")
    centres: tuple[str, ...] = setting(
        CENTRES, "grid, sources; repeatable.", "--centres", "--centers"
    )

    def __post_init__(self) -> None:
        check_types(self)
        least = {"fields": 1, "size_px": MIN_SIZE_PX, "lenses_per_field": 1}
        for name, value in least.items():
            at_least(name, getattr(self, name), value)
        check_seed(self.seed)
        if not self.centres or not set(self.centres) <= set(CENTRES):
            raise InputError(f"centres = {self.centres}: must be some of {', '.join(CENTRES)}")
