import dataclasses

import pytest
from astropy.io.votable.ucd import check_ucd
from astropy.units import Unit

from lensweep.catalogs.schemas import (
    CANDIDATE_COLUMNS,
    CANDIDATES,
    FIELD_SCORE_COLUMNS,
    FIELD_SCORES,
    LEDGER,
    LEDGER_COLUMNS,
    MODEL_COLUMNS,
    MODELS,
    SCORE_COLUMNS,
    SCORES,
    TARGET_COLUMNS,
    TARGETS,
    with_provenance,
)
from lensweep.scanner.results.worth import WORTH

TABLES = [(CANDIDATES, CANDIDATE_COLUMNS), (LEDGER, LEDGER_COLUMNS), (SCORES, SCORE_COLUMNS),
          (FIELD_SCORES, FIELD_SCORE_COLUMNS), (TARGETS, TARGET_COLUMNS),
          (MODELS, MODEL_COLUMNS)]  # fmt: skip
EVERY_COLUMN = [column for _, columns in TABLES for column in columns]


@pytest.mark.parametrize(("schema", "columns"), TABLES)
def test_fields_follow_the_columns(schema, columns):
    assert schema.names == [column.name for column in columns]
    assert len(set(schema.names)) == len(schema.names)
    for field, column in zip(schema, columns, strict=True):
        assert field.type == column.arrow_type
        assert field.nullable == column.nullable
        assert field.metadata == {
            b"unit": column.unit.encode(),
            b"ucd": column.ucd.encode(),
            b"description": column.description.encode(),
        }


@pytest.mark.parametrize("column", EVERY_COLUMN, ids=lambda column: column.name)
def test_every_ucd_and_unit_is_standard(column):
    # First words primary, later words secondary, all in the IVOA's list.
    assert check_ucd(column.ucd, check_controlled_vocabulary=True), column.ucd
    Unit(column.unit, format="vounit", parse_strict="raise")
    assert column.description.endswith(".")


def test_the_main_columns_are_marked_once():
    main = [c.name for c in CANDIDATE_COLUMNS if c.ucd.endswith(";meta.main")]
    assert main == ["candidate_id", "ra_deg", "dec_deg", "p_lens"]


def test_only_matches_and_what_was_not_measured_may_be_absent_from_a_candidate():
    nullable = [column.name for column in CANDIDATE_COLUMNS if column.nullable]
    assert nullable[:6] == list(WORTH)
    assert len(nullable) == 12
    assert all(name.startswith(("castles_", "lensflow_")) for name in nullable[6:])


def test_descriptions_say_what_the_numbers_are_not():
    descriptions = {column.name: column.description for column in CANDIDATE_COLUMNS}
    assert "not the error of p_lens" in descriptions["p_std"]
    assert "planted" in descriptions["p_lens"]
    assert "density" in descriptions["p_lens"]
    assert "Null in every row" in descriptions["lensflow_grade"]


def test_columns_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        CANDIDATE_COLUMNS[0].unit = "deg"


def test_with_provenance_adds_and_keeps():
    schema = SCORES.with_metadata({"kept": "1", "lensweep.prior": "old"})
    table = with_provenance(schema.empty_table(), {"prior": "1.9e-5", "version": "1.0"})
    assert table.schema.metadata == {
        b"kept": b"1",
        b"lensweep.prior": b"1.9e-5",
        b"lensweep.version": b"1.0",
    }
    assert table.schema.equals(SCORES)
    assert table.schema.field("p_std").metadata == SCORES.field("p_std").metadata
