"""Ensembles whose members are no networks."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from lensweep.scanner.network.bundle_store import check_bundle, save_bundle
from lensweep.scanner.network.ensemble import Description, Trunk
from lensweep.scanner.network.stretch import Stretch
from lensweep.scanner.work.stages import IMPORTS, imports_for

LOAD = """
import sys
import numpy as np
from lensweep.scanner.network.bundle_store import check_bundle
from lensweep.scanner.network.inference import Ensemble
ensemble = Ensemble(check_bundle(sys.argv[1]))
flux = np.random.default_rng(1).normal(size=(3, 100, 100)).astype(np.float32)
print(ensemble.logits(flux).shape, ensemble.precision, "tensorflow" in sys.modules)
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """One member: a line through nine numbers of a cutout."""
    pytest.importorskip("skops", reason="finders of scikit-learn are kept by skops")
    from lensweep.training.published.morphology import Morphology

    flux = np.random.default_rng(0).normal(size=(20, 100, 100)).astype(np.float32)
    finder = make_pipeline(Morphology(), LogisticRegression()).fit(flux, np.arange(20) % 2)
    description = Description(
        name="line", trunks=(Trunk("line", ("line",)),), stretch=Stretch(), band="F814W",
        pixel_scale_arcsec=0.05, cutout_size=100, thresholds={"fpr_0.3": 0.0}, metrics={},
        training={},
    )  # fmt: skip
    heads = {"line": (np.ones((1, 1), np.float32), np.zeros(1, np.float32))}
    return save_bundle(tmp_path_factory.mktemp("bundles") / "line", description,
                       {"line": finder}, heads)  # fmt: skip


def test_without_networks_nobody_waits_for_tensorflow(bundle, tiny_bundle):
    ran = subprocess.run([sys.executable, "-c", LOAD, bundle.folder], capture_output=True,
                         text=True, check=False)  # fmt: skip
    assert ran.stdout == "(3, 1) float32 False\n", ran.stderr
    assert imports_for(bundle) == IMPORTS[:1]
    assert imports_for(check_bundle(str(tiny_bundle))) == IMPORTS
