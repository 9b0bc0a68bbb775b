"""What a paper says of the data it used: references, DOIs and acknowledgements.

Sources: archive.stsci.edu/publishing/data-attributions, archive.stsci.edu/data_use.html,
archive.stsci.edu/hlsp/candels.
"""

from collections.abc import Iterable, Set
from dataclasses import dataclass

from lensweep.scanner.archive.names import HAP_MVM, HAP_SVM, HLA, HLSP
from lensweep.scanner.archive.products import Product

_STSCI = (
    "STScI is operated by the Association of Universities for Research in Astronomy, Inc., under "
    "NASA contract NAS 5-26555."
)
MAST_LINE = (
    "Some of the data presented in this paper were obtained from the Mikulski Archive for Space "
    f"Telescopes (MAST) at the Space Telescope Science Institute. {_STSCI}"
)
HLA_LINE = (
    "Based on observations made with the NASA/ESA Hubble Space Telescope, and obtained from the "
    "Hubble Legacy Archive, which is a collaboration between the Space Telescope Science Institute "
    "(STScI/NASA), the Space Telescope European Coordinating Facility (ST-ECF/ESA) and the "
    "Canadian Astronomy Data Centre (CADC/NRC/CSA)."
)


@dataclass(frozen=True)
class _Survey:
    doi: str
    papers: tuple[str, ...]


# Those of which the page in MAST, or the paper, was seen; of others, the page is named.
_SURVEYS = {
    "candels": _Survey("10.17909/T94S3X", ("Grogin et al. 2011, ApJS 197, 35",
                                           "Koekemoer et al. 2011, ApJS 197, 36")),
    "cosmos": _Survey("", ("Koekemoer et al. 2007, ApJS 172, 196, doi:10.1086/520086",
                           "Scoville et al. 2007, ApJS 172, 38")),
}  # fmt: skip


def doi_of(product: Product) -> str:
    """DOI of what a product belongs to; empty where none is known."""
    return _SURVEYS[product.survey].doi if product.survey in _SURVEYS else ""


def acknowledgements(collections: Set[str]) -> list[str]:
    """What a paper says of the archives that hold these collections."""
    lines = [f"acknowledgement: {HLA_LINE}"] if HLA in collections else []
    if collections & {HAP_SVM, HAP_MVM, HLSP}:
        lines.append(f"acknowledgement: {MAST_LINE}")
    return lines


def citation_lines(products: Iterable[Product]) -> list[str]:
    """What a paper that uses products has to say, a line for each thing.

    Parameters
    ----------
    products : iterable of Product
    """
    used = list(products)
    collections = {product.collection for product in used}
    lines = acknowledgements(collections)
    programmes = sorted({product.programme for product in used if product.programme})
    if programmes:
        lines.append(f"Hubble programmes: {', '.join(programmes)}")
    for survey in sorted({product.survey for product in used if product.survey}):
        known = _SURVEYS.get(survey)
        page = f"https://archive.stsci.edu/hlsp/{survey}"
        lines += [f"{survey}: {paper}" for paper in (known.papers if known else ())]
        doi = f"data doi:{known.doi}" if known and known.doi else f"data DOI: see {page}"
        lines.append(f"{survey}: {doi}")
    if collections & {HAP_SVM, HAP_MVM, HLA}:
        lines.append(
            "data DOI: MAST makes one for a list of observations, "
            "https://archive.stsci.edu/publishing/doi"
        )
    return lines
