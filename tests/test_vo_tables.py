import io
import shutil
import subprocess
import warnings

import astropy.units as u
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import votable as astropy_votable
from astropy.table import Table
from astropy.utils.metadata import MergeConflictWarning

from lensweep.catalogs.lens_schemas import RECALL
from lensweep.catalogs.schemas import CANDIDATES, LEDGER, SCORES, with_provenance
from lensweep.catalogs.tables import read_positions, write_frame, write_parquet
from lensweep.catalogs.vo_tables import astropy_table, string_lengths, votable

NASTY = '<b>&"quot"</b> \\ % $ _ é'


def example(schema=CANDIDATES):
    """Two rows of a schema: one with every value, one with nulls wherever they may be."""
    values = {"string": NASTY, "bool": True}
    rows = [
        {field.name: values.get(str(field.type), 7) for field in schema},
        {field.name: None if field.nullable else values.get(str(field.type), 8)
         for field in schema},
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=schema)
    return with_provenance(table, {"ensemble": "xception-7fold", "run": '{"asked": "<&>"}'})


@pytest.mark.parametrize("schema", [CANDIDATES, LEDGER, SCORES, RECALL])
def test_astropy_reads_our_parquet_with_units_and_nulls(tmp_path, schema):
    table = example(schema)
    write_parquet(table, tmp_path / "t.parquet")
    read = Table.read(tmp_path / "t.parquet")
    assert read.colnames == table.column_names
    assert read.meta == {"ensemble": "xception-7fold", "run": '{"asked": "<&>"}'}
    for field in schema:
        described = field.metadata
        assert (read[field.name].unit or u.Unit("")) == u.Unit(described[b"unit"].decode())
        assert read[field.name].description == described[b"description"].decode()
        assert read[field.name].meta["ucd"] == described[b"ucd"].decode()
    # As astropy has them: null text is the word, and not a part of it; null numbers are NaN.
    for field in schema:
        if field.nullable and str(field.type) == "string":
            assert read[field.name].tolist() == [NASTY, "None"]


def test_without_the_metadata_astropy_cannot_read_null_text(tmp_path):
    pq.write_table(example(), tmp_path / "t.parquet")
    with pytest.raises(TypeError, match="NoneType"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Table.read(tmp_path / "t.parquet")


def test_the_metadata_hold_a_votable_without_rows(tmp_path):
    write_parquet(example(), tmp_path / "t.parquet")
    kept = pq.read_metadata(tmp_path / "t.parquet").metadata
    assert kept[b"IVOA.VOTable-Parquet.version"] == b"1.0"
    described = kept[b"IVOA.VOTable-Parquet.content"]
    assert b"<DATA" not in described
    (table,) = astropy_votable.parse(io.BytesIO(described), verify="exception").iter_tables()
    assert [field.name for field in table.fields] == CANDIDATES.names
    position = table.get_field_by_id("ra_deg")
    assert (position.ucd, position.ref) == ("pos.eq.ra;meta.main", "icrs")
    assert str(position.unit) == "deg"
    # Null truth values are more than astropy 8 joins with a VOTable's.
    known = example().set_column(
        CANDIDATES.get_field_index("extrapolated"), CANDIDATES.field("extrapolated"),
        pa.array([True, False]),
    )  # fmt: skip
    write_parquet(known, tmp_path / "t.parquet")
    with warnings.catch_warnings():
        # The VOTable's descriptions are wrapped, those of the other reader are not.
        warnings.simplefilter("ignore", MergeConflictWarning)
        read = Table.read(tmp_path / "t.parquet", format="parquet.votable")
    assert (str(read["castles_separation_arcsec"].unit), len(read)) == ("arcsec", 2)


def test_others_read_what_they_read_before(tmp_path):
    table = example()
    write_parquet(table, tmp_path / "t.parquet")
    assert pq.read_table(tmp_path / "t.parquet").equals(table)
    assert pd.read_parquet(tmp_path / "t.parquet")["castles_name"].isna().tolist() == [False, True]
    assert read_positions(tmp_path / "t.parquet")["ra_deg"].tolist() == [7.0, 8.0]
    frame = pd.DataFrame({"a": [1.5, np.nan], "none": [None, None]}, index=["x", "y"])
    write_frame(frame, tmp_path / "f.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "f.parquet"), frame)
    assert Table.read(tmp_path / "f.parquet")["a"][0] == 1.5


def test_an_empty_table_is_written_and_read(tmp_path):
    write_parquet(CANDIDATES.empty_table(), tmp_path / "t.parquet")
    assert len(Table.read(tmp_path / "t.parquet")) == 0
    assert string_lengths(CANDIDATES.empty_table())["mosaic"] == 4


def test_nulls_are_masked_in_astropys_table():
    table = astropy_table(example())
    assert table["castles_name"].mask.tolist() == [False, True]
    assert table["lensflow_id"].dtype == np.int16
    assert table["lensflow_id"].mask.tolist() == [False, True]
    assert not hasattr(table["rank"], "mask")


def test_a_votable_comes_back(tmp_path):
    votable(example(), "candidates").to_xml(str(tmp_path / "t.vot"))
    document = astropy_votable.parse(tmp_path / "t.vot", verify="exception")
    infos = {info.name: info.value for info in document.resources[0].infos}
    assert infos == {"ensemble": "xception-7fold", "run": '{"asked": "<&>"}'}
    read = document.get_first_table().to_table()
    assert read["castles_name"][0] == NASTY
    assert str(read["ra_deg"].unit) == "deg"
    assert read["lensflow_id"].tolist() == [7, None]


@pytest.mark.skipif(not shutil.which("stilts"), reason="STILTS is not installed (Debian: stilts)")
def test_stilts_finds_no_fault_in_a_votable(tmp_path):
    votable(example(), "candidates").to_xml(str(tmp_path / "t.vot"))
    said = subprocess.run(
        ["stilts", "votlint", f"votable={tmp_path / 't.vot'}"], capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert said.stdout + said.stderr == ""
