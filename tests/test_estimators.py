"""Ensembles whose members are no networks."""

import subprocess
import sys

import pytest

from lensweep.scanner.network.bundle_store import check_bundle
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


@pytest.fixture
def bundle(estimator_bundle):
    return check_bundle(str(estimator_bundle))


def test_without_networks_nobody_waits_for_tensorflow(bundle, tiny_bundle):
    ran = subprocess.run([sys.executable, "-c", LOAD, bundle.folder], capture_output=True,
                         text=True, check=False)  # fmt: skip
    assert ran.stdout == "(3, 3) float32 False\n", ran.stderr
    assert imports_for(bundle) == IMPORTS[:1]
    assert imports_for(check_bundle(str(tiny_bundle))) == IMPORTS
