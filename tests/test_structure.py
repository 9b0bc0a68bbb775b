from itertools import pairwise

import numpy as np
import pytest

from lensweep.training.simulation.structure import Shell, draw_shells, draw_texture

V, U = np.mgrid[-3:3:121j, -3:3:121j]


@pytest.mark.parametrize("strength", [0.0, 0.3, 0.8])
def test_patches_are_as_strong_as_asked(strength):
    logs = [
        np.log(draw_texture(np.random.default_rng(seed), strength, 0.3)(U, V)) for seed in range(20)
    ]
    assert np.std(logs) == pytest.approx(strength, abs=0.1 * strength + 1e-6)


def test_patches_follow_the_arms():
    """Along a spiral of the arms' pitch brightness changes less than along the mirrored."""
    pitch, changes = 0.35, {1.0: 0.0, -1.0: 0.0}
    azimuth = np.linspace(0.0, 1.5, 200)
    for seed in range(60):
        texture = draw_texture(np.random.default_rng(seed), 0.5, pitch)
        for way in changes:
            # Where azimuth - log(radius) / tan(pitch) stays the same, as along an arm.
            radius = np.exp(way * np.tan(pitch) * azimuth)
            along = np.log(texture(radius * np.cos(azimuth), radius * np.sin(azimuth)))
            changes[way] += np.abs(np.diff(along)).sum()
    assert changes[1.0] < 0.7 * changes[-1.0]


def test_a_shell_ends_sharply_outwards():
    shell = Shell(2.0, 0.3, 0.0, 0.7)
    radii = np.array([1.4, 1.7, 1.99, 2.2])
    inner, middle, edge, beyond = shell(radii, np.zeros(4))
    assert edge > middle > inner > 0.1 * edge
    assert beyond < 1e-4 * edge
    behind = shell(np.array([-1.99]), np.zeros(1))
    assert behind < 1e-4 * edge


def test_shells_lie_on_both_sides():
    for seed in range(20):
        shells = draw_shells(np.random.default_rng(seed), 0.6)
        radii = [shell.radius_arcsec for shell in shells]
        assert 1 <= len(shells) <= 4
        assert radii == sorted(radii)
        assert radii[0] >= 1.2
        assert radii[-1] <= 3.6
        for first, second in pairwise(shells):
            assert np.cos(first.angle_rad - second.angle_rad) < -0.3


def test_shells_of_large_galaxies_stay_in_the_box_that_is_drawn():
    shells = [one for seed in range(40) for one in draw_shells(np.random.default_rng(seed), 1.8)]
    assert max(shell.radius_arcsec for shell in shells) <= 4.5
