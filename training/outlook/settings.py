"""What the outlook's experiments are asked to do."""

from dataclasses import dataclass

from lensweep.ground.settings import check_seed, check_types, one_of, setting, within

# These need a second set, in another band.
TWO_BANDS, ADDED_BANDS = "two-bands", "added-bands"
OF_TWO_BANDS = (TWO_BANDS, ADDED_BANDS)
# Each of the second line stands beside `binned`, the others beside `small`.
IDEAS = (
    "small", "phase-stretch", "spatial-transformer", "capsules", *OF_TWO_BANDS,
    "binned", "adversarial", "generated",
)  # fmt: skip


@dataclass(frozen=True)
class OutlookSettings:
    """Which ideas, and how long they are trained.

    Attributes
    ----------
    ideas : tuple of str
        Of `IDEAS`; none: all that can be tried on what is given.
    epochs, seed : int
    """

    ideas: tuple[str, ...] = setting(
        (),
        f"{', '.join(IDEAS)}; repeatable; all by default, those of two bands with a second.",
        "--idea",
    )
    epochs: int = setting(12, "Passes over the training part.")
    seed: int = setting(2018, "Of the parts and the trainings.")

    def __post_init__(self) -> None:
        check_types(self)
        for idea in self.ideas:
            one_of("idea", idea, IDEAS)
        within("epochs", self.epochs, 1, 1e4)
        check_seed(self.seed)
