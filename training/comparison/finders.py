"""Which finders are compared, by name: how each is made, and whose it is."""

from collections.abc import Callable
from dataclasses import dataclass

from lensweep.ground.errors import InputError
from lensweep.training.comparison.settings import ComparisonSettings
from lensweep.training.published.deeplens import DeepLens
from lensweep.training.published.gaussian_mixture import MixtureFinder
from lensweep.training.published.image_finder import ImageFinder
from lensweep.training.published.kernel_pca import CLASSIFIERS, KernelPcaFinder
from lensweep.training.published.lensflow import LensFlow
from lensweep.training.published.thesis import MIDDLES, NETWORKS, ThesisNetwork

# To which the others' times are compared.
REFERENCE = "lensflow"


@dataclass(frozen=True)
class Compared:
    """A finder of the comparison.

    Attributes
    ----------
    source : str
        Whose it is.
    make : callable
        From the settings and a seed to the unfitted estimator.
    """

    source: str
    make: Callable[[ComparisonSettings, int], ImageFinder]


def thesis_name(backbone: str, middle: str) -> str:
    """The name of one of the thesis' networks, trained in one of its ways."""
    return f"{backbone}-{middle}"


THESIS_NAMES = tuple(thesis_name(backbone, middle) for middle in MIDDLES for backbone in NETWORKS)


def _thesis(backbone: str, middle: str) -> Compared:
    def make(settings: ComparisonSettings, seed: int) -> ImageFinder:
        finder = ThesisNetwork(
            backbone, middle, settings.optimizer, input_px=settings.input_px, random_state=seed,
            augment=not settings.augmented_lenses,
            weights="" if middle == "xavier" else settings.weight_files.get(backbone, ""),
        )  # fmt: skip
        return _trained_so(finder, settings)

    return Compared("Akhazhanov 2018", make)


def _trained_so(finder: ImageFinder, settings: ComparisonSettings) -> ImageFinder:
    """With the passes and the rate asked for; LensFlow's fine phase is half as long."""
    if settings.learning_rate:
        finder.set_params(learning_rate=settings.learning_rate)
    if settings.epochs and isinstance(finder, LensFlow):
        finder.set_params(fine_epochs=max(1, settings.epochs // 2))
    if settings.epochs:
        finder.set_params(epochs=settings.epochs)
    return finder


FINDERS: dict[str, Compared] = {
    "gaussian-mixture": Compared(
        "Williams et al. 2017", lambda _, seed: MixtureFinder(random_state=seed)
    ),
    **{
        f"kernel-pca-{kind}": Compared(
            "Agnello et al. 2015",
            lambda _, seed, kind=kind: KernelPcaFinder(kind, random_state=seed),  # type: ignore[misc]
        )
        for kind in CLASSIFIERS
    },
    REFERENCE: Compared(
        "Pourrahmani et al. 2018",
        lambda settings, seed: _trained_so(LensFlow(random_state=seed), settings),
    ),
    "deeplens": Compared(
        "Lanusse et al. 2018",
        lambda settings, seed: _trained_so(DeepLens(random_state=seed), settings),
    ),
    **{
        thesis_name(backbone, middle): _thesis(backbone, middle)
        for middle in MIDDLES
        for backbone in NETWORKS
    },
}


def chosen_finders(settings: ComparisonSettings) -> list[str]:
    """The finders that are asked for, in the order of the table.

    Raises
    ------
    InputError
        If one is not known, or weights are of no network of the thesis.
    """
    for what, names, known in (
        ("finders", settings.finders, tuple(FINDERS)),
        ("weights of", tuple(settings.weight_files), NETWORKS),
    ):
        unknown = [name for name in names if name not in known]
        if unknown:
            raise InputError(f"{what} {', '.join(unknown)}: not among {', '.join(known)}")
    return [name for name in FINDERS if not settings.finders or name in settings.finders]
