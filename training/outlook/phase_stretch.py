"""The phase stretch transform as one more channel.

Asghari & Jalali (2015, International Journal of Biomedical Imaging 2015, 687819): an image goes
through a dispersive medium, in which a phase grows with spatial frequency, and the phase of what
comes out shows edges. No threshold is taken here: the network sees the phase itself.
"""

import numpy as np
from numpy.typing import NDArray

from lensweep.training.outlook.small_network import SmallNetwork
from lensweep.training.published.stamps import faint

# Strength and warp of the phase, and where frequencies above are damped: the paper's names are S, W
# and the localisation kernel. Values of ours, for arcs a few pixels wide.
STRENGTH, WARP, CUTOFF = 0.5, 12.0, 0.2


def phase_stretch(images: NDArray[np.floating]) -> NDArray[np.float32]:
    """The phase of images after the transform, radians.

    Parameters
    ----------
    images : ndarray, shape (n, ny, nx)

    Returns
    -------
    ndarray, shape (n, ny, nx), float32
    """
    rows, columns = (np.fft.fftfreq(side) for side in images.shape[1:])
    radius = np.hypot(rows[:, None], columns[None, :])
    warped = WARP * radius
    phase = warped * np.arctan(warped) - 0.5 * np.log1p(warped**2)
    phase *= STRENGTH / phase.max()
    kernel = np.exp(-((radius / CUTOFF) ** 2) - 1j * phase)
    return np.angle(np.fft.ifft2(np.fft.fft2(images) * kernel)).astype(np.float32)


class PhaseStretchNetwork(SmallNetwork):
    """The small network, shown the phase beside the stretched light."""

    def images(self, scaled: NDArray[np.float32]) -> NDArray[np.float32]:
        """The stretched light, and its phase in units of its own spread."""
        light = faint(scaled)
        # Light from 0 up: a phase is an angle between what the medium lets pass and what it turns.
        phase = phase_stretch(light[..., 0] + 1.0)
        phase /= phase.std(axis=(1, 2), keepdims=True) + np.float32(1e-6)
        return np.concatenate([light, phase[..., None]], axis=-1)
