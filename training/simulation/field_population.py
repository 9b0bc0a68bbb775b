"""What a simulated field holds besides lenses: as crowded as an example, or as the sky is."""

from collections.abc import Mapping
from dataclasses import dataclass

# Numbers are of a field of 3000 x 3000 pixels: 6.25 arcmin2, 0.0017 deg2.
REFERENCE_SIZE_PX = 3000


@dataclass(frozen=True)
class Population:
    """What a field holds.

    Attributes
    ----------
    counts : mapping of str to float
        Objects of each kind of `lensweep.training.simulation.confusers.LIGHT` in a field of
        3000 x 3000 pixels.
    galaxies_per_arcsec2 : float
        Faint galaxies.
    brightest : float
        Magnitude of the brightest of these.
    faint_stars : float
        In such a field; magnitudes 19 to 26.
    trails : float
        Chance that a satellite crosses a mosaic of four exposures, and that an asteroid does.
    """

    counts: Mapping[str, float]
    galaxies_per_arcsec2: float
    brightest: float
    faint_stars: float
    trails: float


# A thousand faint galaxies outnumber what is counted here; still, bright ones are denser than in an
# ordinary field, so that one mosaic holds several of each.
CROWDED = Population(
    {
        "elliptical": 20, "elliptical_with_companions": 5, "companion_pair": 4, "edge_on_disc": 8,
        "face_on_spiral": 10, "ring_galaxy": 4, "merger": 4, "irregular": 8,
        "chance_quasar_pair": 3, "active_galaxy": 3, "bright_star": 8,
    },
    # 0.015 galaxies per arcsec2 are brighter than I = 25 in COSMOS (Collett 2015); with counts that
    # grow as 10 ** (0.3 m), 0.042 are brighter than the generator's limit of 26.5.
    galaxies_per_arcsec2=0.042,
    brightest=20.0,
    faint_stars=40,
    trails=1.0,
)  # fmt: skip

# The same counts put 42 galaxies brighter than I = 22 into such a field. These are the kinds below,
# four in five of which are that bright; the scattered ones are the fainter ones. Where nothing is
# cited, a number is our estimate.
SKY = Population(
    {
        # Early types are a third of the bright; one in five has a neighbour at lensing distances by
        # chance: 0.01 per arcsec2 brighter than 24.5 within 2.6 arcsec.
        "elliptical": 16.0,
        "elliptical_with_companions": 4.0,
        "edge_on_disc": 8.5,
        "face_on_spiral": 14.5,
        "irregular": 8.0,
        # Luminous galaxies with a like one within 20 kpc: 2 % (Kartaltepe et al. 2007, COSMOS).
        "companion_pair": 0.8,
        # A few percent to z = 1 look like mergers (Lotz et al. 2008).
        "merger": 2.0,
        # 25 collisional rings in 162 WFPC2 fields of 5 arcmin2 (Lavery et al. 2004): 0.2; as many
        # again and more are resonances of barred spirals.
        "ring_galaxy": 0.6,
        # Point sources brighter than 24: 10,000 per deg2 make 30 pairs per deg2 within 1.6 arcsec.
        "chance_quasar_pair": 0.05,
        # Broad-line nuclei brighter than 22.5: 200 per deg2 (Brusa et al. 2010, COSMOS).
        "active_galaxy": 0.35,
        # Stars of 13.5 to 21 at a galactic latitude of 40 deg: 2,000 per deg2.
        "bright_star": 3.5,
    },
    galaxies_per_arcsec2=0.0405,
    brightest=22.0,
    faint_stars=20,
    # Of exposures 2.7 % have a satellite's and 3.6 % an asteroid's (Kruk et al. 2023, 2022).
    trails=0.12,
)
