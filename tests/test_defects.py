import numpy as np
import pytest
from scipy import ndimage

from lensweep.training.simulation.defects import add_trail, blank_edge, blank_gap
from lensweep.training.simulation.observation import Observation

ORBIT = Observation(2028.0, 4, 0.094, 5.0, 0.5, 0.4)


@pytest.mark.parametrize(
    ("curvature", "crosses"),
    [(0.0, True), (0.01, False)],  # a satellite's trail ends at the image's edge, an asteroid's not
)
def test_trails(curvature, crosses):
    image = np.zeros((400, 400))
    add_trail(image, ORBIT, np.random.default_rng(1), curvature)
    bright = image > 0.5 * image.max()
    assert bright.any()
    edge = np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]])
    assert edge.any() == crosses


def test_edges_and_gaps_blank_with_nan():
    edge, gap = np.zeros((100, 100)), np.zeros((100, 100))
    blank_edge(edge, np.random.default_rng(0), 0.3)
    blank_gap(gap, np.random.default_rng(0))
    assert 0.01 < np.isnan(edge).mean() <= 0.31
    # A gap leaves data on both sides.
    _, n_parts = ndimage.label(~np.isnan(gap))
    assert n_parts == 2
