import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import scan_here, write_field
from drizzled_files import CRVAL, sky_cards
from scipy.stats import rankdata

from lensweep.catalogs.schemas import CANDIDATES
from lensweep.ground.errors import InputError
from lensweep.scanner.results.reranking import RERANKED, rerank
from lensweep.scanner.run import score_store
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.tally import planned_mosaics

SHAPE = (350, 500)


@pytest.fixture(scope="module")
def run(client, tiny_bundle, tmp_path_factory):
    """A finished run on two mosaics, of which the second lies apart; its pixels are gone."""
    folder = tmp_path_factory.mktemp("rerank")
    paths = [
        write_field(folder / f"m{i}_drz.fits", i, SHAPE, 120,
                    sky=sky_cards(SHAPE, crval=(CRVAL[0], CRVAL[1] + 0.1 * i)))
        for i in range(2)
    ]  # fmt: skip
    root = scan_here(client, tiny_bundle, paths, folder / "run").paths.root
    for path in paths:
        path.unlink()
    for flux in root.glob("cutouts.zarr/*/flux"):
        shutil.rmtree(flux)
    return root


def all_logits(root):
    """Logits of all scored windows, by mosaic and window."""
    parts = []
    for mosaic in planned_mosaics(root):
        logits, _, _ = score_store.read(RunPaths(root).scores(mosaic))
        index = pd.MultiIndex.from_product([[mosaic], range(len(logits))])
        parts.append(pd.DataFrame(logits, index=index).dropna())
    return pd.concat(parts)


def test_the_mean_gives_the_runs_own_catalogue(run, tiny_bundle):
    path = rerank(run, "mean", str(tiny_bundle))
    assert path == run / "candidates-mean.parquet"
    old, new = pd.read_parquet(run / "candidates.parquet"), pd.read_parquet(path)
    pd.testing.assert_frame_equal(new[old.columns], old)
    np.testing.assert_allclose(new["aggregate_score"], new["logit_mean"])


AGGREGATES = {
    "median": lambda logits: np.median(logits, axis=1),
    "rank": lambda logits: ((rankdata(logits, axis=0) - 0.5) / len(logits)).mean(axis=1),
}


@pytest.mark.parametrize("name", AGGREGATES)
def test_another_aggregate_orders_the_candidates(run, tiny_bundle, name):
    before = (run / "candidates.parquet").read_bytes()
    written = pq.read_table(rerank(run, name, str(tiny_bundle)))
    assert (run / "candidates.parquet").read_bytes() == before
    assert written.schema.remove_metadata().equals(RERANKED.remove_metadata())
    assert written.schema.metadata[b"lensweep.aggregate"] == name.encode()
    assert b"aggregate_score" in written.schema.field("rank").metadata[b"description"]
    table = written.to_pandas()
    assert len(table) > 4
    logits = all_logits(run)
    scores = pd.Series(AGGREGATES[name](logits.to_numpy()), index=logits.index)
    where = pd.MultiIndex.from_frame(table[["mosaic", "window"]])
    np.testing.assert_allclose(table["aggregate_score"], scores[where], rtol=1e-6)
    assert (np.diff(table["aggregate_score"]) <= 0).all()
    # The values of the other columns are those of the window, whatever it is ranked by.
    np.testing.assert_allclose(table["logit_mean"], logits.mean(axis=1)[where], rtol=1e-5)
    assert table["aggregate_score"].iloc[0] == pytest.approx(scores.max())


def test_as_many_windows_are_detections_as_in_the_run(run, tiny_bundle, tmp_path):
    copied = tmp_path / "run"
    shutil.copytree(run, copied)
    logits = all_logits(run)
    floor = float(np.sort(logits.mean(axis=1))[-10])  # ten windows reach it
    table = pq.read_table(copied / "candidates.parquet")
    metadata = table.schema.metadata | {b"lensweep.min_logit": repr(floor).encode()}
    pq.write_table(table.replace_schema_metadata(metadata), copied / "candidates.parquet")
    found = pd.read_parquet(rerank(copied, "median", str(tiny_bundle)))
    assert found["n_windows"].sum() == 10


def test_what_cannot_be_ranked_is_refused(run, tiny_bundle, tmp_path):
    with pytest.raises(InputError, match="aggregate best: none of mean, median, rank"):
        rerank(run, "best", str(tiny_bundle))
    with pytest.raises(InputError, match="finish its scan first"):
        rerank(tmp_path, "mean", str(tiny_bundle))
    with pytest.raises(InputError, match="neither a folder"):
        rerank(run, "mean")  # the run's ensemble is not a shipped one
    assert RERANKED.names == [*CANDIDATES.names, "aggregate_score"]
