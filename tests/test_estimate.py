"""How long a scan would take: what is said of its windows is what becomes of them."""

import dataclasses

import pandas as pd
import pytest
from conftest import scan_here

from lensweep.scanner.network.bundle_store import check_bundle
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.run.plan import plan_mosaic
from lensweep.scanner.work import estimate as module
from lensweep.scanner.work.estimate import estimate


@pytest.mark.parametrize("screen", ["off", "auto"])
def test_shares_are_those_of_the_scan(client, tiny_bundle, field, tmp_path, monkeypatch, screen):
    # All of its 112 windows, so that shares are exact.
    monkeypatch.setattr(module, "BLOCKS", 7)
    config = ScanConfig((str(field),), str(tmp_path / "run"), str(tiny_bundle), screen=screen)
    root = tmp_path / "plan"
    plan = plan_mosaic(str(field), config, "F814W", str(root))
    found = estimate(root, [plan], check_bundle(str(tiny_bundle)), config)
    assert found.windows == 112
    outcome = scan_here(client, tiny_bundle, [field], tmp_path / "run", screen=screen)
    states = pd.read_parquet(outcome.paths.ledger)["state"].value_counts(normalize=True)
    for state in ("masked", "screened", "scored"):
        assert getattr(found, state) == pytest.approx(states.get(state, 0.0)), state
    # Blank ones are passed over where that is asked for.
    assert (found.screened > 0) == (screen == "auto")
    assert found.seconds_per_window > 0.0


def test_pixels_at_an_address_are_not_fetched_for_it(tiny_bundle, field, tmp_path):
    config = ScanConfig((str(field),), str(tmp_path / "run"), str(tiny_bundle))
    plan = plan_mosaic(str(field), config, "F814W", str(tmp_path / "plan"))
    away = dataclasses.replace(plan.mosaic, pixels_path="https://archive.invalid/a_drz.fits")
    plans = [dataclasses.replace(plan, mosaic=away)]
    assert estimate(tmp_path, plans, check_bundle(str(tiny_bundle)), config) is None
