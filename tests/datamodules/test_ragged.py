import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from datamodules.ragged import Ragged, list_array

ROWS = st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=6)


@given(rows=ROWS, data=st.data())
def test_joined_is_what_joining_lists_gives(rows: list[list[int]], data: st.DataObject) -> None:
    index = data.draw(
        st.lists(st.lists(st.integers(-len(rows), len(rows) - 1), min_size=2, max_size=2), min_size=1)
    )
    kept = [[data.draw(st.integers(0, len(rows[piece]))) for piece in own] for own in index]
    ragged = Ragged.of(rows)
    for cut in (None, kept):
        values, lengths = ragged.joined(np.array(index), None if cut is None else np.array(cut))
        wanted = [
            [value for piece, most in zip(own, own_kept, strict=True) for value in _end(rows[piece], most)]
            for own, own_kept in zip(index, cut or [[9, 9]] * len(index), strict=True)
        ]
        assert list_array(values, lengths).to_pylist() == wanted


def _end(row: list[int], most: int) -> list[int]:
    return row[max(0, len(row) - most) :]
