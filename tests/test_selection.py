import pyarrow as pa
import pytest

from lensweep.catalogs.selection import SelectionError, select_rows

TABLE = pa.table({
    "row": [1, 2, 3, 4],
    "p_lens": [0.1, 0.9, 0.7, None],
    "castles_name": ["a'b", None, "<b>", "B1600+434"],
    "nearest": [True, False, True, None],
})  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "rows"),
    [
        ("p_lens > 0.5 and castles_name is null", [2]),
        ("p_lens > 0.5 or castles_name is not null", [1, 2, 3, 4]),
        ("p_lens is None", [4]),
        ("0.1 < p_lens <= 0.9", [2, 3]),
        ("not p_lens > 0.5", [1]),  # of a null nothing is true
        ("castles_name in ['<b>', 'B1600+434']", [3, 4]),
        ("castles_name not in ('<b>',)", [1, 4]),
        ('castles_name == "a\'b"', [1]),
        ("row * 2 - 1 >= 5", [3, 4]),
        ("-p_lens < -0.5", [2, 3]),
        ("nearest", [1, 3]),
        ("not nearest and row / 2 == 1", [2]),
        ("row == 17", []),
        ("row / 4 > 0.5", [3, 4]),  # of whole numbers too
        ("3 / 4 < 0.5", []),
    ],
)
def test_rows_are_chosen(expression, rows):
    assert select_rows(TABLE, expression)["row"].to_pylist() == rows


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("p_lens >", "not understood"),
        ("p_lens = 1", "not understood"),
        ("", "not understood"),
        ("(" * 5000, "not understood"),
        ("logit > 1", "no column 'logit'; there are row, p_lens"),
        ("p_lens == null", "write `is null`"),
        ("castles_name is 'x'", "only null is understood"),
        ("row in 3", "a list is needed"),
        ("row in ['a']", "cannot be computed"),
        ("p_lens > 'a'", "cannot be computed"),
        ("row", "cannot be computed"),  # a number is neither true nor false
        ("row % 2 == 0", "neither a column nor a number"),
        # What Python would run, were it asked to.
        ("__import__('os').system('true')", "is no comparison"),
        ("().__class__.__bases__ == 1", "neither a column nor a number"),
        ("(lambda: 1)() > 0", "neither a column nor a number"),
        ("[x for x in row] > 1", "neither a column nor a number"),
        ("f'{row}' == '1'", "neither a column nor a number"),
        ("(row := 3) > 1", "neither a column nor a number"),
        ("row ** 9 > 1", "neither a column nor a number"),
    ],
)
def test_what_is_no_condition_is_refused(expression, message):
    with pytest.raises(SelectionError, match="where") as refused:
        select_rows(TABLE, expression)
    assert message in str(refused.value)
